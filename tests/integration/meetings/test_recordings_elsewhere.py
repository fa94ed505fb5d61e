"""Recordings of finished meetings in an object store: found from every machine, never lost, gone when deleted."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from prometheus_client import REGISTRY

from meeting_assistant.adapters.storage.journal.keys import KeyRing, fingerprint_of
from meeting_assistant.domain.errors import (
    AudioDecryptionError,
    ConflictError,
    NotFoundError,
    StorageError,
)
from meeting_assistant.domain.meeting import MeetingState
from meeting_assistant.testing.harness.archive import SOUND, Machine
from meeting_assistant.testing.harness.command import run_code
from meeting_assistant.testing.servers.s3 import S3Server

KEY, NEW_KEY = Fernet.generate_key().decode(), Fernet.generate_key().decode()
SILENCE = bytes(len(SOUND))


class Place:
    """Machines that share a database and a prefix of a bucket."""

    def __init__(self, folder: Path, database_url: str, server: S3Server) -> None:
        self._folder, self._database_url, self.server = folder, database_url, server
        self.prefix = secrets.token_hex(8)
        self._machines: list[Machine] = []

    async def machine(self, name: str = "", *, keys: tuple[str, ...] = (KEY,), **options: int) -> Machine:
        made = Machine(
            self._folder / (name or "alone"),
            self._database_url,
            self.server.url(self.prefix),
            keys,
            name=name,
            cache_bytes=options.get("cache_bytes", 1 << 30),
        )
        self._machines.append(await made.open())
        return made

    def objects(self) -> dict[str, bytes]:
        return self.server.objects(self.prefix)

    async def close(self) -> None:
        for machine in self._machines:
            await machine.close()


@pytest.fixture
async def place(tmp_path: Path, database_url: str, s3_server: S3Server) -> AsyncIterator[Place]:
    made = Place(tmp_path, database_url, s3_server)
    yield made
    await made.close()


@pytest.fixture
async def small(tmp_path: Path, s3_server: S3Server) -> AsyncIterator[Place]:
    """With SQLite only, for what has nothing to do with the database."""
    made = Place(tmp_path, f"sqlite+aiosqlite:///{tmp_path / 'meetings.db'}", s3_server)
    yield made
    await made.close()


def metric(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"meeting_assistant_audio_store_{name}", labels) or 0.0


# --- from any machine -------------------------------------------------------------------------------------


async def test_what_one_machine_recorded_another_plays_erases_and_deletes(place: Place) -> None:
    one, other = await place.machine("one"), await place.machine("other")
    meeting = await one.record(SOUND * 3)
    await one.moves.run_once()
    assert one.audio.local_ids() == []
    assert await other.call(other.audio.exists, meeting)
    assert await other.sound_of(meeting) == SOUND * 3
    await other.call(other.audio.erase, meeting, [(len(SOUND), 2 * len(SOUND))])
    assert await one.sound_of(meeting) == SOUND + SILENCE + SOUND
    assert len(place.objects()) == 1, "the object before is gone"
    await one.call(one.audio.delete, meeting)
    assert place.objects() == {}
    await one.store.set_audio_deleted(meeting, 1)
    assert not await other.call(other.audio.exists, meeting)
    with pytest.raises(NotFoundError):
        await other.sound_of(meeting)


async def test_while_a_recording_is_on_another_machines_disk_that_is_said(place: Place) -> None:
    one, other = await place.machine("one"), await place.machine("other")
    meeting = await one.record()
    with pytest.raises(ConflictError, match="still on the machine that recorded it"):
        await other.call(other.audio.exists, meeting)
    # Deleted there: the machine that has it destroys it as soon as it looks.
    await other.call(other.audio.delete, meeting)
    await other.store.delete(meeting)
    assert one.local.exists(meeting)
    await one.moves.run_once()
    assert not one.local.exists(meeting)
    assert place.objects() == {}


async def test_only_sealed_recordings_of_meetings_that_are_over_move(small: Place) -> None:
    machine = await small.machine()
    running = await machine.record(state=MeetingState.RECORDING)
    processing = await machine.record(state=MeetingState.PROCESSING)
    open_end = await machine.record(state=MeetingState.FAILED, is_sealed=False)
    failed = await machine.record(state=MeetingState.FAILED)
    await machine.moves.run_once()
    assert machine.audio.local_ids() == sorted([running, processing, open_end])
    assert metric("pending", work="move") == 0
    assert await machine.sound_of(failed) == SOUND, "it can be tried again"
    await machine.store.set_state(processing, MeetingState.FAILED)
    machine.moves.wake(processing)
    await machine.moves.run_once()
    assert machine.audio.local_ids() == sorted([running, open_end])


# --- a store that is away ---------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def moving(machine: Machine) -> AsyncIterator[None]:
    running = asyncio.create_task(machine.moves.run())
    try:
        yield
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while True:
            if condition():
                return
            await asyncio.sleep(0.01)


async def test_a_store_that_is_away_holds_nobody_up_and_is_caught_up_with(small: Place) -> None:
    machine = await small.machine()
    moved_before = metric("moves_total", outcome="moved")
    small.server.stop()
    try:
        async with moving(machine):
            meeting = await machine.record()
            await until(lambda: machine.moves.problem)
            assert "cannot be reached" in str(machine.moves.problem)
            assert "secret" not in str(machine.moves.problem)
            machine.moves.wake(meeting)
            await until(lambda: metric("pending", work="move") == 1)
            live = await machine.record(SOUND, state=MeetingState.RECORDING, is_sealed=False)
            assert await machine.sound_of(live) == SOUND
            assert await machine.sound_of(meeting) == SOUND
            small.server.start()
            await until(lambda: not machine.local.exists(meeting))
            await until(lambda: machine.moves.problem is None)
        assert metric("pending", work="move") == 0
        assert metric("moves_total", outcome="moved") == moved_before + 1
        assert await machine.sound_of(meeting) == SOUND
    finally:
        small.server.stop()
        small.server.start()


async def test_what_is_deleted_while_the_store_is_away_opens_for_nobody_and_goes_later(
    small: Place, tmp_path: Path
) -> None:
    machine = await small.machine()
    meeting = await machine.record()
    await machine.moves.run_once()
    [(name, content)] = small.objects().items()
    where = await machine.catalogue.find(meeting)
    assert where.stored is not None
    token = where.stored.key.token
    assert token not in content, "the object holds no key"
    small.server.stop()
    try:
        await machine.call(machine.audio.delete, meeting)
        await machine.store.delete(meeting)
        assert not holds(tmp_path, token), "the key is nowhere"
        assert not machine.audio.local_ids()
        await machine.moves.run_once()
        assert metric("pending", work="remove") == 1
    finally:
        small.server.start()
    assert list(small.objects()) == [name]
    await machine.moves.run_once()
    assert small.objects() == {}
    assert metric("pending", work="remove") == 0


async def test_old_versions_of_a_bucket_open_for_nobody(tmp_path: Path, s3_server: S3Server) -> None:
    bucket, prefix = f"versioned-{secrets.token_hex(4)}", "meetings"
    s3_server.make_bucket(bucket, is_versioned=True)
    url = s3_server.url(prefix, bucket)
    database = f"sqlite+aiosqlite:///{tmp_path / 'meetings.db'}"
    machine = await Machine(tmp_path, database, url, [KEY]).open()
    meeting = await machine.record()
    await machine.moves.run_once()
    await machine.call(machine.audio.erase, meeting, [(0, 10_000)])
    await machine.call(machine.audio.delete, meeting)
    assert s3_server.objects(prefix, bucket) == {}
    kept = s3_server.all_versions(prefix, bucket)
    assert len(kept) == 2
    assert all(content[512:1536] == bytes(1024) for content in kept), "no wrapped key"
    assert await machine.catalogue.needed_keys() == {}
    await machine.close()


def inside(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def holds(folder: Path, content: bytes) -> bool:
    """True when a file below has it."""
    return any(content in path.read_bytes() for path in folder.rglob("*") if path.is_file())


# --- crashes ----------------------------------------------------------------------------------------------

DYING = """
import asyncio, sys
from pathlib import Path
from meeting_assistant.testing.harness.archive import Machine, die

folder, database, store, key, meeting, point, action = sys.argv[1:]

def dies(target, name, when):
    method = getattr(target, name)
    def dying(*args, **kwargs):
        if when == "before":
            die()
        if when == "during":  # half of the object is there
            pieces = iter(args[1])
            return method(args[0], (piece if n < 2 else die() for n, piece in enumerate(pieces)))
        result = method(*args, **kwargs)
        die()
    async def dying_async(*args, **kwargs):
        if when == "before":
            die()
        await method(*args, **kwargs)
        die()
    setattr(target, name, dying_async if asyncio.iscoroutinefunction(method) else dying)

async def main():
    machine = await Machine(Path(folder), database, store, [key]).open()
    part, name, when = point.split()
    if part == "files":
        from meeting_assistant.adapters.storage.journal import files as journal_files
        dies(journal_files, name, when)
    else:
        dies(getattr(machine, part), name, when)
    if action == "move":
        await machine.call(machine.audio.move, meeting)
    else:
        await machine.call(machine.audio.erase, meeting, [(0, 32000)])

asyncio.run(main())
"""
STEPS = [
    "catalogue begin_copy after",
    "objects write during",
    "objects write after",
    "catalogue end_copy before",
    "catalogue end_copy after",
    "files destroy_key after",
]


async def crash(place: Path, database: str, store: str, meeting: str, point: str, action: str) -> None:
    arguments = [str(place), database, store, KEY, meeting, point, action]
    done = await asyncio.to_thread(run_code, DYING, *arguments)
    assert done.returncode == -9, done.stderr[-2000:]


@pytest.mark.fault
@pytest.mark.parametrize("point", STEPS)
async def test_a_move_that_is_killed_between_any_two_steps_is_ended_once(tmp_path: Path, point: str) -> None:
    objects = tmp_path / "objects"
    objects.mkdir()
    database, store = f"sqlite+aiosqlite:///{tmp_path / 'meetings.db'}", f"file://{objects}"
    sound = SOUND * 100
    before = await Machine(tmp_path, database, store, [KEY]).open()
    meeting = await before.record(sound)
    await before.close()
    await crash(tmp_path, database, store, meeting, point, "move")
    after = await Machine(tmp_path, database, store, [KEY]).open()
    assert await after.sound_of(meeting) == sound, "before anything is mended"
    await after.moves.run_once()
    assert after.moves.problem is None
    assert await after.sound_of(meeting) == sound
    assert after.audio.local_ids() == []
    assert len(inside(objects)) == 1
    assert await after.call(after.audio.to_remove) == 0
    await after.close()


@pytest.mark.fault
@pytest.mark.parametrize("point", STEPS)
async def test_an_erasure_that_is_killed_between_any_two_steps_can_be_done_again(
    tmp_path: Path, point: str
) -> None:
    objects = tmp_path / "objects"
    objects.mkdir()
    database, store = f"sqlite+aiosqlite:///{tmp_path / 'meetings.db'}", f"file://{objects}"
    before = await Machine(tmp_path, database, store, [KEY]).open()
    meeting = await before.record(SOUND * 100)
    await before.moves.run_once()
    await before.close()
    if point == STEPS[-1]:
        point = "objects remove after"
    await crash(tmp_path, database, store, meeting, point, "erase")
    after = await Machine(tmp_path, database, store, [KEY]).open()
    assert (await after.sound_of(meeting))[32_000:] == SOUND * 99, "the one before or the one after"
    await after.call(after.audio.erase, meeting, [(0, 32_000)])
    await after.moves.run_once()
    assert await after.sound_of(meeting) == SILENCE + SOUND * 99
    assert len(inside(objects)) == 1
    assert {path.suffix for path in cached(after)} == {".maj"}
    await after.close()


async def test_deleting_does_not_wait_for_a_copy_that_runs(small: Place) -> None:
    machine = await small.machine()
    meeting = await machine.record(SOUND * 100)
    write, begun, go_on = machine.objects.write, asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def slow(name: str, pieces: object) -> None:
        def held() -> object:
            for number, piece in enumerate(pieces):  # type: ignore[var-annotated,arg-type]
                yield piece
                if number == 1:
                    loop.call_soon_threadsafe(begun.set)
                    asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result()

        write(name, held())  # type: ignore[arg-type]

    machine.objects.write = slow  # type: ignore[method-assign]
    moving_on = asyncio.create_task(machine.moves.run_once())
    await begun.wait()
    deleting = asyncio.create_task(machine.call(machine.audio.delete, meeting))
    await until(lambda: meeting in machine.audio._unwanted)
    go_on.set()
    await asyncio.gather(moving_on, deleting)
    assert small.objects() == {}
    assert not await machine.call(machine.audio.exists, meeting)
    assert machine.moves.problem is None


# --- what can be wrong ------------------------------------------------------------------------------------


async def test_an_object_that_was_changed_or_lost_is_not_passed_off_as_sound(small: Place) -> None:
    machine = await small.machine()
    meeting = await machine.record()
    await machine.moves.run_once()
    [name] = small.objects()
    machine.objects.write(name, [b"something else"])
    with pytest.raises(StorageError, match="not what was stored"):
        await machine.sound_of(meeting)
    small.server.remove(small.prefix, name)
    with pytest.raises(StorageError, match="missing from the object store"):
        await machine.sound_of(meeting)
    await machine.call(machine.audio.delete, meeting)


async def test_the_file_stays_when_the_object_is_not_what_was_sent(small: Place) -> None:
    machine = await small.machine()
    meeting = await machine.record()
    write = machine.objects.write

    def lossy(name: str, pieces: object) -> None:
        write(name, list(pieces)[:-1])  # type: ignore[call-overload]

    machine.objects.write = lossy  # type: ignore[method-assign]
    await machine.moves.run_once()
    assert machine.local.exists(meeting)
    assert "not what was stored" in str(machine.moves.problem)
    machine.objects.write = write  # type: ignore[method-assign]
    await machine.moves.run_once()
    assert not machine.local.exists(meeting)
    assert len(small.objects()) == 1


async def test_a_damaged_recording_is_kept_and_said_and_the_others_move(small: Place) -> None:
    machine = await small.machine()
    damaged, whole = await machine.record(), await machine.record()
    path = machine.local.path_of(damaged)
    raw = bytearray(path.read_bytes())
    raw[5000] ^= 1
    path.write_bytes(raw)
    await machine.moves.run_once()
    assert machine.audio.local_ids() == [damaged]
    assert damaged in str(machine.moves.problem)
    assert await machine.sound_of(whole) == SOUND


async def test_fetched_recordings_take_no_more_room_than_they_may(small: Place) -> None:
    machine = await small.machine(cache_bytes=150_000)
    meetings = [await machine.record(SOUND * 2) for _ in range(4)]
    await machine.moves.run_once()
    for meeting in [*meetings, *meetings]:
        assert await machine.sound_of(meeting) == SOUND * 2
    kept = cached(machine)
    assert len(kept) == 2
    assert all(path.read_bytes()[512:1536] == bytes(1024) for path in kept), "no keys in it"


def cached(machine: Machine) -> list[Path]:
    return inside(machine.folder / "audio-cache")


async def test_nothing_is_fetched_onto_a_disk_that_recording_needs(
    tmp_path: Path, s3_server: S3Server
) -> None:
    def refuse(size_bytes: int) -> None:
        raise StorageError("Only 1 MB is free.", code="disk_full")

    url = s3_server.url(secrets.token_hex(8))
    machine = await Machine(
        tmp_path, f"sqlite+aiosqlite:///{tmp_path / 'meetings.db'}", url, [KEY], check_space=refuse
    ).open()
    meeting = await machine.record()
    await machine.moves.run_once()
    with pytest.raises(StorageError, match="free"):
        await machine.sound_of(meeting)
    await machine.close()


# --- keys -------------------------------------------------------------------------------------------------


async def test_changing_keys_touches_no_object(place: Place) -> None:
    machine = await place.machine("one")
    meeting = await machine.record()
    await machine.moves.run_once()
    before = place.objects()
    assert await machine.catalogue.needed_keys() == {fingerprint_of(KEY): 1}
    moved, failed = await machine.catalogue.rewrap(KeyRing([NEW_KEY]))
    assert (moved, [name for name, _ in failed]) == (0, [meeting]), "without the old key nothing happens"
    moved, failed = await machine.catalogue.rewrap(KeyRing([NEW_KEY, KEY]))
    assert (moved, failed) == (1, [])
    assert await machine.catalogue.needed_keys() == {fingerprint_of(NEW_KEY): 1}
    assert place.objects() == before
    rotated = await place.machine("two", keys=(NEW_KEY,))
    assert await rotated.sound_of(meeting) == SOUND
    with pytest.raises(AudioDecryptionError, match=fingerprint_of(NEW_KEY)):
        await machine.sound_of(meeting)


async def test_deleting_a_meeting_destroys_its_key_even_without_the_store(
    small: Place, tmp_path: Path
) -> None:
    """`AUDIO_STORE_URL` was taken away since."""
    machine = await small.machine()
    one, other = await machine.record(), await machine.record()
    await machine.moves.run_once()
    await machine.store.delete(one)
    await machine.store.set_audio_deleted(other, 1)
    assert await machine.catalogue.needed_keys() == {}
    with contextlib.closing(sqlite3.connect(tmp_path / "meetings.db")) as connection:
        rows = connection.execute("SELECT state, wrapped_key FROM remote_recordings").fetchall()
    assert rows == [("doomed", None)] * 2
    await machine.moves.run_once()
    assert small.objects() == {}
