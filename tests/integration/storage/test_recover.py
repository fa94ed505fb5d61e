"""A database that vanished beside its recordings: said, left alone, and made good by `recover`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.fernet import Fernet

from meeting_assistant.cli.recover import run_recover
from meeting_assistant.client import LiveClient, paced
from meeting_assistant.domain.errors import InputError
from meeting_assistant.domain.meeting import MeetingState
from meeting_assistant.launcher import ServerProcess, free_port
from meeting_assistant.testing.harness.command import run_cli
from meeting_assistant.testing.harness.recording import RecordingHarness

KEY, OTHER = Fernet.generate_key().decode(), Fernet.generate_key().decode()
SECOND = b"\x01\x00" * 16_000


def test_a_server_whose_database_vanished_says_so_and_makes_no_new_one(tmp_path: Path, hello: bytes) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o755)
    with ServerProcess(data) as server:
        asyncio.run(LiveClient(server.ws_url).stream(paced(hello, is_fast=True)))
        _assert_private(data)
        assert "may enter DATA_DIR (mode 0755)" in server.log_path.read_text()
        second = run_cli("serve", cwd=tmp_path, HTTP_PORT=str(free_port()))
        assert second.returncode == 1
        assert "Another copy of Meeting Assistant uses DATA_DIR" in second.stderr
    (data / "meetings.db").unlink()
    server = ServerProcess(data)
    server.spawn()
    try:
        health = _first_problem(server)
        assert health["status"] == "degraded"
        assert "meeting-assistant recover" in health["problems"][0]
        assert httpx.get(f"{server.url}/ready").status_code == 503
        assert not (data / "meetings.db").exists(), "no empty one in its place"
        refused = run_cli("recover", cwd=tmp_path)
        assert refused.returncode == 1
        assert "Stop it" in refused.stderr
    finally:
        server.stop()
    _assert_private(data)
    recovered = run_cli("recover", cwd=tmp_path)
    assert (recovered.returncode, recovered.stderr) == (0, "")
    assert "1 became meetings; 0 could not be opened" in recovered.stdout
    _assert_private(data)


def _assert_private(folder: Path) -> None:
    """Everything in it is for its owner only."""
    if sys.platform != "win32":
        assert [str(path) for path in folder.rglob("*") if path.lstat().st_mode & 0o077] == []


def _first_problem(server: ServerProcess) -> dict[str, Any]:
    with httpx.Client(transport=httpx.HTTPTransport(retries=8)) as client:
        answer: dict[str, Any] = client.get(f"{server.url}/health").json()
        while not answer["problems"]:
            answer = client.get(f"{server.url}/health").json()
    return answer


# --- the command ------------------------------------------------------------------------------------------


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    monkeypatch.setenv("AUDIO_ENCRYPTION_KEY", KEY)
    return monkeypatch


async def record_and_upload(folder: Path) -> list[str]:
    """Return a recorded meeting and an uploaded file that is not transcribed yet."""
    async with RecordingHarness(folder, KEY) as harness:
        connection = await harness.start()
        connection.accept_audio(SECOND * 2)
        await connection.stop()
        await harness.reaches(connection.meeting_id, MeetingState.DONE)
        harness.engine.may_listen.clear()
        upload = await harness.upload(SECOND * 3)
        await harness.engine.begun[upload.id].wait()
        await harness.orchestrator.drain(0)
    return [connection.meeting_id, upload.id]


async def states_after_a_start(folder: Path, ids: list[str]) -> list[tuple[MeetingState, int]]:
    async with RecordingHarness(folder, KEY) as harness:
        await harness.uploads.remove_orphans()
        await harness.recovery.resume_unfinished()
        meetings = [await harness.reaches(one, MeetingState.DONE, MeetingState.FAILED) for one in ids]
        return [(meeting.state, meeting.committed_sample) for meeting in meetings]


@pytest.mark.usefixtures("settings")
def test_recordings_and_files_become_meetings_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = asyncio.run(record_and_upload(tmp_path))
    (tmp_path / "meetings.db").unlink()
    assert run_recover(owner=None, channels=None, is_dry_run=True) == 0
    assert not (tmp_path / "meetings.db").exists(), "a dry run changes nothing"
    assert run_recover(owner=None, channels=None, is_dry_run=False) == 0
    assert run_recover(owner=None, channels=None, is_dry_run=False) == 0
    dry, first, again = (line for line in capsys.readouterr().out.splitlines() if " meetings; " in line)
    assert dry.startswith("2 would become")
    assert first.startswith("2 became")
    assert again.startswith("0 became")
    assert asyncio.run(states_after_a_start(tmp_path, ids)) == [
        (MeetingState.DONE, 32_000),
        (MeetingState.DONE, 48_000),
    ]


def test_a_recording_without_its_key_is_left_until_the_key_is_back(
    tmp_path: Path, settings: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recorded, uploaded = asyncio.run(record_and_upload(tmp_path))
    (tmp_path / "meetings.db").unlink()
    journal = tmp_path / "audio" / f"{recorded}.maj"
    before = journal.read_bytes()
    settings.setenv("AUDIO_ENCRYPTION_KEY", OTHER)
    assert run_recover(owner=None, channels=None, is_dry_run=False) == 1
    assert f"{recorded}  Audio decryption failed" in capsys.readouterr().out
    assert journal.read_bytes() == before
    settings.setenv("AUDIO_ENCRYPTION_KEY", KEY)
    assert run_recover(owner=None, channels=1, is_dry_run=False) == 0
    assert {state for state, _ in asyncio.run(states_after_a_start(tmp_path, [recorded, uploaded]))} == {
        MeetingState.DONE
    }


def test_where_several_people_have_tokens_an_owner_has_to_be_named(
    tmp_path: Path, settings: pytest.MonkeyPatch
) -> None:
    digest = "sha256=" + "0" * 63
    settings.setenv("API_TOKENS", f"anna:record+read:{digest}1,ben:record+read:{digest}2")
    with pytest.raises(InputError, match="anna"):
        run_recover(owner=None, channels=None, is_dry_run=False)
    with pytest.raises(InputError, match="anna, ben"):
        run_recover(owner="carl", channels=None, is_dry_run=False)
    assert run_recover(owner="ben", channels=None, is_dry_run=False) == 0


async def test_orphans_beside_another_database_are_reported_and_kept(tmp_path: Path) -> None:
    ids = await record_and_upload(tmp_path)
    (tmp_path / "meetings.db").unlink()
    async with RecordingHarness(
        tmp_path, KEY
    ) as harness:  # with a database of its own, as from an older backup
        await harness.uploads.remove_orphans()
        [problem] = await harness.orphan_problems()
        assert problem.startswith("2 recordings in DATA_DIR belong to no meeting")
        assert "meeting-assistant recover" in problem
    assert (tmp_path / "audio" / f"{ids[0]}.maj").exists()
    assert (tmp_path / "uploads" / ids[1]).exists()
