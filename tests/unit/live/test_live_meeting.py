"""`LiveMeeting`: accepting audio, pausing, reconnecting and ending."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from meeting_assistant.domain.errors import ConflictError, InputError, StorageError
from meeting_assistant.domain.meeting import Bookmark, Meeting, MeetingState, OffRecord
from meeting_assistant.services.events.meeting_channel import MeetingChannel
from meeting_assistant.services.live import live_meeting
from meeting_assistant.services.live.interruptions import Interruptions
from meeting_assistant.services.live.live_connection import LiveConnection
from meeting_assistant.services.live.live_meeting import LiveMeeting
from meeting_assistant.services.live.session_plan import LiveOptions
from meeting_assistant.services.recording import off_the_record
from meeting_assistant.services.recording.audio_buffer import SecureAudioBuffer
from meeting_assistant.testing.doubles.memory_audio import MemoryAudioStore
from meeting_assistant.testing.doubles.memory_store import MemoryMeetingStore

MEETING = "01890a5d-ac96-774b-bcce-b302099a8057"
SECOND = b"\1" * 32_000
FULL = StorageError("The disk of the database is full.", "Free some space.", code="disk_full")


class Records(MemoryMeetingStore):
    """Meetings in memory; writing spans and states can be made to fail."""

    def __init__(self) -> None:
        super().__init__()
        self.refusals = 0

    def _check(self) -> None:
        if self.refusals:
            self.refusals -= 1
            raise FULL

    async def begin_off_record(self, meeting_id: str, start_sample: int) -> None:
        self._check()
        await super().begin_off_record(meeting_id, start_sample)

    async def end_off_record(self, meeting_id: str, start_sample: int, end_sample: int) -> None:
        self._check()
        await super().end_off_record(meeting_id, start_sample, end_sample)

    async def set_state(self, meeting_id: str, state: MeetingState) -> None:
        self._check()
        await super().set_state(meeting_id, state)


class Passthrough:
    """A resampler for a client at the canonical rate; it keeps half a sample."""

    def __init__(self) -> None:
        self._half = b""

    @property
    def has_odd_byte(self) -> bool:
        return bool(self._half)

    def feed(self, pcm: bytes) -> bytes:
        whole = self._half + pcm
        self._half = whole[len(whole) // 2 * 2 :]
        return whole[: len(whole) // 2 * 2]

    def flush(self) -> bytes:
        return b""


class Fixture:
    """A meeting that records into memory."""

    def __init__(self, meeting: Meeting, threads: ThreadPoolExecutor, **options: Any) -> None:
        self.records = Records()
        self.ended = 0
        self.buffer = SecureAudioBuffer(MemoryAudioStore().create(MEETING), executor=threads)
        channel = MeetingChannel(MEETING, 0, self.records)
        self.live = LiveMeeting(
            meeting, self.buffer, channel, self.records, LiveOptions(**options), self._count_end
        )

    def _count_end(self) -> None:
        self.ended += 1

    def connect(self) -> LiveConnection:
        return LiveConnection(self.live, self.live.connect(Passthrough()))

    async def reconnect(self) -> LiveConnection:
        await self.live.take_over()
        return self.connect()

    async def stored(self) -> Meeting:
        return await self.records.get(MEETING)


NewFixture = Callable[..., Awaitable[Fixture]]


@pytest.fixture
async def record() -> AsyncIterator[NewFixture]:
    """Return a function that begins a meeting, with fields of `LiveOptions`."""
    fixtures: list[Fixture] = []

    async def begin(**options: Any) -> Fixture:
        meeting = Meeting(
            id=MEETING, title="", state=MeetingState.RECORDING, source="live", created_at_ms=0, epoch=1
        )
        fixtures.append(Fixture(meeting, threads, **options))
        await fixtures[-1].records.create(meeting)
        return fixtures[-1]

    with ThreadPoolExecutor(1) as threads:
        yield begin
        for fixture in fixtures:
            await fixture.live.abandon()


async def test_audio_is_counted_in_canonical_bytes_and_half_a_sample_is_kept(record: NewFixture) -> None:
    fixture = await record()
    connection = fixture.connect()
    assert connection.accept_audio(b"abc") == 2
    assert connection.accept_audio(b"d") == 2
    assert await fixture.buffer.read(0, 10) == b"abcd"


async def gaps_of(fixture: Fixture) -> list[tuple[int, str, bool]]:
    """Return moment, reason and whether the length is known of each gap."""
    found = (await fixture.records.transcript(MEETING)).gaps
    return [(gap.start_ms, gap.reason, gap.unrecorded_ms is not None) for gap in found]


async def test_times_in_which_nothing_was_recorded_are_marked_once(
    record: NewFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    fixture = await record()
    clock = iter([10.0, 70.0, 70.5, 70.9, 200.0, 200.0])
    monkeypatch.setattr(fixture.live, "_interruptions", Interruptions(lambda: next(clock)))
    first = fixture.connect()
    first.accept_audio(bytes(32_000))
    await first.interrupted(5_000)
    again = await fixture.reconnect()
    await again.interrupted(5_000)  # sent again, because the connection was lost
    await again.pause(forget=False)
    await again.pause(forget=False)
    await again.resume()
    assert await gaps_of(fixture) == [(1_000, "interrupted", True)], "a pause of half a second is none"
    await again.pause(forget=False)
    await again.resume()
    assert await gaps_of(fixture) == [(1_000, "interrupted", True), (1_000, "paused", True)]


async def test_a_meeting_that_was_ended_elsewhere_takes_no_more_audio(record: NewFixture) -> None:
    fixture = await record()
    connection = fixture.connect()
    await fixture.live.stop()
    with pytest.raises(ConflictError, match="ended elsewhere") as caught:
        connection.accept_audio(bytes(3_200))
    assert caught.value.code == "meeting_over"


async def test_only_the_newest_client_may_record(record: NewFixture) -> None:
    fixture = await record()
    first = fixture.connect()
    second = await fixture.reconnect()
    assert (first.taken_over.is_set(), second.taken_over.is_set()) == (True, False)
    for forbidden in (first.stop, first.resume):
        with pytest.raises(ConflictError, match="Another connection"):
            await forbidden()
    with pytest.raises(ConflictError, match="Another connection"):
        first.accept_audio(SECOND)
    await first.leave()
    assert fixture.live.has_client, "the newest client is still there"
    second.accept_audio(SECOND)
    assert fixture.buffer.received_bytes == len(SECOND)


async def test_a_meeting_has_no_client_between_two_connections(record: NewFixture) -> None:
    fixture = await record()
    first = fixture.connect()
    await fixture.live.take_over()
    assert not fixture.live.has_client
    await first.leave()
    assert fixture.connect().accept_audio(SECOND) == len(SECOND)


async def test_audio_is_refused_while_paused_and_a_new_client_is_not_paused(record: NewFixture) -> None:
    fixture = await record()
    first = fixture.connect()
    await first.pause(forget=False)
    with pytest.raises(ConflictError, match="paused"):
        first.accept_audio(SECOND)
    second = await fixture.reconnect()
    second.accept_audio(SECOND)
    assert fixture.buffer.received_bytes == len(SECOND)


async def test_off_the_record_audio_becomes_silence_and_the_span_is_published(record: NewFixture) -> None:
    fixture = await record()
    connection = fixture.connect()
    connection.accept_audio(SECOND)
    await connection.pause(forget=True)
    connection.accept_audio(SECOND)
    await connection.resume()
    connection.accept_audio(SECOND)
    assert await fixture.buffer.read(0, 96_000) == SECOND + bytes(32_000) + SECOND
    assert (await fixture.stored()).off_record == [OffRecord(start_sample=16_000, end_sample=32_000)]
    [event] = await fixture.records.events_after(MEETING, 0)
    assert event.body.type == "gap"


async def test_the_meeting_is_back_on_the_record_only_when_that_is_stored(record: NewFixture) -> None:
    fixture = await record()
    connection = fixture.connect()
    await connection.pause(forget=True)
    fixture.records.refusals = 1
    with pytest.raises(StorageError):
        await connection.resume()
    connection.accept_audio(SECOND)
    assert await fixture.buffer.read(0, 32_000) == bytes(32_000)


async def test_a_bookmark_marks_the_newest_sample(record: NewFixture) -> None:
    fixture = await record()
    connection = fixture.connect()
    connection.accept_audio(SECOND * 3)
    await connection.bookmark("budget")
    assert (await fixture.stored()).bookmarks == [Bookmark(at_ms=3000, note="budget")]


async def test_the_number_of_bookmarks_is_bounded(
    record: NewFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_meeting, "MAX_BOOKMARKS", 2)
    connection = (await record()).connect()
    await connection.bookmark("one")
    await connection.bookmark("two")
    with pytest.raises(ConflictError, match="2 bookmarks"):
        await connection.bookmark("three")


async def test_beyond_the_limit_of_spans_off_the_record_nothing_is_recorded(
    record: NewFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(off_the_record, "MAX_SPANS", 1)
    fixture = await record()
    connection = fixture.connect()
    await connection.pause(forget=True)
    connection.accept_audio(SECOND)
    await connection.resume()
    with pytest.raises(ConflictError, match="paused instead"):
        await connection.pause(forget=True)
    with pytest.raises(ConflictError):
        connection.accept_audio(SECOND)
    await connection.resume()
    connection.accept_audio(SECOND)
    assert fixture.buffer.received_bytes == 2 * len(SECOND)


async def test_a_meeting_that_is_too_long_accepts_no_more(record: NewFixture) -> None:
    fixture = await record(max_bytes=len(SECOND))
    connection = fixture.connect()
    connection.accept_audio(SECOND)
    with pytest.raises(InputError) as caught:
        connection.accept_audio(b"ab")
    assert (caught.value.code, fixture.buffer.received_bytes) == ("too_long", len(SECOND))


async def test_stop_stores_the_end_once_and_reports_half_a_sample(record: NewFixture) -> None:
    fixture = await record()
    connection = fixture.connect()
    connection.accept_audio(SECOND + b"\1")
    assert await connection.stop()
    await connection.stop()
    stored = await fixture.stored()
    assert (stored.state, stored.received_bytes) == (MeetingState.PROCESSING, 32_000)
    assert (fixture.live.stopped.is_set(), fixture.ended) == (True, 1)
    with pytest.raises(ConflictError):
        connection.accept_audio(SECOND)
    await fixture.live.abandon()
    assert fixture.ended == 1


async def test_once_the_audio_is_sealed_the_end_is_stored_as_soon_as_the_disk_accepts_it(
    record: NewFixture,
) -> None:
    fixture = await record()
    connection = fixture.connect()
    connection.accept_audio(SECOND)
    fixture.records.refusals = 1
    await connection.stop()
    assert not fixture.live.stopped.is_set()
    async with asyncio.timeout(30):
        await fixture.live.stopped.wait()
    assert ((await fixture.stored()).state, fixture.ended) == (MeetingState.PROCESSING, 1)


async def test_a_meeting_without_a_client_ends_when_the_grace_time_is_over(record: NewFixture) -> None:
    fixture = await record(grace_s=0)
    connection = fixture.connect()
    connection.accept_audio(SECOND)
    await connection.leave()
    async with asyncio.timeout(30):
        await fixture.live.stopped.wait()
    assert (await fixture.stored()).state is MeetingState.PROCESSING


async def test_a_client_that_reconnects_within_the_grace_time_keeps_the_meeting(record: NewFixture) -> None:
    fixture = await record(grace_s=600)
    await fixture.connect().leave()
    await asyncio.sleep(0)  # the grace time begins
    second = await fixture.reconnect()
    second.accept_audio(SECOND)
    assert (fixture.live.has_client, fixture.live.stopped.is_set(), fixture.ended) == (True, False, 0)


async def test_a_shutdown_leaves_the_meeting_to_the_next_server(record: NewFixture) -> None:
    fixture = await record(grace_s=0)
    connection = fixture.connect()
    connection.accept_audio(SECOND)
    fixture.live.suspend()
    await connection.leave()
    await fixture.live.flush()
    assert ((await fixture.stored()).state, fixture.ended) == (MeetingState.RECORDING, 0)
