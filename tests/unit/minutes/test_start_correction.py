"""Correcting the start of a meeting moves due dates that come from phrases, and no others."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime, timedelta, timezone
from pathlib import Path

import pytest

from meeting_assistant.adapters.minutes_rules import EmbeddedWriter
from meeting_assistant.adapters.minutes_rules.due_phrases import resolve_due
from meeting_assistant.domain.errors import ConflictError, InputError
from meeting_assistant.domain.meeting import Coverage, Meeting, MeetingState
from meeting_assistant.domain.meeting_start import local_time
from meeting_assistant.domain.minutes import ActionItem, Minutes
from meeting_assistant.domain.transcript import Transcript
from meeting_assistant.services.events.attempts import Attempts
from meeting_assistant.services.events.meeting_channel import Channels
from meeting_assistant.services.events.meeting_io import MeetingIo
from meeting_assistant.services.jobs.orchestrator import Orchestrator
from meeting_assistant.services.meetings.redact import Redaction
from meeting_assistant.services.meetings.upload_files import UploadFiles
from meeting_assistant.services.minutes.editor import MinutesEditor
from meeting_assistant.services.minutes.minutes_service import MinutesResult, MinutesService
from meeting_assistant.services.minutes.start_correction import StartCorrection
from meeting_assistant.testing.doubles.memory_store import MemoryMeetingStore

pytestmark = pytest.mark.unit

UPLOADED = datetime(2026, 11, 29, 12, tzinfo=timezone(timedelta(hours=1)))
HELD = datetime(2026, 11, 2, 9, 30)
NOW_MS = int(UPLOADED.timestamp() * 1000)


def task(number: int, due: date | None, phrase: str | None, *, is_edited: bool = False) -> ActionItem:
    return ActionItem(
        id=f"a{number}", text="Send it", evidence=[], due=due, due_phrase=phrase, is_edited=is_edited
    )


TASKS = [
    task(1, date(2026, 12, 4), "by Friday"),
    task(2, date(2026, 11, 30), "by tomorrow", is_edited=True),
    task(3, date(2026, 12, 24), None, is_edited=True),
    task(4, None, "when it is done"),
    task(5, date(2026, 12, 31), "by Friday"),
    task(6, None, None),
]
"""From words, from words with another text, by a person, open, from other words than are kept, none."""


class Case:
    """A finished meeting that was uploaded weeks after it took place."""

    def __init__(self) -> None:
        self.store = MemoryMeetingStore()
        self.corrected: list[str] = []
        self.correction = StartCorrection(self.store, resolve_due, self._note, now_ms=lambda: NOW_MS)

    async def _note(self, meeting_id: str) -> None:
        self.corrected.append(meeting_id)

    async def begin(self, *, is_finished: bool = True) -> None:
        meeting = Meeting(
            id="m",
            title="Weekly",
            state=MeetingState.PROCESSING,
            source="upload",
            created_at_ms=NOW_MS,
            began_at_source="upload",
            utc_offset_minutes=60,
        )
        await self.store.create(meeting)
        if is_finished:
            minutes = Minutes(action_items=TASKS[:4], possible_follow_ups=TASKS[4:])
            await self.store.finish("m", minutes=minutes, coverage=Coverage(), duration_ms=0, engines={})

    async def due_dates(self) -> list[date | None]:
        minutes = await self.store.minutes("m")
        assert minutes is not None
        return [item.due for item in (*minutes.action_items, *minutes.possible_follow_ups)]


@pytest.fixture
def case() -> Case:
    return Case()


async def test_due_dates_from_phrases_follow_the_day_and_edited_ones_stay(case: Case) -> None:
    await case.begin()
    await case.correction.correct("m", HELD)
    assert await case.due_dates() == [
        date(2026, 11, 6),
        date(2026, 11, 3),
        date(2026, 12, 24),
        None,
        date(2026, 12, 31),
        None,
    ]
    meeting = await case.store.get("m")
    assert (
        local_time(meeting.began_at_ms, meeting.utc_offset_minutes).isoformat() == "2026-11-02T09:30:00+01:00"
    )
    assert meeting.began_at_source == "person"
    assert case.corrected == ["m"], "what follows from the minutes is planned again"


async def test_a_new_time_zone_alone_can_change_the_day(case: Case) -> None:
    await case.begin()
    await case.correction.correct("m", datetime(2026, 11, 28, 23, tzinfo=timezone(timedelta(hours=-12))))
    meeting = await case.store.get("m")
    assert meeting.began_at_ms == NOW_MS
    assert meeting.utc_offset_minutes == -720
    assert (await case.due_dates())[1] == date(2026, 11, 29)


async def test_another_time_on_the_same_day_does_not_change_the_minutes(case: Case) -> None:
    await case.begin()
    await case.correction.correct("m", datetime(2026, 11, 29, 8))
    assert await case.due_dates() == [item.due for item in TASKS]
    assert case.corrected == []


async def test_minutes_that_are_not_written_yet_use_the_corrected_day(case: Case) -> None:
    await case.begin(is_finished=False)
    await case.correction.correct("m", HELD)
    assert (await case.store.get("m")).began_at_source == "person"
    assert case.corrected == []


async def test_minutes_that_were_written_as_of_another_day_are_dated_anew(case: Case) -> None:
    await case.begin(is_finished=False)
    before = await case.store.get("m")
    written = Minutes(action_items=TASKS[:4])
    assert await case.correction.redated(before, written) is written
    await case.correction.correct("m", HELD)
    redated = await case.correction.redated(before, written)
    assert [item.due for item in redated.action_items] == [
        date(2026, 11, 6),
        date(2026, 11, 3),
        date(2026, 12, 24),
        None,
    ]


async def test_an_older_version_that_is_restored_follows_the_corrected_day(case: Case) -> None:
    await case.begin()
    first = await case.store.stored_minutes("m")
    assert first is not None
    await case.store.add_minutes_version("m", minutes=first, coverage=Coverage())
    await case.correction.correct("m", HELD)
    editor = MinutesEditor(
        case.store,
        Channels(case.store),
        MinutesService(EmbeddedWriter()),
        Orchestrator(1),
        redated=case.correction.redated,
    )
    corrected = await case.due_dates()
    assert await editor.restore("m", 1) == 3
    assert await case.due_dates() == corrected
    await case.correction.correct("m", UPLOADED)
    assert await editor.restore("m", 1) == 4
    assert await case.due_dates() == [item.due for item in TASKS], "the day that it was written for"


async def test_minutes_of_a_redaction_follow_a_correction_made_while_they_are_written(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await case.begin()
    service = MinutesService(EmbeddedWriter())

    async def write(meeting: Meeting, transcript: Transcript) -> MinutesResult:
        await case.correction.correct(meeting.id, HELD)
        return MinutesResult(Minutes(action_items=TASKS[:4], possible_follow_ups=TASKS[4:]))

    monkeypatch.setattr(service, "write", write)
    with ThreadPoolExecutor(1) as threads:
        io = MeetingIo(case.store, None, Channels(case.store), threads, Attempts(case.store))
        await Redaction(io, UploadFiles(tmp_path), service, case.correction.redated).redact("m", 0, 1000)
    assert (await case.due_dates())[:2] == [date(2026, 11, 6), date(2026, 11, 3)]


async def test_an_impossible_day_changes_nothing(case: Case) -> None:
    await case.begin()
    with pytest.raises(InputError):
        await case.correction.correct("m", datetime(2031, 1, 1))
    assert (await case.store.get("m")).began_at_source == "upload"
    assert await case.due_dates() == [item.due for item in TASKS]


async def test_a_correction_that_is_interrupted_or_overtaken_by_new_minutes_is_completed(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    await case.begin()
    real, refusals = case.store.change_minutes, [ConflictError("written again", "Read it.")]

    async def refuse_once(*args: object) -> Minutes:
        if refusals:
            raise refusals.pop()
        return await real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(case.store, "change_minutes", refuse_once)

    async def stop(*args: object) -> None:
        raise OSError("the server stopped")

    with monkeypatch.context() as patch:
        patch.setattr(case.store, "set_start", stop)
        with pytest.raises(OSError, match="stopped"):
            await case.correction.correct("m", HELD)
    await case.correction.correct("m", HELD)
    assert (await case.due_dates())[:2] == [date(2026, 11, 6), date(2026, 11, 3)]
    assert (await case.store.get("m")).began_at_source == "person"
