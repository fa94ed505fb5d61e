"""Errors of the steps of a meeting: how often a step is tried, and the error that a user reads."""

from __future__ import annotations

from typing import Protocol

from meeting_assistant.domain.errors import MeetingAssistantError
from meeting_assistant.domain.meeting import MeetingState, StageError
from meeting_assistant.domain.ports import MeetingRecords, StepLedger
from meeting_assistant.domain.steps import RECORD

MAX_ATTEMPTS = 5
"""Attempts are counted before they are made, so that an attempt that kills the process counts, too."""


class _Records(MeetingRecords, StepLedger, Protocol):
    """What it takes to mark a meeting as failed."""


async def mark_failed(store: _Records, meeting_id: str, failure: StageError) -> None:
    """Store the error and the state. A meeting that was recording stays open for its client: see `RECORD`.

    Raises NotFoundError, StorageError.
    """
    if (await store.get(meeting_id)).state is MeetingState.RECORDING:
        await store.open_step(meeting_id, RECORD, can_repeat=True)
    await store.add_error(meeting_id, failure)
    await store.set_state(meeting_id, MeetingState.FAILED)


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
