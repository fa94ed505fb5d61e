"""An object store that cannot be reached, and objects that are lost or changed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from meeting_assistant.domain.errors import StorageError
from meeting_assistant.domain.meeting import MeetingState
from meeting_assistant.testing.harness.archive import SOUND, Machine, SharedArchive, archive_metric


@contextlib.asynccontextmanager
async def archiving(machine: Machine) -> AsyncIterator[None]:
    running = asyncio.create_task(machine.archiver.run())
    try:
        yield
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def wait_until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while True:
            if condition():
                return
            await asyncio.sleep(0.01)


async def test_an_unreachable_store_delays_nothing_and_recordings_move_later(
    sqlite_archive: SharedArchive,
) -> None:
    machine = await sqlite_archive.machine()
    moved_before = archive_metric("moves_total", outcome="moved")
    sqlite_archive.server.stop()
    try:
        async with archiving(machine):
            meeting = await machine.record()
            await wait_until(lambda: machine.archiver.problem)
            assert "cannot be reached" in str(machine.archiver.problem)
            assert "secret" not in str(machine.archiver.problem)
            machine.archiver.wake(meeting)
            await wait_until(lambda: archive_metric("pending", work="move") == 1)
            live = await machine.record(SOUND, state=MeetingState.RECORDING, is_sealed=False)
            assert await machine.sound_of(live) == SOUND
            assert await machine.sound_of(meeting) == SOUND
            sqlite_archive.server.start()
            await wait_until(lambda: not machine.local.exists(meeting))
            await wait_until(lambda: machine.archiver.problem is None)
        assert archive_metric("pending", work="move") == 0
        assert archive_metric("moves_total", outcome="moved") == moved_before + 1
        assert await machine.sound_of(meeting) == SOUND
    finally:
        sqlite_archive.server.stop()
        sqlite_archive.server.start()


async def test_a_recording_deleted_while_the_store_is_unreachable_is_unreadable_at_once(
    sqlite_archive: SharedArchive, tmp_path: Path
) -> None:
    machine = await sqlite_archive.machine()
    meeting = await machine.record()
    await machine.archiver.run_once()
    [(name, content)] = sqlite_archive.objects().items()
    where = await machine.catalogue.find(meeting)
    assert where.stored is not None
    token = where.stored.key.token
    assert token not in content, "the object holds no key"
    sqlite_archive.server.stop()
    try:
        await machine.call(machine.audio.delete, meeting)
        await machine.store.delete(meeting)
        assert not contains_bytes(tmp_path, token), "the key is nowhere"
        assert not machine.audio.local_ids()
        await machine.archiver.run_once()
        assert archive_metric("pending", work="remove") == 1
    finally:
        sqlite_archive.server.start()
    assert list(sqlite_archive.objects()) == [name]
    await machine.archiver.run_once()
    assert sqlite_archive.objects() == {}
    assert archive_metric("pending", work="remove") == 0


def contains_bytes(folder: Path, content: bytes) -> bool:
    """Return whether any file in the folder contains these bytes."""
    return any(content in path.read_bytes() for path in folder.rglob("*") if path.is_file())


async def test_deleting_does_not_wait_for_a_running_copy(sqlite_archive: SharedArchive) -> None:
    machine = await sqlite_archive.machine()
    meeting = await machine.record(SOUND * 100)
    write, begun, go_on = machine.objects.write, asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def slow(name: str, pieces: object) -> None:
        def slow_pieces() -> object:
            for number, piece in enumerate(pieces):  # type: ignore[var-annotated,arg-type]
                yield piece
                if number == 1:
                    loop.call_soon_threadsafe(begun.set)
                    asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result()

        write(name, slow_pieces())  # type: ignore[arg-type]

    machine.objects.write = slow  # type: ignore[method-assign]
    archiving = asyncio.create_task(machine.archiver.run_once())
    await begun.wait()
    deleting = asyncio.create_task(machine.call(machine.audio.delete, meeting))
    await wait_until(lambda: meeting in machine.audio._unwanted)
    go_on.set()
    await asyncio.gather(archiving, deleting)
    assert sqlite_archive.objects() == {}
    assert not await machine.call(machine.audio.exists, meeting)
    assert machine.archiver.problem is None


async def test_a_changed_or_lost_object_is_never_played(
    sqlite_archive: SharedArchive,
) -> None:
    machine = await sqlite_archive.machine()
    meeting = await machine.record()
    await machine.archiver.run_once()
    [name] = sqlite_archive.objects()
    machine.objects.write(name, [b"something else"])
    with pytest.raises(StorageError, match="not what was stored"):
        await machine.sound_of(meeting)
    sqlite_archive.server.remove(sqlite_archive.prefix, name)
    with pytest.raises(StorageError, match="missing from the object store"):
        await machine.sound_of(meeting)
    await machine.call(machine.audio.delete, meeting)


async def test_a_file_is_kept_if_its_object_differs(sqlite_archive: SharedArchive) -> None:
    machine = await sqlite_archive.machine()
    meeting = await machine.record()
    write = machine.objects.write

    def lossy(name: str, pieces: object) -> None:
        write(name, list(pieces)[:-1])  # type: ignore[call-overload]

    machine.objects.write = lossy  # type: ignore[method-assign]
    await machine.archiver.run_once()
    assert machine.local.exists(meeting)
    assert "not what was stored" in str(machine.archiver.problem)
    machine.objects.write = write  # type: ignore[method-assign]
    await machine.archiver.run_once()
    assert not machine.local.exists(meeting)
    assert len(sqlite_archive.objects()) == 1


async def test_a_damaged_recording_is_kept_and_reported_and_the_others_move(
    sqlite_archive: SharedArchive,
) -> None:
    machine = await sqlite_archive.machine()
    damaged, whole = await machine.record(), await machine.record()
    path = machine.local.path_of(damaged)
    raw = bytearray(path.read_bytes())
    raw[5000] ^= 1
    path.write_bytes(raw)
    await machine.archiver.run_once()
    assert machine.audio.local_ids() == [damaged]
    assert damaged in str(machine.archiver.problem)
    assert await machine.sound_of(whole) == SOUND
