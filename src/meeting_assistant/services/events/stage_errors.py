"""A step of finishing a meeting that fails: how often it is tried, and what is said of it."""

from __future__ import annotations

from meeting_assistant.domain.errors import MeetingAssistantError
from meeting_assistant.domain.meeting import StageError

MAX_ATTEMPTS = 5
"""Attempts are counted before they are made, so that one which kills the process counts too."""


def stage_error(stage: str, error: Exception) -> StageError:
    """In the words that a user can act on."""
    if isinstance(error, MeetingAssistantError):
        return StageError(stage=stage, code=error.code, message=error.message, remedy=error.remedy)
    return StageError(
        stage=stage,
        code="internal_error",
        message=f"This step failed unexpectedly ({type(error).__name__}).",
        remedy="The transcript is stored. See the server's log, and please report it.",
    )
