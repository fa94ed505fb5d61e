"""Names of the steps of a meeting that are recorded before they begin, so that a restart resumes what was cut short.

The names are stored in the database.
"""

from __future__ import annotations

TRANSCRIBE = "transcribe"
"""Transcribing, live or from a file. Its attempts are forgotten as soon as a word or a silence is committed."""
RECORD = "record"
"""Recording; open while a meeting has failed before its client sent the end, so that the client may continue it."""
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
