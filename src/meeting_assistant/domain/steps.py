"""Names of the steps of a meeting that are recorded before they begin, so that a restart resumes what was cut short.

The names are stored in the database.
"""

from __future__ import annotations

RESUME = "take_up"
"""Resuming a meeting; the position follows the name. The value is older than the word."""
FINISH = "finish"
"""Writing the minutes after the last word."""
SPEAKERS = "speakers"
"""Diarization of the whole recording."""
REWRITE = "rewrite"
"""Writing the minutes again."""
READ_FILE = "read_file"
"""Decoding an uploaded file."""
FORGET = "forget"
"""Taking spans off the record after the meeting."""
WORKFLOWS = "workflows"
"""Planning deliveries; left open until they are in the outbox."""
