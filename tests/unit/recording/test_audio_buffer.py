"""`SecureAudioBuffer`: audio between the socket, the disk and the recogniser."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meeting_assistant.domain.errors import ConflictError, StorageError
from meeting_assistant.services.recording.audio_buffer import SecureAudioBuffer
from meeting_assistant.services.recording.group_commit import BufferLimits
from meeting_assistant.testing.doubles.memory_audio import MemoryAudioStore

pytestmark = pytest.mark.unit

MEETING = "01890a5d-ac96-774b-bcce-b302099a8057"
FULL = StorageError("The disk is full.", "Free some space.", code="disk_full")


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as threads:
        yield threads


class Acknowledgements:
    """Collects the offsets passed to `on_safe`, and can be waited for."""

    def __init__(self) -> None:
        self.offsets: list[int] = []
        self._more = asyncio.Condition()

    async def __call__(self, offset: int) -> None:
        async with self._more:
            self.offsets.append(offset)
            self._more.notify_all()

    async def reach(self, offset: int) -> None:
        async with self._more:
            await self._more.wait_for(lambda: bool(self.offsets) and self.offsets[-1] >= offset)


FAST = BufferLimits(tick_s=0.001)


def journaled(
    executor: ThreadPoolExecutor,
    store: MemoryAudioStore,
    acks: Acknowledgements,
    limits: BufferLimits = FAST,
) -> SecureAudioBuffer:
    return SecureAudioBuffer(store.create(MEETING), executor=executor, on_safe=acks, limits=limits)


async def everything(pieces: AsyncIterator[bytes]) -> bytes:
    return b"".join([piece async for piece in pieces])


async def test_audio_is_acknowledged_only_once_it_is_in_the_journal(executor: ThreadPoolExecutor) -> None:
    store, acks = MemoryAudioStore(), Acknowledgements()
    buffer = journaled(executor, store, acks)
    buffer.append(b"ab" * 100)
    assert buffer.received_bytes == 200
    assert acks.offsets == []
    await acks.reach(200)
    assert store.open(MEETING).durable_bytes == 200
    await buffer.close()


async def test_a_full_disk_stops_acknowledgements_and_not_captions(executor: ThreadPoolExecutor) -> None:
    store, acks = MemoryAudioStore(), Acknowledgements()
    store.refusal = FULL
    buffer = journaled(executor, store, acks)
    buffer.append(b"ab" * 100)
    with pytest.raises(StorageError, match="full"):
        await buffer.flush()
    assert str(buffer.problem) == "full"
    assert await buffer.read(0, 200) == b"ab" * 100, "the recogniser goes on"
    assert acks.offsets == []

    store.refusal = None
    await buffer.flush()
    await acks.reach(200)
    assert buffer.problem is None
    await buffer.close()


async def test_audio_beyond_the_limit_of_unwritten_audio_is_refused(
    executor: ThreadPoolExecutor,
) -> None:
    store = MemoryAudioStore()
    store.refusal = FULL
    buffer = journaled(executor, store, Acknowledgements(), replace(FAST, max_pending_bytes=1000))
    buffer.append(bytes(1000))
    with pytest.raises(StorageError, match="wait to be written"):
        buffer.append(bytes(2))
    assert buffer.received_bytes == 1000
    await buffer.close()


async def test_a_slow_reader_gets_every_byte_from_the_journal(executor: ThreadPoolExecutor) -> None:
    store, acks = MemoryAudioStore(), Acknowledgements()
    buffer = journaled(executor, store, acks, replace(FAST, tail_bytes=400))
    audio = bytes(range(250)) * 40
    for start in range(0, len(audio), 500):
        buffer.append(audio[start : start + 500])
    await acks.reach(len(audio))
    await buffer.seal()
    assert await everything(buffer.follow()) == audio
    assert store.reads > 0, "most of it is no longer in memory"
    await buffer.close()


async def test_a_reader_waits_for_more_audio_and_ends_when_the_recording_is_sealed(
    executor: ThreadPoolExecutor,
) -> None:
    buffer = journaled(executor, MemoryAudioStore(), Acknowledgements())
    following = asyncio.create_task(everything(buffer.follow(2)))
    buffer.append(b"abcd")
    buffer.append(b"ef")
    await buffer.seal()
    assert await following == b"cdef"
    with pytest.raises(ConflictError):
        buffer.append(b"gh")
    await buffer.close()


async def test_closing_wakes_waiting_readers(executor: ThreadPoolExecutor) -> None:
    buffer = journaled(executor, MemoryAudioStore(), Acknowledgements())
    following = asyncio.create_task(everything(buffer.follow()))
    await asyncio.sleep(0)
    await buffer.close()
    with pytest.raises(ConflictError):
        await following


async def test_in_memory_audio_is_safe_and_freed_once_its_words_are_stored(
    executor: ThreadPoolExecutor,
) -> None:
    acks = Acknowledgements()
    buffer = SecureAudioBuffer(None, executor=executor, on_safe=acks, limits=FAST)
    buffer.append(bytes(3000))
    assert buffer.storage == "memory"
    buffer.commit(2000)
    await acks.reach(2000)
    assert acks.offsets == [2000]
    with pytest.raises(StorageError, match="in memory only"):
        await buffer.read(0, 10)
    assert await buffer.read(2000, 5000) == bytes(1000)
    await buffer.close()


async def test_in_memory_unstored_audio_is_bounded(executor: ThreadPoolExecutor) -> None:
    buffer = SecureAudioBuffer(
        None, executor=executor, limits=replace(FAST, max_pending_bytes=10_000, tail_bytes=2000)
    )
    buffer.append(bytes(9000))
    with pytest.raises(StorageError, match="recognised") as caught:
        buffer.append(bytes(2000))
    assert (caught.value.code, buffer.received_bytes) == ("storage_behind", 9000)
    waiting = [
        asyncio.create_task(buffer.wait_for_room(30)),
        asyncio.create_task(buffer.drain()),
    ]
    await asyncio.sleep(0)
    assert not any(task.done() for task in waiting)
    buffer.commit(8000)
    await asyncio.gather(*waiting)
    buffer.append(bytes(2000))
    assert await buffer.read(8000, 5000) == bytes(3000)
    await buffer.close()


async def test_half_a_sample_is_not_accepted(executor: ThreadPoolExecutor) -> None:
    buffer = journaled(executor, MemoryAudioStore(), Acknowledgements())
    with pytest.raises(ValueError, match="even"):
        buffer.append(b"abc")
    assert buffer.received_bytes == 0
    await buffer.close()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.binary(min_size=0, max_size=300).map(lambda pcm: pcm[: len(pcm) // 2 * 2]), max_size=30))
def test_audio_is_read_once_and_in_order(pieces: list[bytes]) -> None:
    async def run() -> None:
        with ThreadPoolExecutor(1) as threads:
            store, acks = MemoryAudioStore(), Acknowledgements()
            buffer = journaled(threads, store, acks, replace(FAST, tail_bytes=200))
            following = asyncio.create_task(everything(buffer.follow()))
            for piece in pieces:
                buffer.append(piece)
                await asyncio.sleep(0)
            await buffer.seal()
            audio = b"".join(pieces)
            assert await following == audio
            assert store.open(MEETING).read(0, len(audio)) == audio
            assert acks.offsets == sorted(acks.offsets)
            await buffer.close()

    asyncio.run(run())
