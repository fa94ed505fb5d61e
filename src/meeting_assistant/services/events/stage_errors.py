"""Errors of the steps of a meeting: how often a step is tried, and the error that a user reads."""

from __future__ import annotations

from meeting_assistant.domain.errors import MeetingAssistantError
from meeting_assistant.domain.meeting import StageError

MAX_ATTEMPTS = 5
"""Attempts are counted before they are made, so that an attempt that kills the process counts, too."""


def stage_error(stage: str, error: Exception) -> StageError:
    """Return the error with a message and a remedy for the user."""
    if isinstance(error, MeetingAssistantError):
        return StageError(stage=stage, code=error.code, message=error.message, remedy=error.remedy)
    return StageError(
        stage=stage,
        code="internal_error",
        message=f"This step failed unexpectedly ({type(error).__name__}).",
        remedy="The transcript is stored. See the server's log, and please report it.",
    )
