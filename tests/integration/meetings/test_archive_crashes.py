"""Processes that are killed while a recording moves to the object store, or while a part of it is erased."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from meeting_assistant.testing.harness.archive import KEY, SOUND, Machine, cached_files
from meeting_assistant.testing.harness.command import run_code

SILENCE = bytes(len(SOUND))


DYING = """
import asyncio, sys
from pathlib import Path
from meeting_assistant.testing.harness.archive import Machine, die

folder, database, store, key, meeting, point, action = sys.argv[1:]

def die_at(target, name, when):
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
        die_at(journal_files, name, when)
    else:
        die_at(getattr(machine, part), name, when)
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


async def crash(folder: Path, database: str, store: str, meeting: str, point: str, action: str) -> None:
    arguments = [str(folder), database, store, KEY, meeting, point, action]
    done = await asyncio.to_thread(run_code, DYING, *arguments)
    assert done.returncode == -9, done.stderr[-2000:]


@pytest.mark.fault
@pytest.mark.parametrize("point", STEPS)
async def test_a_move_killed_between_any_two_steps_is_completed_once(tmp_path: Path, point: str) -> None:
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
    await after.archiver.run_once()
    assert after.archiver.problem is None
    assert await after.sound_of(meeting) == sound
    assert after.audio.local_ids() == []
    assert len(list(objects.iterdir())) == 1
    assert await after.call(after.audio.to_remove) == 0
    await after.close()


@pytest.mark.fault
@pytest.mark.parametrize("point", STEPS)
async def test_an_erasure_killed_between_any_two_steps_can_be_repeated(tmp_path: Path, point: str) -> None:
    objects = tmp_path / "objects"
    objects.mkdir()
    database, store = f"sqlite+aiosqlite:///{tmp_path / 'meetings.db'}", f"file://{objects}"
    before = await Machine(tmp_path, database, store, [KEY]).open()
    meeting = await before.record(SOUND * 100)
    await before.archiver.run_once()
    await before.close()
    if point == STEPS[-1]:
        point = "objects remove after"
    await crash(tmp_path, database, store, meeting, point, "erase")
    after = await Machine(tmp_path, database, store, [KEY]).open()
    assert (await after.sound_of(meeting))[32_000:] == SOUND * 99, "the one before or the one after"
    await after.call(after.audio.erase, meeting, [(0, 32_000)])
    await after.archiver.run_once()
    assert await after.sound_of(meeting) == SILENCE + SOUND * 99
    assert len(list(objects.iterdir())) == 1
    assert {path.suffix for path in cached_files(after)} == {".maj"}
    await after.close()
