"""The contract of every audio store, before and after a recording is archived."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from meeting_assistant.adapters.storage.journal.files import FileAudioStore
from meeting_assistant.adapters.storage.journal.keys import KeyRing
from meeting_assistant.domain.errors import AudioDecryptionError, ConflictError, NotFoundError, StorageError
from meeting_assistant.domain.ports import AudioStore
from meeting_assistant.testing.doubles.memory_audio import MemoryAudioStore
from meeting_assistant.testing.harness.archive import SOUND, Machine
from meeting_assistant.testing.servers.s3 import S3Server

MEETING = "01890a5d-ac96-774b-bcce-b302099a8057"
KEY = Fernet.generate_key().decode()

Archive = Callable[[], Awaitable[None]]
KINDS = ["memory", "files", "not yet moved", "moved to a folder", "moved to S3"]


@pytest.fixture(params=KINDS)
async def stored(
    request: pytest.FixtureRequest, tmp_path: Path, s3_server: S3Server
) -> AsyncIterator[tuple[AudioStore, Archive]]:
    """Return a store, and a function that archives a recording there after its meeting."""

    async def stay() -> None:
        return

    if request.param in ("memory", "files"):
        local = FileAudioStore(tmp_path / "audio", KeyRing([KEY]))
        yield (MemoryAudioStore() if request.param == "memory" else local), stay
        return
    (tmp_path / "objects").mkdir()
    url = (
        s3_server.url(secrets.token_hex(8))
        if request.param == "moved to S3"
        else f"file://{tmp_path / 'objects'}"
    )
    machine = await Machine(tmp_path, f"sqlite+aiosqlite:///{tmp_path / 'meetings.db'}", url, [KEY]).open()

    async def move() -> None:
        assert await asyncio.to_thread(machine.audio.move, MEETING)
        assert not machine.local.exists(MEETING)

    yield machine.audio, (stay if request.param == "not yet moved" else move)
    await machine.close()


async def record(store: AudioStore, archive: Archive) -> None:
    def write() -> None:
        journal = store.create(MEETING)
        for _ in range(3):
            journal.append(SOUND)
        assert journal.durable_bytes == 3 * len(SOUND)
        journal.seal()
        journal.seal()
        journal.close()
        journal.close()

    await asyncio.to_thread(write)
    await archive()


async def read(store: AudioStore, offset: int = 0, length: int = 1 << 20) -> bytes:
    def work() -> bytes:
        journal = store.open(MEETING)
        try:
            return journal.read(offset, length)
        finally:
            journal.close()

    return await asyncio.to_thread(work)


@pytest.mark.parametrize(("offset", "length"), [(0, 1), (31_999, 2), (5, 70_001), (95_999, 10), (96_000, 10)])
async def test_any_range_can_be_read(stored: tuple[AudioStore, Archive], offset: int, length: int) -> None:
    await record(*stored)
    assert await read(stored[0], offset, length) == (SOUND * 3)[offset : offset + length]


async def test_a_recording_exists_until_it_is_deleted(stored: tuple[AudioStore, Archive]) -> None:
    store, _ = stored
    assert not await asyncio.to_thread(store.exists, MEETING)
    await record(*stored)
    assert await asyncio.to_thread(store.exists, MEETING)
    await asyncio.to_thread(store.delete, MEETING)
    await asyncio.to_thread(store.delete, MEETING)
    assert not await asyncio.to_thread(store.exists, MEETING)
    with pytest.raises(NotFoundError):
        await asyncio.to_thread(store.open, MEETING)


async def test_a_deleted_recording_can_be_recorded_again(stored: tuple[AudioStore, Archive]) -> None:
    store, archive = stored
    await record(store, archive)
    with pytest.raises(ConflictError):
        await asyncio.to_thread(store.create, MEETING)
    await asyncio.to_thread(store.delete, MEETING)
    await record(store, archive)
    assert await read(store) == SOUND * 3


async def test_a_recording_that_is_complete_accepts_no_more_audio(stored: tuple[AudioStore, Archive]) -> None:
    store, archive = stored
    await record(store, archive)
    journal = await asyncio.to_thread(store.open, MEETING)
    with pytest.raises(ConflictError):
        journal.append(SOUND)
    journal.seal()
    journal.close()


async def test_erased_spans_are_silence_and_the_rest_is_unchanged(stored: tuple[AudioStore, Archive]) -> None:
    store, archive = stored
    await record(store, archive)
    for _ in range(2):
        await asyncio.to_thread(store.erase, MEETING, [(32_000, 64_000), (95_000, 999_999)])
    assert await read(store) == SOUND + bytes(32_000) + SOUND[:31_000] + bytes(1000)


async def test_missing_acknowledged_audio_is_an_error(
    stored: tuple[AudioStore, Archive],
) -> None:
    store, archive = stored
    await record(store, archive)
    whole = await asyncio.to_thread(lambda: store.open(MEETING, durable_bytes=96_000))
    whole.close()
    with pytest.raises((AudioDecryptionError, StorageError)):
        await asyncio.to_thread(lambda: store.open(MEETING, durable_bytes=96_002))


@pytest.mark.parametrize("name", ["../../etc/passwd", "", MEETING.upper(), "x" * 36])
async def test_only_meeting_ids_are_accepted_as_names(stored: tuple[AudioStore, Archive], name: str) -> None:
    store, _ = stored
    assert not await asyncio.to_thread(store.exists, name)
    await asyncio.to_thread(store.delete, name)
    for refuses in (store.create, store.open):
        with pytest.raises(NotFoundError):
            await asyncio.to_thread(refuses, name)
