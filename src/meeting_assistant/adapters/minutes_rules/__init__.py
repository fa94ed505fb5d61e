"""The writer that needs no model, no server and no download.

The summary is extractive: the sentences that carry the meeting, verbatim. Decisions, action items, open
questions and risks are found by rules for what somebody literally said; softer cues become possible
follow-ups. The same transcript always gives the same minutes.
"""

from __future__ import annotations

from meeting_assistant.adapters.minutes_rules.writer import EmbeddedWriter

__all__ = ["EmbeddedWriter"]
