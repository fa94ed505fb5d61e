"""The command line from the view of a user."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from meeting_assistant.cli.transcribe import error_of_local_file
from meeting_assistant.demo import hello_clip
from meeting_assistant.domain.meeting import StageError
from meeting_assistant.domain.transcript import Gap
from meeting_assistant.services.meetings.file_reading import RETRY_WITH_KEPT_FILE, FileContent
from meeting_assistant.testing.doubles.llm_server import LlmServer
from meeting_assistant.testing.harness.command import run_cli

pytestmark = pytest.mark.integration


@pytest.mark.parametrize(
    ("fmt", "beginning"),
    [("srt", "1\n00:00:00,"), ("vtt", "WEBVTT"), ("md", "# hello"), ("json", "{"), ("txt", "")],
)
def test_a_file_is_transcribed_into_every_format(tmp_path: Path, fmt: str, beginning: str) -> None:
    clip, _ = hello_clip()
    result = run_cli("transcribe", str(clip), "--format", fmt, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(beginning)
    assert "next meeting is on Monday" in result.stdout
    assert clip.exists(), "the file itself is left alone"
    assert not (tmp_path / "data").exists(), "nothing is kept"


def test_a_file_without_audio_gives_one_message_and_no_output(tmp_path: Path) -> None:
    notes = tmp_path / "notes.m4a"
    notes.write_text("these are words, not sound")
    result = run_cli("transcribe", str(notes), "--output", str(tmp_path / "out.srt"), cwd=tmp_path)
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "out.srt").exists()


def test_the_error_of_a_local_file_speaks_of_no_file_that_was_sent() -> None:
    lost = FileContent([Gap(start_ms=0, end_ms=500, reason="damaged_audio")], None).error()
    assert lost is not None
    for remedy in (lost.remedy, f"Free space. {RETRY_WITH_KEPT_FILE}"):
        error = StageError(stage="transcription", code="file_incomplete", message="Lost.", remedy=remedy)
        shown = error_of_local_file(error).remedy
        assert "sent is kept" in remedy
        assert "sent is" not in shown
        assert "meeting" not in shown


@pytest.mark.usefixtures("cold")
def test_doctor_checks_every_component_and_passes(tmp_path: Path) -> None:
    result = run_cli("doctor", "--json", cwd=tmp_path)
    checks = {check["name"]: check for check in json.loads(result.stdout)}
    assert result.returncode == 0, result.stdout
    for name in (
        "Settings",
        "Speech recognition",
        "Voice activity",
        "Database",
        "Audio journal",
        "Minutes (embedded)",
    ):
        assert checks[name]["ok"], checks[name]
    # vLLM is a default that was not configured: its absence is a note, not a failure.
    assert checks["Language model (vllm)"]["optional"]


def test_doctor_requests_a_tiny_json_from_each_configured_language_model(tmp_path: Path) -> None:
    with LlmServer() as server:
        server.answer_with({"ok": True})
        result = run_cli("doctor", "--json", cwd=tmp_path, VLLM_BASE_URL=server.url, VLLM_MODEL_ID="tiny")
    checks = {check["name"]: check for check in json.loads(result.stdout)}
    assert checks["Language model (vllm)"]["ok"], checks
    assert server.requests[0].path == "/v1/chat/completions"
    assert server.requests[0].body["response_format"]["type"] == "json_schema"


def test_doctor_fails_with_a_remedy_when_a_configured_language_model_refuses_the_key(tmp_path: Path) -> None:
    with LlmServer() as server:
        server.answer_with_status(401, "Unauthorized")
        result = run_cli(
            "doctor", "--json", cwd=tmp_path, VLLM_BASE_URL=server.url, VLLM_API_KEY="sk-secret-1"
        )
    checks = {check["name"]: check for check in json.loads(result.stdout)}
    assert result.returncode == 1
    assert not checks["Language model (vllm)"]["ok"]
    assert "key" in checks["Language model (vllm)"]["remedy"]
    assert "sk-secret-1" not in result.stdout + result.stderr


def test_settings_are_shown_with_their_source_and_without_secrets(tmp_path: Path) -> None:
    result = run_cli("settings", cwd=tmp_path, HTTP_PORT="8123", OPENAI_API_KEY="sk-secret-2")
    assert result.returncode == 0
    assert "8123" in result.stdout
    assert "sk-secret-2" not in result.stdout
