"""Servers that share a database know which of them records a meeting."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from meeting_assistant.adapters.storage.sql.database import Database
from meeting_assistant.adapters.storage.sql.meeting_store import SqlMeetingStore
from meeting_assistant.domain.errors import ConflictError
from meeting_assistant.domain.meeting import MeetingState
from meeting_assistant.services.meetings.meeting_service import MeetingService
from meeting_assistant.testing.harness.meeting_records import create_meeting


class _NothingLive:
    """The meetings that record on a server: none."""

    def is_recording(self, meeting_id: str) -> bool:
        return False

    def has_client(self, meeting_id: str) -> bool:
        return False

    async def end(self, meeting_id: str) -> None:
        raise ConflictError("This meeting is not recording.")


def service_on(store: SqlMeetingStore) -> MeetingService:
    unused = cast("Any", None)
    io = cast("Any", SimpleNamespace(store=store, channels=None, audio=None))
    return MeetingService(io, cast("Any", _NothingLive()), unused, unused)


async def test_a_meeting_of_another_server_is_not_said_to_be_without_a_client(database_url: str) -> None:
    north, south = (SqlMeetingStore(Database(database_url), gateway=name) for name in ("north", "south"))
    await north.open()
    await south.open()
    try:
        meeting = await create_meeting(north)
        assert (await north.other_machine(meeting.id), await north.other_machine("no such")) == (None, None)
        assert not (await service_on(north).read(meeting.id)).has_client
        assert (await service_on(south).read(meeting.id)).has_client

        with pytest.raises(ConflictError, match="north") as caught:
            await service_on(south).end(meeting.id)
        assert caught.value.code == "recorded_elsewhere"

        await north.set_state(meeting.id, MeetingState.PROCESSING)
        assert not (await service_on(south).read(meeting.id)).has_client
        with pytest.raises(ConflictError, match="is not recording"):
            await service_on(south).end(meeting.id)
    finally:
        await south.close()
        await north.close()
