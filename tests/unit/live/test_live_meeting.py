"""`LiveMeeting`: what it accepts, from whom, and how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest

from meeting_assistant.domain.errors import ConflictError, InputError, StorageError
from meeting_assistant.domain.meeting import Bookmark, Meeting, MeetingState, OffRecord
from meeting_assistant.domain.ports import MeetingStore, StoredEvent
from meeting_assistant.services.events.meeting_channel import MeetingChannel
from meeting_assistant.services.live.live_connection import LiveConnection
from meeting_assistant.services.live.live_meeting import LiveMeeting
from meeting_assistant.services.live.session_plan import LiveOptions
from meeting_assistant.services.recording.audio_buffer import SecureAudioBuffer
from meeting_assistant.testing.doubles.memory_audio import MemoryAudioStore

MEETING = "01890a5d-ac96-774b-bcce-b302099a8057"
SECOND = b"\1" * 32_000
FULL = StorageError("The disk of the database is full.", "Free some space.", code="disk_full")


class Records:
    """The part of a `MeetingStore` that a live meeting writes to; refuses as often as it is told to."""

    def __init__(self) -> None:
        self.epoch = 1
        self.refusals = 0
        self.state = MeetingState.RECORDING
        self.received_bytes = 0
        self.bookmarks: list[Bookmark] = []
        self.spans: Sequence[OffRecord] = ()
        self.events: list[StoredEvent] = []

    def _check(self) -> None:
        if self.refusals:
            self.refusals -= 1
            raise FULL

    async def take_over(self, meeting_id: str) -> int:
        self.epoch += 1
        return self.epoch

    async def add_bookmark(self, meeting_id: str, bookmark: Bookmark) -> None:
        self.bookmarks.append(bookmark)

    async def set_off_record(self, meeting_id: str, spans: Sequence[OffRecord]) -> None:
        self._check()
        self.spans = tuple(spans)

    async def append_event(self, meeting_id: str, body: Any) -> list[StoredEvent]:
        self.events.append(StoredEvent(len(self.events) + 1, body))
        return self.events[-1:]

    async def set_received(self, meeting_id: str, received_bytes: int) -> None:
        self.received_bytes = received_bytes

    async def set_state(self, meeting_id: str, state: MeetingState) -> None:
        self._check()
        self.state = state


class Passthrough:
    """A resampler for a client at the canonical rate; half a sample waits inside."""

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

    def __init__(self, threads: ThreadPoolExecutor, **options: Any) -> None:
        self.records = Records()
        self.ended = 0
        store = cast("MeetingStore", self.records)
        meeting = Meeting(
            id=MEETING, title="", state=MeetingState.RECORDING, source="live", created_at_ms=0, epoch=1
        )
        self.buffer = SecureAudioBuffer(MemoryAudioStore().create(MEETING), executor=threads)
        channel = MeetingChannel(MEETING, 0, store)
        self.live = LiveMeeting(meeting, self.buffer, channel, store, LiveOptions(**options), self._count)

    def _count(self) -> None:
        self.ended += 1

    def connect(self) -> LiveConnection:
        return LiveConnection(self.live, self.live.connect(Passthrough()))

    async def reconnect(self) -> LiveConnection:
        await self.live.take_over()
        return self.connect()


@pytest.fixture
async def threads() -> AsyncIterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as executor:
        yield executor


async def test_audio_is_counted_in_canonical_bytes_and_half_a_sample_waits(
    threads: ThreadPoolExecutor,
) -> None:
    fixture = Fixture(threads)
    connection = fixture.connect()
    assert connection.accept_audio(b"abc") == 2
    assert connection.accept_audio(b"d") == 2
    assert await fixture.buffer.read(0, 10) == b"abcd"
    await fixture.live.abandon()


async def test_only_the_newest_client_may_record(threads: ThreadPoolExecutor) -> None:
    fixture = Fixture(threads)
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
    await fixture.live.abandon()


async def test_audio_while_paused_is_refused_and_a_new_client_is_not_paused(
    threads: ThreadPoolExecutor,
) -> None:
    fixture = Fixture(threads)
    first = fixture.connect()
    await first.pause(forget=False)
    with pytest.raises(ConflictError, match="paused"):
        first.accept_audio(SECOND)
    second = await fixture.reconnect()
    second.accept_audio(SECOND)
    assert fixture.buffer.received_bytes == len(SECOND)
    await fixture.live.abandon()


async def test_off_the_record_audio_becomes_silence_and_the_span_is_published(
    threads: ThreadPoolExecutor,
) -> None:
    fixture = Fixture(threads)
    connection = fixture.connect()
    connection.accept_audio(SECOND)
    await connection.pause(forget=True)
    connection.accept_audio(SECOND)
    await connection.resume()
    connection.accept_audio(SECOND)
    assert await fixture.buffer.read(0, 96_000) == SECOND + bytes(32_000) + SECOND
    assert fixture.records.spans == (OffRecord(start_sample=16_000, end_sample=32_000),)
    [event] = fixture.records.events
    assert event.body.type == "gap"
    await fixture.live.abandon()


async def test_back_on_the_record_does_not_count_before_it_is_stored(threads: ThreadPoolExecutor) -> None:
    fixture = Fixture(threads)
    connection = fixture.connect()
    await connection.pause(forget=True)
    fixture.records.refusals = 1
    with pytest.raises(StorageError):
        await connection.resume()
    connection.accept_audio(SECOND)
    assert await fixture.buffer.read(0, 32_000) == bytes(32_000)
    await fixture.live.abandon()


async def test_a_bookmark_marks_the_newest_moment(threads: ThreadPoolExecutor) -> None:
    fixture = Fixture(threads)
    connection = fixture.connect()
    connection.accept_audio(SECOND * 3)
    await connection.bookmark("budget")
    assert fixture.records.bookmarks == [Bookmark(at_ms=3000, note="budget")]
    await fixture.live.abandon()


async def test_a_meeting_that_is_too_long_accepts_no_more(threads: ThreadPoolExecutor) -> None:
    fixture = Fixture(threads, max_bytes=len(SECOND))
    connection = fixture.connect()
    connection.accept_audio(SECOND)
    with pytest.raises(InputError) as caught:
        connection.accept_audio(b"ab")
    assert (caught.value.code, fixture.buffer.received_bytes) == ("too_long", len(SECOND))
    await fixture.live.abandon()


async def test_stop_stores_the_end_once_and_reports_half_a_sample(threads: ThreadPoolExecutor) -> None:
    fixture = Fixture(threads)
    connection = fixture.connect()
    connection.accept_audio(SECOND + b"\1")
    assert await connection.stop()
    await connection.stop()
    assert (fixture.records.state, fixture.records.received_bytes) == (MeetingState.PROCESSING, 32_000)
    assert (fixture.live.stopped.is_set(), fixture.ended) == (True, 1)
    with pytest.raises(ConflictError):
        connection.accept_audio(SECOND)
    await fixture.live.abandon()
    assert fixture.ended == 1


async def test_once_the_audio_is_sealed_stop_succeeds_and_the_end_is_stored_when_the_disk_accepts_it(
    threads: ThreadPoolExecutor,
) -> None:
    fixture = Fixture(threads)
    connection = fixture.connect()
    connection.accept_audio(SECOND)
    fixture.records.refusals = 1
    await connection.stop()
    assert not fixture.live.stopped.is_set()
    async with asyncio.timeout(30):
        await fixture.live.stopped.wait()
    assert (fixture.records.state, fixture.ended) == (MeetingState.PROCESSING, 1)
    await fixture.live.abandon()


async def test_a_meeting_without_a_client_ends_when_the_grace_time_is_over(
    threads: ThreadPoolExecutor,
) -> None:
    fixture = Fixture(threads, grace_s=0)
    connection = fixture.connect()
    connection.accept_audio(SECOND)
    await connection.leave()
    async with asyncio.timeout(30):
        await fixture.live.stopped.wait()
    assert fixture.records.state is MeetingState.PROCESSING
    await fixture.live.abandon()


async def test_a_client_that_comes_back_in_time_keeps_the_meeting(threads: ThreadPoolExecutor) -> None:
    fixture = Fixture(threads, grace_s=600)
    await fixture.connect().leave()
    await asyncio.sleep(0)  # the grace time begins
    second = await fixture.reconnect()
    second.accept_audio(SECOND)
    assert (fixture.live.has_client, fixture.live.stopped.is_set(), fixture.ended) == (True, False, 0)
    await fixture.live.abandon()


async def test_when_the_server_goes_down_the_meeting_waits_for_the_next_one(
    threads: ThreadPoolExecutor,
) -> None:
    fixture = Fixture(threads, grace_s=0)
    connection = fixture.connect()
    connection.accept_audio(SECOND)
    fixture.live.suspend()
    await connection.leave()
    await fixture.live.flush()
    assert (fixture.records.state, fixture.ended) == (MeetingState.RECORDING, 0)
    await fixture.buffer.close()
