"""Finished meetings for tests, without audio."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uuid_utils

from meeting_assistant.adapters.storage.sql.database import Database
from meeting_assistant.adapters.storage.sql.meeting_store import SqlMeetingStore
from meeting_assistant.domain.meeting import Coverage, Meeting, MeetingState
from meeting_assistant.domain.minutes import Minutes
from meeting_assistant.domain.ports import MeetingStore
from meeting_assistant.domain.transcript import Utterance
from meeting_assistant.testing.harness.database import sqlite_url


@dataclass(frozen=True, slots=True)
class MeetingFixture:
    """One finished meeting."""

    lines: Sequence[tuple[str, str]]
    """Speaker label and words of each utterance."""
    title: str = "A meeting"
    minutes: Minutes | None = field(default_factory=Minutes)
    more: dict[str, Any] = field(default_factory=dict)
    """Other fields of the record."""


def seed(data_dir: Path, *meetings: MeetingFixture) -> list[str]:
    """Store finished meetings where a server will find them; no server may run there. Returns their ids."""
    data_dir.mkdir(parents=True, exist_ok=True)
    # On a thread of its own: a browser test has an event loop running.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, _seed(data_dir, meetings)).result()


async def _seed(data_dir: Path, meetings: Sequence[MeetingFixture]) -> list[str]:
    store = SqlMeetingStore(Database(sqlite_url(data_dir)))
    await store.open()
    try:
        return [await put(store, fixture) for fixture in meetings]
    finally:
        await store.close()


async def put(store: MeetingStore, fixture: MeetingFixture) -> str:
    """Store one. Returns its id."""
    meeting = Meeting(
        id=str(uuid_utils.uuid7()),
        title=fixture.title,
        state=MeetingState.PROCESSING,
        source="upload",
        **{"created_at_ms": 1_795_000_000_000, **fixture.more},
    )
    await store.create(meeting)
    for number, (speaker, text) in enumerate(fixture.lines, start=1):
        start = number * 5000
        utterance = Utterance(
            utterance=number, start_ms=start, end_ms=start + 4000, speaker=speaker, text=text
        )
        await store.commit_utterances(meeting.id, [utterance], start * 16)
    await store.finish(
        meeting.id,
        minutes=fixture.minutes,
        coverage=Coverage(),
        duration_ms=len(fixture.lines) * 5000,
        engines={},
    )
    return meeting.id
