"""An object store as operators meet it: servers, commands, `/health`, `/metrics`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import secrets
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from cryptography.fernet import Fernet

from meeting_assistant.client import LiveClient, paced
from meeting_assistant.launcher import ServerProcess
from meeting_assistant.testing.harness.command import run_cli
from meeting_assistant.testing.servers.postgres import PostgresServer
from meeting_assistant.testing.servers.s3 import SECRET, S3Server

KEY = Fernet.generate_key().decode()


def wait_until(condition: Callable[[], bool], message: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, message
        time.sleep(0.05)


def record_meeting(server: ServerProcess, sound: bytes) -> str:
    final = asyncio.run(LiveClient(server.ws_url).stream(paced(sound, is_fast=True)))
    return str(final["meeting"]["id"])


def files(server: ServerProcess) -> list[Path]:
    return list((server.data_dir / "audio").glob("*.maj"))


def sound_of(server: ServerProcess, meeting: str) -> bytes:
    answer = httpx.get(f"{server.url}/api/meetings/{meeting}/audio.wav")
    assert answer.status_code == 200, answer.text
    return answer.content[44:]


def test_another_server_with_the_same_database_can_play_redact_and_delete(
    tmp_path: Path, postgres: PostgresServer, s3_server: S3Server, hello: bytes
) -> None:
    prefix = secrets.token_hex(8)
    env = {
        "DATABASE_URL": postgres.create(f"t{secrets.token_hex(8)}"),
        "AUDIO_STORE_URL": s3_server.url(prefix),
        "AUDIO_ENCRYPTION_KEY": KEY,
    }
    with ServerProcess(tmp_path / "one", env) as one, ServerProcess(tmp_path / "other", env) as other:
        meeting = record_meeting(one, hello)
        wait_until(lambda: not files(one), "the recording moved")
        assert len(s3_server.objects(prefix)) == 1
        assert sound_of(one, meeting) == hello
        assert sound_of(other, meeting) == hello
        part = httpx.get(
            f"{other.url}/api/meetings/{meeting}/audio.wav", headers={"Range": "bytes=1044-2043"}
        )
        assert part.content == hello[1000:2000]
        span = {"start_ms": 0, "end_ms": 1000}
        assert httpx.post(f"{other.url}/api/meetings/{meeting}/forget", json=span).status_code == 200
        assert sound_of(one, meeting) == bytes(32_000) + hello[32_000:]
        wait_until(lambda: len(s3_server.objects(prefix)) == 1, "the object before is gone")
        assert httpx.delete(f"{other.url}/api/meetings/{meeting}").status_code == 204
        wait_until(lambda: s3_server.objects(prefix) == {}, "nothing is left in the bucket")
        assert httpx.get(f"{one.url}/api/meetings/{meeting}/audio.wav").status_code == 404
        assert 'meeting_assistant_audio_store_moves_total{outcome="moved"} 1.0' in one.get_text("/metrics")
        log = one.log_path.read_text() + other.log_path.read_text()
    assert SECRET not in log


def test_an_unreachable_store_is_reported_and_recordings_move_later(
    tmp_path: Path, s3_server: S3Server, hello: bytes
) -> None:
    prefix = secrets.token_hex(8)
    env = {"AUDIO_STORE_URL": s3_server.url(prefix), "LOG_LEVEL": "debug"}
    s3_server.stop()
    try:
        with ServerProcess(tmp_path / "data", env) as server:
            meeting = record_meeting(server, hello)
            assert sound_of(server, meeting) == hello
            health = server.get("/health")
            assert health["status"] == "degraded"
            assert "cannot be reached" in health["problems"][0]
            assert any("audio.key of this machine only" in note for note in health["notes"])
            s3_server.start()
            wait_until(lambda: not files(server), "the recording moved")
            wait_until(lambda: server.get("/health")["status"] == "ok", "all is well")
            assert sound_of(server, meeting) == hello
            assert 'audio_store_pending{work="move"} 0.0' in server.get_text("/metrics")
        log = server.log_path.read_text()
        assert "Failed to move recordings" in log
        assert SECRET not in log
        assert "Signature" not in log
    finally:
        s3_server.stop()
        s3_server.start()


def test_existing_recordings_move_and_a_missing_setting_is_reported(tmp_path: Path, hello: bytes) -> None:
    with ServerProcess(tmp_path / "data") as server:
        meeting = record_meeting(server, hello)
    (tmp_path / "objects").mkdir()
    env = {"AUDIO_STORE_URL": f"file://{tmp_path / 'objects'}"}
    with ServerProcess(tmp_path / "data", env) as server:
        wait_until(lambda: not files(server), "the recording moved")
        assert sound_of(server, meeting) == hello
    with ServerProcess(tmp_path / "data") as server:
        health = server.get("/health")
        assert "AUDIO_STORE_URL is not set" in health["problems"][0]
        assert httpx.get(f"{server.url}/api/meetings/{meeting}/audio.wav").status_code == 404


@pytest.fixture(scope="module")
def archived_meeting(
    tmp_path_factory: pytest.TempPathFactory, hello: bytes
) -> tuple[Path, dict[str, str], str]:
    """A folder with `data` and `objects`, settings, and a meeting whose recording moved."""
    folder = tmp_path_factory.mktemp("moved")
    (folder / "objects").mkdir()
    env = {"AUDIO_STORE_URL": f"file://{folder / 'objects'}", "AUDIO_ENCRYPTION_KEY": KEY}
    with ServerProcess(folder / "data", env) as server:
        meeting = record_meeting(server, hello)
        wait_until(lambda: not files(server), "the recording moved")
    return folder, env, meeting


def test_a_backup_reports_which_archived_recordings_it_covers(
    archived_meeting: tuple[Path, dict[str, str], str], tmp_path: Path, hello: bytes
) -> None:
    folder, env, meeting = archived_meeting
    made = run_cli("backup", str(tmp_path / "backup"), cwd=folder, **env)
    assert made.returncode == 0, made.stderr
    reported = " ".join(made.stderr.split())
    assert "1 meetings, 0 recordings opened" in reported
    assert "1 recordings are in the object store" in reported
    assert "has 1 of them in their full length" in reported
    blind = run_cli("restore", "--verify", str(tmp_path / "backup"), cwd=folder, AUDIO_ENCRYPTION_KEY=KEY)
    assert "AUDIO_STORE_URL is not set" in blind.stderr
    unknown = {**env, "AUDIO_ENCRYPTION_KEY": Fernet.generate_key().decode()}
    keyless = run_cli("restore", "--verify", str(tmp_path / "backup"), cwd=tmp_path, **unknown)
    assert keyless.returncode == 1
    assert "which is not configured" in " ".join(keyless.stderr.split())
    restored = run_cli("restore", str(tmp_path / "backup"), cwd=tmp_path, **env)
    assert restored.returncode == 0, restored.stderr
    with ServerProcess(tmp_path / "data", env) as server:
        assert sound_of(server, meeting) == hello


def test_keys_commands_include_archived_recordings(
    archived_meeting: tuple[Path, dict[str, str], str],
) -> None:
    folder, env, _ = archived_meeting
    new = Fernet.generate_key().decode()
    status = json.loads(run_cli("keys", "status", "--json", cwd=folder, **env).stdout)
    assert [use["recordings"] for use in status] == [1]
    missing = run_cli("keys", "status", cwd=folder, AUDIO_ENCRYPTION_KEY=new)
    assert missing.returncode == 1
    rotated = run_cli("keys", "rotate", cwd=folder, AUDIO_ENCRYPTION_KEY=f"{new},{KEY}")
    assert "In the object store: 1 recordings moved" in " ".join(rotated.stderr.split())
    assert run_cli("keys", "status", cwd=folder, AUDIO_ENCRYPTION_KEY=new).returncode == 0
    back = run_cli("keys", "rotate", cwd=folder, AUDIO_ENCRYPTION_KEY=f"{KEY},{new}")
    assert back.returncode == 0, back.stderr


def test_doctor_checks_the_object_store(
    archived_meeting: tuple[Path, dict[str, str], str], tmp_path: Path
) -> None:
    folder, env, _ = archived_meeting
    checks = json.loads(run_cli("doctor", "--json", cwd=folder, **env).stdout)
    [check] = [check for check in checks if check["name"] == "Object store"]
    assert check["ok"]
    assert re.search(r"file://.*/objects", check["detail"])
    away = {**env, "AUDIO_STORE_URL": f"file://{tmp_path / 'nowhere'}"}
    checks = json.loads(run_cli("doctor", "--json", cwd=folder, **away).stdout)
    [check] = [check for check in checks if check["name"] == "Object store"]
    assert not check["ok"]
    assert "does not exist" in check["detail"]


def test_a_failed_meeting_is_retried_from_its_archived_recording(tmp_path: Path, hello: bytes) -> None:
    (tmp_path / "objects").mkdir()
    env = {"AUDIO_STORE_URL": f"file://{tmp_path / 'objects'}"}
    with ServerProcess(tmp_path / "data", env) as server:
        meeting = record_meeting(server, hello)
        wait_until(lambda: not files(server), "the recording moved")
    with contextlib.closing(sqlite3.connect(tmp_path / "data/meetings.db")) as database, database:
        for table in ("words", "utterances", "minutes", "steps", "events"):
            database.execute(f"DELETE FROM {table}")
        database.execute("UPDATE meetings SET state = 'failed', committed_sample = 0, resume = '{}'")
    with ServerProcess(tmp_path / "data", env) as server:
        path = f"/api/meetings/{meeting}"
        assert httpx.post(f"{server.url}{path}/retry").status_code == 202
        wait_until(lambda: server.get(path)["meeting"]["state"] == "done", "it is finished")
        assert "Monday" in json.dumps(server.get(path)["transcript"])
        assert sound_of(server, meeting) == hello


def test_contradictory_settings_stop_the_start(tmp_path: Path) -> None:
    refused = run_cli("serve", cwd=tmp_path, AUDIO_STORAGE="memory", AUDIO_STORE_URL="file:///tmp")
    assert refused.returncode == 1
    assert "contradict each other" in " ".join(refused.stderr.split())


def test_strict_keys_apply_to_archived_recordings(archived_meeting: tuple[Path, dict[str, str], str]) -> None:
    folder, env, _ = archived_meeting
    strict = {**env, "AUDIO_ENCRYPTION_KEY": Fernet.generate_key().decode(), "STRICT_KEYS": "true"}
    server = ServerProcess(folder / "data", strict)
    server.spawn()
    try:

        def says() -> bool:
            try:
                return "not configured" in server.get_text("/health")
            except OSError:
                return False

        wait_until(says, "health says so")
        assert httpx.get(f"{server.url}/ready").status_code == 503
    finally:
        server.stop()
