"""JSONL audit: a file with one line for each meeting and for each delivery.

It tells what happened, not what was said: no title, no name of a speaker, no words, so that taking a meeting off
the record or deleting it leaves nothing here. A line is appended in one write to a file opened for that line, so
that several processes may append and a log rotation is followed. That a delivery is still to be told stands in the
outbox until its line is on the disk: a crash or a full disk delays a line and loses none.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from pydantic import JsonValue

from meeting_assistant.domain.errors import DeliveryError
from meeting_assistant.domain.workflows import Action, Delivery, Description, MeetingOutcome, Receipt
from meeting_assistant.integrations.options import IntegrationOptions

NAMED_AFTER_THE_TITLE = frozenset({"markdown"})
"""Integrations whose reference is a file name that holds the meeting's title."""
SEARCHED_BYTES = 1024 * 1024
"""Of the end of the file, for a line that an attempt which was cut short may have left."""


class AuditLogOptions(IntegrationOptions):
    """`MEETING_LOG_PATH` says the same in one variable."""

    path: Path
    """The file; its folder must be there."""


class AuditLogIntegration:
    """Implements `Integration`, and takes the outcome of the other deliveries down."""

    name = "log"
    Options = AuditLogOptions

    def __init__(self, options: AuditLogOptions) -> None:
        self._path = options.path.expanduser().absolute()

    def describe(self) -> Description:
        """Return a description that names the file."""
        return Description("Audit log", str(self._path), is_local=True, is_exactly_once=True)

    def plan(self, outcome: MeetingOutcome) -> list[Action]:
        """A line, also for a meeting in which nothing was said."""
        return [Action(key="meeting", title="A line about the meeting", payload=_meeting_line(outcome))]

    async def deliver(self, delivery: Delivery) -> Receipt:
        """Appends it, unless an attempt that was cut short has."""
        await self._append({"id": delivery.id, **delivery.action.payload}, may_be_there=delivery.is_uncertain)
        return Receipt()

    async def note(self, delivery: Delivery) -> None:
        """Take down what became of a delivery, unless it is there. Raises DeliveryError."""
        if delivery.integration != self.name:
            await self._append(_delivery_line(delivery), may_be_there=True)

    async def test(self) -> str:
        """Appends a line."""
        await self._append({"type": "test", "at": _time(None)}, may_be_there=False)
        return f"A line was appended to {self._path}."

    async def close(self) -> None:
        """Do nothing: no resources are held."""

    async def _append(self, line: Mapping[str, JsonValue], *, may_be_there: bool) -> None:
        try:
            await asyncio.to_thread(_append, self._path, line, may_be_there=may_be_there)
        except OSError as error:
            raise DeliveryError(
                f"The audit log cannot be written ({error.strerror or type(error).__name__}).",
                "Make MEETING_LOG_PATH a file in a folder that the server may write to, on a disk with room.",
                code="delivery_server_error",
                retryable=True,
            ) from error


def _append(path: Path, line: Mapping[str, JsonValue], *, may_be_there: bool) -> None:
    content = (json.dumps(line, ensure_ascii=False) + "\n").encode()
    file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        # All of it is asked of this one file, also when the log is rotated meanwhile.
        size = os.fstat(file).st_size
        searched = min(SEARCHED_BYTES if may_be_there else 1, size)
        end = os.pread(file, searched, size - searched)
        if may_be_there and content in _whole_lines(end):
            return
        if end and not end.endswith(b"\n"):
            content = b"\n" + content  # the beginning of a line whose writer died
        while content:
            content = content[os.write(file, content) :]
        os.fsync(file)
    finally:
        os.close(file)


def _whole_lines(content: bytes) -> set[bytes]:
    """The last one may have no end: it does not count."""
    return {line for line in content.splitlines(keepends=True) if line.endswith(b"\n")}


def _meeting_line(outcome: MeetingOutcome) -> dict[str, JsonValue]:
    meeting, minutes = outcome.meeting, outcome.minutes
    kinds = ("decisions", "action_items", "open_questions", "risks", "possible_follow_ups")
    return {
        "type": "meeting",
        "at": _time(meeting.began_at_ms + meeting.duration_ms),
        "meeting": meeting.id,
        "owner": meeting.owner,
        "source": meeting.source,
        "began_at": _time(meeting.began_at_ms),
        "duration_ms": meeting.duration_ms,
        "utterances": len(outcome.transcript.utterances),
        "speakers": len(outcome.transcript.speakers),
        "items": {kind: len(getattr(minutes, kind)) for kind in kinds} if minutes else {},
        "minutes_by": minutes.provenance.provider if minutes else None,
        "minutes_model": minutes.provenance.model if minutes else None,
        "local_only": meeting.local_only,
        "engines": dict(meeting.engines),
        "coverage": meeting.coverage.model_dump(),
        "errors": [error.code for error in meeting.errors],
    }


def _delivery_line(delivery: Delivery) -> dict[str, JsonValue]:
    return {
        "id": delivery.id,
        "type": "delivery",
        "at": _time(delivery.done_at_ms),
        "meeting": delivery.meeting_id,
        "integration": delivery.integration,
        "state": delivery.state.value,
        "attempts": delivery.attempts,
        "is_uncertain": delivery.is_uncertain,
        "reference": _reference(delivery),
        "url": delivery.receipt.url if delivery.receipt else None,
    }


def _reference(delivery: Delivery) -> str | None:
    if delivery.receipt is None or delivery.integration in NAMED_AFTER_THE_TITLE:
        return None
    return delivery.receipt.reference


def _time(at_ms: int | None) -> str:
    at = datetime.fromtimestamp(at_ms / 1000, tz=UTC) if at_ms is not None else datetime.now(tz=UTC)
    return at.isoformat(timespec="milliseconds")
