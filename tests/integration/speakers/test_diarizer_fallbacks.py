"""Diarizers that cannot be loaded or fail on a recording: the cause is named, and the labels stay."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import pytest

from meeting_assistant.bootstrap.speakers import build_diarization, notes_on_speakers
from meeting_assistant.config import load_settings
from meeting_assistant.domain.errors import EngineError
from meeting_assistant.domain.events import MeetingFinished
from meeting_assistant.domain.ports import SpeakerTurn
from meeting_assistant.services.diarization.diarization_service import choose_diarization
from meeting_assistant.testing.harness.finished_meeting import (
    TRANSCRIPT,
    FakeDiarizer,
    FinishedMeeting,
    events_until_finished,
)


def not_installed(code: str = "diarization_not_installed") -> EngineError:
    return EngineError("Speaker labels: not installed.", "Install it.", code=code)


async def test_the_next_diarizer_is_used_and_the_reason_is_reported(
    finished_meeting: Callable[..., FinishedMeeting],
) -> None:
    meeting = finished_meeting(
        FakeDiarizer(name="first", missing=not_installed()),
        FakeDiarizer([SpeakerTurn(0, 9000, 0)], name="second"),
    )
    watcher = await meeting.begin(*TRANSCRIPT)
    assert meeting.diarization.name == "second"
    await meeting.finish()
    final = (await events_until_finished(watcher))[-1]
    assert isinstance(final, MeetingFinished)
    assert [(e.stage, e.code, e.remedy) for e in final.errors] == [
        ("speakers", "diarization_not_installed", "Install it.")
    ]


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (not_installed("gpu_memory"), "gpu_memory"),
        (not_installed("diarization_failed"), "diarization_failed"),
        (ValueError("of the engine's own"), "internal_error"),
    ],
)
async def test_a_diarizer_that_fails_on_a_recording_leaves_the_labels(
    finished_meeting: Callable[..., FinishedMeeting], failure: Exception, code: str
) -> None:
    meeting = finished_meeting(FakeDiarizer(error=failure))
    watcher = await meeting.begin(*TRANSCRIPT)
    await meeting.finish()
    final = (await events_until_finished(watcher))[-1]
    assert isinstance(final, MeetingFinished)
    assert [e.code for e in final.errors] == [code]
    assert [speaker for _, speaker in await meeting.labels()] == ["S1", "S1", None]


async def test_the_log_names_what_is_missing_and_the_remedy(
    finished_meeting: Callable[..., FinishedMeeting], caplog: pytest.LogCaptureFixture
) -> None:
    meeting = finished_meeting(FakeDiarizer(name="first", missing=not_installed()))
    await meeting.begin(*TRANSCRIPT)
    (record,) = [r for r in caplog.records if "Failed to load" in r.message]
    assert record.levelname == "WARNING"
    assert record.__dict__["meeting_fields"] == {
        "engine": "first",
        "code": "diarization_not_installed",
        "reason": "Speaker labels: not installed.",
        "remedy": "Install it.",
    }


async def test_a_missing_recording_is_reported(
    finished_meeting: Callable[..., FinishedMeeting],
) -> None:
    meeting = finished_meeting(FakeDiarizer(), has_audio=False)
    watcher = await meeting.begin(*TRANSCRIPT)
    await meeting.finish()
    final = (await events_until_finished(watcher))[-1]
    assert isinstance(final, MeetingFinished)
    assert [e.code for e in final.errors] == ["no_sound"]
    assert "AUDIO_STORAGE=journal" in final.errors[0].remedy


def test_diarizers_fall_back_in_a_fixed_order() -> None:
    assert choose_diarization("embedded", is_nemo_wanted=False).chain == ("embedded",)
    assert choose_diarization("pyannote", is_nemo_wanted=False).chain == ("pyannote", "embedded")
    assert choose_diarization("pyannote", is_nemo_wanted=True).chain == ("nemo", "pyannote", "embedded")
    assert choose_diarization("off", is_nemo_wanted=True).chain == ()


NOT_INSTALLED = "diarization_not_installed"


@pytest.mark.parametrize(
    ("engine", "token", "pyannote", "codes", "remedies"),
    [
        ("pyannote", "hf_x", None, [NOT_INSTALLED], ["meeting-assistant[pyannote]"]),
        ("pyannote", None, "return None", ["hf_token_missing"], ["set HF_TOKEN"]),
        ("pyannote", "hf_x", "return None", ["hf_token_refused"], ["Accept the terms"]),
        (
            "pyannote",
            "hf_x",
            "import torch; raise torch.OutOfMemoryError('CUDA out of memory')",
            ["gpu_memory"],
            ["a GPU of its own"],
        ),
        (
            "nemo",
            None,
            "return None",
            [NOT_INSTALLED, "hf_token_missing"],
            ["meeting-assistant[nemo]", "set HF_TOKEN"],
        ),
        (
            "nemo",
            None,
            None,
            [NOT_INSTALLED, NOT_INSTALLED],
            ["meeting-assistant[nemo]", "meeting-assistant[pyannote]"],
        ),
    ],
)
async def test_with_a_missing_diarizer_the_live_labels_stay_and_the_cause_is_reported_everywhere(
    finished_meeting: Callable[..., FinishedMeeting],
    fake_pyannote: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    engine: str,
    token: str | None,
    pyannote: str | None,
    codes: list[str],
    remedies: list[str],
) -> None:
    if pyannote is None:
        monkeypatch.setattr("importlib.util.find_spec", hide_packages("pyannote", "nemo"))
    else:
        fake_pyannote(pyannote)
        monkeypatch.setattr("importlib.util.find_spec", hide_packages("nemo"))
    monkeypatch.setenv("DIARIZATION_ENGINE", engine)
    if token is not None:
        monkeypatch.setenv("HF_TOKEN", token)
    meeting = finished_meeting(diarization=build_diarization(load_settings()))
    watcher = await meeting.begin(*TRANSCRIPT)
    assert meeting.diarization.name == "embedded"
    assert [t.code for t in meeting.diarization.load_errors] == codes, "what /health says"
    logged = [r.__dict__["meeting_fields"]["remedy"] for r in caplog.records if "Failed to load" in r.message]
    await meeting.finish()
    final = (await events_until_finished(watcher))[-1]
    assert isinstance(final, MeetingFinished)
    assert [(e.stage, e.code) for e in final.errors] == [("speakers", code) for code in codes]
    for error, in_log, remedy in zip(final.errors, logged, remedies, strict=True):
        assert remedy in error.remedy
        assert remedy in in_log
    assert [speaker for _, speaker in await meeting.labels()] == ["S1", "S1", None]
    assert await meeting.store.incomplete_steps("speakers") == []


def hide_packages(*packages: str) -> Callable[[str], Any]:
    find = importlib.util.find_spec
    return lambda name: None if name.split(".")[0] in packages else find(name)


def test_an_unused_token_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    (note,) = notes_on_speakers(load_settings())
    assert "DIARIZATION_ENGINE=pyannote" in note
    assert "hf_secret" not in note
    monkeypatch.setenv("DIARIZATION_ENGINE", "pyannote")
    assert notes_on_speakers(load_settings()) == []
