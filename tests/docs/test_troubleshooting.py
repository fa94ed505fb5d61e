"""Every row of docs/how-to/troubleshooting.md whose part exists: provoked, and answered with the words of the page."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import re
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from meeting_assistant.adapters.asr.moonshine import MoonshineEngine
from meeting_assistant.adapters.audio.trusted import read_pcm
from meeting_assistant.adapters.jobs.redis_gateway import RedisGatewayLink
from meeting_assistant.adapters.storage.sql.database import Database
from meeting_assistant.adapters.storage.sql.meeting_store import SqlMeetingStore
from meeting_assistant.bootstrap.language_models import build_llm_service
from meeting_assistant.client import LiveClient, paced
from meeting_assistant.config import load_settings
from meeting_assistant.demo import hello_clip
from meeting_assistant.domain.errors import BrokerError, EngineNotInstalledError, LlmError, StorageError
from meeting_assistant.domain.ports import LlmRequest
from meeting_assistant.launcher import ServerProcess, free_port
from meeting_assistant.testing.harness.command import run_cli
from meeting_assistant.testing.harness.fleet import KEYS

pytestmark = pytest.mark.docs

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/how-to/troubleshooting.md").read_text(encoding="utf-8")


def test_a_missing_engine_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EngineNotInstalledError) as caught:
        MoonshineEngine().load()
    assert caught.value.message == "ASR error: moonshine-voice is not installed."
    assert "make setup" in caught.value.remedy
    assert "`ASR error: … is not installed`" in PAGE


async def test_an_unreachable_language_model_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_BASE_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("LLM_MAX_RETRIES", "0")
    service = build_llm_service(load_settings())
    with pytest.raises(LlmError, match=r"^Failed to get LLM response\.") as caught:
        await service.complete(LlmRequest(system="", user=""), str)
    await service.close()
    assert "cannot be reached" in caught.value.message
    assert "Start the server" in caught.value.remedy
    assert "`Failed to get LLM response.`" in PAGE


@pytest.fixture
def sound() -> bytes:
    from meeting_assistant.adapters.audio.trusted import read_pcm

    return read_pcm(hello_clip()[0])


def test_a_wrong_key_destroys_nothing_and_names_the_key_that_is_needed(tmp_path: Path, sound: bytes) -> None:
    right, wrong = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    with ServerProcess(tmp_path / "data", {"AUDIO_ENCRYPTION_KEY": right}) as server:
        final = asyncio.run(LiveClient(server.ws_url).stream(paced(sound, is_fast=True)))
        audio = f"/api/meetings/{final['meeting']['id']}/audio.wav"
        before = urllib.request.urlopen(server.url + audio, timeout=30).read()

    with ServerProcess(tmp_path / "data", {"AUDIO_ENCRYPTION_KEY": wrong}) as server:
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(server.url + audio, timeout=30)
        error = json.load(caught.value)["error"]
        caught.value.close()
        assert error["message"].startswith("Audio decryption failed")
        assert "AUDIO_ENCRYPTION_KEY" in error["remedy"]
        again = asyncio.run(LiveClient(server.ws_url).stream(paced(sound, is_fast=True)))
        assert again["errors"] == [], "new meetings work"

    with ServerProcess(tmp_path / "data", {"AUDIO_ENCRYPTION_KEY": f"{wrong},{right}"}) as server:
        assert urllib.request.urlopen(server.url + audio, timeout=30).read() == before
    assert "`Audio decryption failed`" in PAGE


def test_missing_diarization_falls_back_and_is_reported(tmp_path: Path) -> None:
    """Neither toolkit is installed where tests run."""
    with ServerProcess(tmp_path / "data", {"NEMO_DIARIZATION_ENABLED": "true"}) as server:
        health = server.get("/health")
        final = asyncio.run(LiveClient(server.ws_url).stream(paced(read_pcm(hello_clip()[0]), is_fast=True)))
    assert health["engines"]["diarization"] == "embedded"
    for extra in ("nemo", "pyannote"):
        assert any(f"meeting-assistant[{extra}]" in note for note in health["notes"]), health["notes"]
        assert any(f"meeting-assistant[{extra}]" in error["remedy"] for error in final["errors"])
    assert {error["stage"] for error in final["errors"]} == {"speakers"}
    assert "`Speaker labels: … is not installed`" in PAGE


@pytest.mark.parametrize("command", ["serve", "worker"])
def test_a_fleet_without_redis_is_refused(tmp_path: Path, command: str) -> None:
    result = run_cli(command, cwd=tmp_path, ORCHESTRATOR_BACKEND="redis")
    assert result.returncode == 1
    assert "ORCHESTRATOR_BACKEND=redis needs REDIS_URL" in result.stderr
    assert "`ORCHESTRATOR_BACKEND=redis needs REDIS_URL`" in PAGE


@pytest.mark.parametrize("command", ["serve", "worker", "doctor"])
def test_a_fleet_without_a_secret_is_refused(tmp_path: Path, command: str) -> None:
    result = run_cli(command, cwd=tmp_path, ORCHESTRATOR_BACKEND="redis", REDIS_URL="redis://127.0.0.1:9/0")
    assert result.returncode == 1
    assert "ORCHESTRATOR_BACKEND=redis needs FLEET__SECRET" in result.stderr
    assert "`ORCHESTRATOR_BACKEND=redis needs FLEET__SECRET`" in PAGE


async def test_an_unreachable_redis_and_database_are_named() -> None:
    link = RedisGatewayLink(f"redis://:hunter2@127.0.0.1:{free_port()}/0", "gateway", KEYS)
    with pytest.raises(BrokerError, match="Redis does not answer") as caught:
        await link.workers()
    assert "hunter2" not in str(caught.value)
    await link.close()
    store = SqlMeetingStore(Database(f"postgresql+asyncpg://a:hunter2@127.0.0.1:{free_port()}/b"))
    with pytest.raises(StorageError, match="The database server cannot be reached"):
        await store.open()
    assert "`Redis does not answer`" in PAGE
    assert "`The database server cannot be reached`" in PAGE


def test_every_message_of_the_page_is_one_that_the_program_prints() -> None:
    """Numbers, names and what `…` stands for are filled in at run time."""
    source = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py"))
    joined = re.sub(r'"\s*\n\s*f?"', "", source)
    rows = [line for line in PAGE.splitlines() if line.startswith("| `")]
    missing = []
    for message in (message for row in rows for message in re.findall(r"`([^`]+)`", row.split(" | ")[0])):
        pieces = [piece.strip() for piece in re.split(r"…|\d+|\bnemo\b", message)]
        missing += [piece for piece in pieces if len(piece) > 3 and piece not in joined]
    assert len(rows) > 15
    assert missing == []
