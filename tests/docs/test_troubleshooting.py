"""Every row of docs/troubleshooting.md whose part exists: provoked, and answered with the words of the page."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from meeting_assistant.adapters.asr.moonshine import MoonshineEngine
from meeting_assistant.bootstrap.language_models import build_llm_service
from meeting_assistant.client import LiveClient, paced
from meeting_assistant.config import load_settings
from meeting_assistant.demo import hello_clip
from meeting_assistant.domain.errors import EngineNotInstalledError, LlmError
from meeting_assistant.domain.ports import LlmRequest
from meeting_assistant.testing.command import run_cli
from meeting_assistant.testing.server import ServerProcess, free_port

pytestmark = pytest.mark.docs

PAGE = (Path(__file__).parents[2] / "docs" / "troubleshooting.md").read_text(encoding="utf-8")


def test_a_missing_engine_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EngineNotInstalledError) as caught:
        MoonshineEngine().load()
    assert caught.value.message == "ASR error: moonshine-voice is not installed."
    assert "make setup" in caught.value.remedy
    assert "`ASR error: … is not installed`" in PAGE


async def test_no_language_model_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_BASE_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("LLM_MAX_RETRIES", "0")
    service = build_llm_service(load_settings())
    with pytest.raises(LlmError, match=r"^Failed to get LLM response\.") as caught:
        await service.complete(LlmRequest(system="", user=""))
    await service.close()
    assert "cannot be reached" in caught.value.message
    assert "Start the server" in caught.value.remedy
    assert "`Failed to get LLM response.`" in PAGE


@pytest.fixture
def sound() -> bytes:
    from meeting_assistant.adapters.audio.trusted import read_pcm

    return read_pcm(hello_clip()[0])


def test_a_wrong_key_destroys_nothing_and_says_which_key_is_needed(tmp_path: Path, sound: bytes) -> None:
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


@pytest.mark.parametrize("env", [{"NEMO_DIARIZATION_ENABLED": "true"}, {"DIARIZATION_ENGINE": "pyannote"}])
def test_diarization_that_is_not_there_falls_back_and_says_so(tmp_path: Path, env: dict[str, str]) -> None:
    with ServerProcess(tmp_path / "data", env) as server:
        info = server.get("/api/info")
    assert info["engines"]["diarization"] == "embedded"
    assert any("not in this version" in note for note in info["notes"]), info["notes"]
    assert "pyannote or NeMo are not in this version" in PAGE


def test_a_redis_backend_is_refused_rather_than_losing_jobs(tmp_path: Path) -> None:
    result = run_cli("serve", cwd=tmp_path, ORCHESTRATOR_BACKEND="redis")
    assert result.returncode == 1
    assert "ORCHESTRATOR_BACKEND=redis is not in this version" in result.stderr
    assert "`ORCHESTRATOR_BACKEND=redis is not in this version`" in PAGE
