"""A backup is made while meetings are recorded, and counts only when it can be opened."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

import httpx
import pytest
from cryptography.fernet import Fernet
from websockets.asyncio.client import connect

from meeting_assistant.adapters.storage.backup import make_backup, restore, verify
from meeting_assistant.adapters.storage.journal.keys import KeyRing
from meeting_assistant.client import LiveClient, paced
from meeting_assistant.domain.errors import EngineError
from meeting_assistant.domain.meeting import MeetingState
from meeting_assistant.launcher import ServerProcess
from meeting_assistant.testing.harness.command import run_cli
from meeting_assistant.testing.harness.recording import RecordingHarness

KEY = Fernet.generate_key().decode()


async def _record_while(server: ServerProcess, sound: bytes, folder: Path) -> str:
    """A meeting that is recording while the backup is made; returns its id."""
    async with connect(f"{server.ws_url}/ws/meetings", proxy=None) as socket:
        await socket.send(json.dumps({"type": "start", "sample_rate": 16000, "channels": 1}))
        started = json.loads(await socket.recv())
        for start in range(0, len(sound), 6400):
            await socket.send(sound[start : start + 6400])
        while True:
            message = json.loads(await socket.recv())
            if message["type"] == "ack" and message["received_bytes"] == len(sound):
                break
        made = await asyncio.to_thread(run_cli, "backup", str(folder / "backup"), cwd=folder)
        assert made.returncode == 0, made.stderr
        assert "Keys are not in it" in made.stderr
        await socket.send('{"type": "stop"}')
    return str(started["meeting_id"])


@pytest.fixture(scope="module")
def backup_of_two(tmp_path_factory: pytest.TempPathFactory, hello: bytes) -> tuple[Path, str, str]:
    """A folder with `data` and `backup`; ids of a finished meeting and of one that was recording."""
    folder = tmp_path_factory.mktemp("saved")
    with ServerProcess(folder / "data") as server:
        finished = asyncio.run(LiveClient(server.ws_url).stream(paced(hello, is_fast=True)))["meeting"]["id"]
        live = asyncio.run(_record_while(server, hello, folder))
    return folder, str(finished), live


def test_a_backup_of_a_busy_server_can_be_restored_elsewhere(
    backup_of_two: tuple[Path, str, str], tmp_path: Path, hello: bytes
) -> None:
    folder, finished, live = backup_of_two
    (tmp_path / "data").mkdir()
    shutil.copy(folder / "data/audio.key", tmp_path / "data/audio.key")  # what the operator kept elsewhere
    restored = run_cli("restore", str(folder / "backup"), cwd=tmp_path)
    assert restored.returncode == 0, restored.stderr
    assert "2 meetings, 2 recordings opened" in restored.stderr
    with ServerProcess(tmp_path / "data", {"SESSION_GRACE_SECONDS": "0"}) as server:
        document = server.get(f"/api/meetings/{finished}")
        assert "Monday" in json.dumps(document["transcript"])
        assert httpx.get(f"{server.url}/api/meetings/{finished}/audio.wav").content[44:] == hello
        # The one that was recording is finished from its sound, as after any crash.
        while server.get(f"/api/meetings/{live}")["meeting"]["state"] != "done":
            pass
        assert "Monday" in json.dumps(server.get(f"/api/meetings/{live}")["transcript"])


def test_verify_reads_every_byte_and_names_what_is_wrong(
    backup_of_two: tuple[Path, str, str], tmp_path: Path
) -> None:
    folder, finished, _ = backup_of_two
    whole = run_cli("restore", "--verify", str(folder / "backup"), cwd=folder)
    assert whole.returncode == 0, whole.stderr
    copy = tmp_path / "copy"
    shutil.copytree(folder / "backup", copy)
    recording = copy / "audio" / f"{finished}.maj"
    raw = bytearray(recording.read_bytes())
    raw[5000] ^= 1
    recording.write_bytes(raw)
    broken = run_cli("restore", str(copy), cwd=folder)
    assert broken.returncode == 1
    assert f"{finished}.maj is not what was backed up" in broken.stderr.replace("audio/", "")
    assert "a record was altered" in broken.stderr
    shutil.rmtree(copy / "audio")
    assert "is missing" in run_cli("restore", "--verify", str(copy), cwd=folder).stderr


def test_a_backup_without_its_key_names_the_key_that_it_needs(
    backup_of_two: tuple[Path, str, str], tmp_path: Path
) -> None:
    folder, _, _ = backup_of_two
    refused = run_cli("restore", "--verify", str(folder / "backup"), cwd=tmp_path)
    assert refused.returncode == 1
    assert "no key is configured" in refused.stderr
    manifest = json.loads((folder / "backup/manifest.json").read_text())
    assert list(manifest["keys"].values()) == [2]
    assert not list((folder / "backup").rglob("*.key"))


async def test_a_backup_includes_uploads_and_reports_missing_ones(
    tmp_path: Path,
) -> None:
    ring = KeyRing([KEY])
    async with RecordingHarness(tmp_path / "data", KEY) as recorder:
        recorder.engine.errors = [EngineError("The engine died.")]
        waiting = await recorder.upload(bytes(64_000))
        await recorder.reaches(waiting.id, MeetingState.FAILED)
        make_backup(tmp_path / "data", tmp_path / "whole")
    assert verify(tmp_path / "whole", ring).problems == []
    restore(tmp_path / "whole", tmp_path / "elsewhere")
    async with RecordingHarness(tmp_path / "elsewhere", KEY) as recorder:
        await recorder.meetings.retry(waiting.id)
        await recorder.reaches(waiting.id, MeetingState.DONE)
    (tmp_path / "data/uploads" / waiting.id).unlink()
    make_backup(tmp_path / "data", tmp_path / "torn")
    assert "is missing" in verify(tmp_path / "torn", ring).problems[0]


@pytest.mark.parametrize("is_heard", [False, True])
async def test_a_recording_missing_before_the_backup_is_reported_if_it_is_still_needed(
    tmp_path: Path, is_heard: bool
) -> None:
    async with RecordingHarness(tmp_path / "data", KEY) as recorder:
        if not is_heard:
            recorder.engine.may_listen.clear()
        connection = await recorder.start()
        connection.accept_audio(bytes(64_000))
        await recorder.is_safe(connection.meeting_id, 64_000)
        if is_heard:
            await connection.stop()
            await recorder.reaches(connection.meeting_id, MeetingState.DONE)
    (tmp_path / "data/audio" / f"{connection.meeting_id}.maj").unlink()
    make_backup(tmp_path / "data", tmp_path / "backup")
    report = verify(tmp_path / "backup", KeyRing([KEY]))
    if is_heard:
        assert (report.problems, report.without_audio) == ([], 1)
    else:
        assert "is missing" in report.problems[0]


def test_a_backup_and_a_restore_overwrite_nothing(
    backup_of_two: tuple[Path, str, str], tmp_path: Path
) -> None:
    folder, _, _ = backup_of_two
    occupied = run_cli("restore", str(folder / "backup"), cwd=folder)
    assert occupied.returncode == 1
    assert "already holds meetings" in occupied.stderr
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    refused = run_cli("backup", str(tmp_path / "mine"), cwd=folder)
    assert refused.returncode == 1
    assert "holds other files" in refused.stderr
    assert [file.name for file in (tmp_path / "mine").iterdir()] == ["letter.txt"]
    again = run_cli("backup", str(folder / "backup"), cwd=folder)
    assert again.returncode == 0, again.stderr
    nothing = run_cli("restore", str(tmp_path), cwd=tmp_path)
    assert "is not a backup" in nothing.stderr
