"""Offline diarization: an engine processes the whole recording; what it cannot do is named, and the labels stay."""

from __future__ import annotations

import asyncio
import importlib.util
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from meeting_assistant.adapters.diarization.nemo import NemoDiarizer, turns_of
from meeting_assistant.adapters.diarization.pyannote import PyannoteDiarizer
from meeting_assistant.bootstrap.fleet import build_fleet_diarizer, build_remote_sessions, build_worker
from meeting_assistant.bootstrap.speakers import build_diarization, notes_on_speakers
from meeting_assistant.config import load_settings
from meeting_assistant.domain.audio import Samples
from meeting_assistant.domain.errors import EngineError
from meeting_assistant.domain.events import (
    MeetingFinished,
    SpeakersChanged,
    StatusChanged,
    UtteranceFinished,
)
from meeting_assistant.domain.ports import Diarizer, EngineInfo, SpeakerTurn
from meeting_assistant.domain.transcript import PROVISIONAL, Utterance, Word
from meeting_assistant.services.diarization.attribution import attribute
from meeting_assistant.services.diarization.diarization_service import DiarizationService, choose_diarization
from meeting_assistant.services.events.meeting_channel import Watcher
from meeting_assistant.services.events.stage_errors import MAX_ATTEMPTS
from meeting_assistant.testing.harness.finished_meeting import FakeDiarizer, FinishedMeeting


@pytest.fixture
async def finished_meeting(tmp_path: Path) -> AsyncIterator[Callable[..., FinishedMeeting]]:
    made: list[FinishedMeeting] = []

    def make(*engines: Diarizer, **options: Any) -> FinishedMeeting:
        made.append(FinishedMeeting(tmp_path, *engines, **options))
        return made[-1]

    yield make
    for one in made:
        await one.close()


def make_utterance(number: int, text: str, start_ms: int, speaker: str | None, **more: object) -> Utterance:
    """Four words a second."""
    words = [
        Word(text=word, start_ms=start_ms + 250 * at, end_ms=start_ms + 250 * (at + 1))
        for at, word in enumerate(text.split())
    ]
    return Utterance.model_validate(
        {
            "utterance": number,
            "start_ms": start_ms,
            "end_ms": words[-1].end_ms,
            "speaker": speaker,
            "text": text,
            "words": words,
            **more,
        }
    )


TALK = (
    make_utterance(1, "We ship on Friday then, all of it.", 0, "S1"),
    make_utterance(2, "I am not sure about that.", 2000, "S1"),
    make_utterance(3, "Yes.", 4000, PROVISIONAL),
)


async def events_until_final(watcher: Watcher) -> list[object]:
    seen: list[object] = []
    async for event in watcher:
        seen.append(event.body)
        if isinstance(event.body, MeetingFinished):
            return seen
    raise AssertionError("no final")


async def test_the_whole_recording_decides_and_numbers_stay(
    finished_meeting: Callable[..., FinishedMeeting],
) -> None:
    diarizer = FakeDiarizer([SpeakerTurn(0, 1950, 7), SpeakerTurn(1990, 3600, 3), SpeakerTurn(3900, 4400, 7)])
    meeting = finished_meeting(diarizer)
    watcher = await meeting.begin(*TALK)
    await meeting.finish()
    seen = await events_until_final(watcher)
    assert diarizer.received_samples == [160_000]
    assert await meeting.labels() == [(TALK[0].text, "S1"), (TALK[1].text, "S2"), (TALK[2].text, "S1")]
    shown = [e for e in seen if isinstance(e, StatusChanged)]
    assert [(e.status, e.progress) for e in shown][:2] == [
        ("Identifying speakers", 0.0),
        ("Identifying speakers", 0.5),
    ]
    changes = [e for e in seen if isinstance(e, SpeakersChanged)]
    assert [[(u.utterance, u.speaker) for u in e.utterances] for e in changes] == [[(2, "S2"), (3, "S1")]]
    assert isinstance(seen[-1], MeetingFinished)
    assert seen[-1].errors == []


async def test_an_utterance_of_two_people_is_split_by_its_words(
    finished_meeting: Callable[..., FinishedMeeting],
) -> None:
    both = make_utterance(1, "Shall we ship it Friday No not on Friday.", 0, "S1")
    meeting = finished_meeting(
        FakeDiarizer([SpeakerTurn(0, 1250, 0), SpeakerTurn(1200, 2400, 1), SpeakerTurn(2000, 2300, 0)])
    )
    await meeting.begin(both)
    await meeting.finish()
    assert await meeting.labels() == [("Shall we ship it Friday", "S1"), ("No not on Friday.", "S2")]
    first, second = (await meeting.store.transcript(meeting.meeting.id)).utterances
    assert (first.overlap, second.overlap) == (False, True)
    assert (first.utterance, first.rev, second.utterance, second.rev) == (1, 2, 2, 1)


async def test_minutes_do_not_wait_and_labels_come_afterwards(
    finished_meeting: Callable[..., FinishedMeeting],
) -> None:
    diarizer = FakeDiarizer([SpeakerTurn(0, 1950, 0), SpeakerTurn(1990, 3600, 1), SpeakerTurn(3900, 4400, 1)])
    diarizer.may_finish.clear()
    meeting = finished_meeting(diarizer, timeout_s=0)
    watcher = await meeting.begin(*TALK)
    await meeting.finish()
    await events_until_final(watcher)
    assert [speaker for _, speaker in await meeting.labels()] == ["S1", "S1", None], "as heard live"
    diarizer.may_finish.set()
    later = await anext(watcher)
    while not isinstance(later.body, SpeakersChanged):
        later = await anext(watcher)
    assert [speaker for _, speaker in await meeting.labels()] == ["S1", "S2", "S2"]


async def test_what_a_person_said_stays(finished_meeting: Callable[..., FinishedMeeting]) -> None:
    meeting = finished_meeting(FakeDiarizer([SpeakerTurn(0, 10_000, 0)]))
    await meeting.begin(*TALK)
    ben = await meeting.store.add_speaker(meeting.meeting.id, "Ben")
    await meeting.store.relabel(meeting.meeting.id, {2: ben}, by_person=True)
    await meeting.finish()
    assert [speaker for _, speaker in await meeting.labels()] == ["S1", ben, "S1"]


async def next_change(watcher: Watcher) -> SpeakersChanged:
    """The next relabelling; nobody is told of a step that is over."""
    async for event in watcher:
        assert not isinstance(event.body, StatusChanged) or event.body.status == "Done"
        if isinstance(event.body, SpeakersChanged):
            return event.body
    raise AssertionError("nothing was told")


async def test_late_labels_reach_who_came_later_and_take_the_minutes_along(
    finished_meeting: Callable[..., FinishedMeeting],
) -> None:
    diarizer = FakeDiarizer([SpeakerTurn(0, 3500, 0), SpeakerTurn(4000, 6500, 1)])
    diarizer.may_finish.clear()
    meeting = finished_meeting(diarizer, timeout_s=0)
    plan = make_utterance(
        1, "We ship on Friday then, all of it, whatever the others may say about it.", 0, "S1"
    )
    promise = make_utterance(2, "I will send the plan to everybody by Friday.", 4000, "S1")
    first = await meeting.begin(plan, promise)
    await meeting.finish()
    await events_until_final(first)
    await meeting.leave(first)
    minutes = await meeting.store.minutes(meeting.meeting.id)
    assert minutes is not None
    assert [item.owner for item in minutes.action_items] == ["S1"]
    second = await meeting.watch(await meeting.store.last_seq(meeting.meeting.id))
    diarizer.may_finish.set()
    change = await next_change(second)
    assert [(u.utterance, u.rev, u.speaker) for u in change.utterances] == [(2, 2, "S2")]
    minutes = await meeting.store.minutes(meeting.meeting.id)
    assert minutes is not None
    assert [item.owner for item in minutes.action_items] == ["S2"], "without asking the writer again"


async def test_what_a_restart_cuts_short_is_heard_again(
    finished_meeting: Callable[..., FinishedMeeting], tmp_path: Path
) -> None:
    diarizer = FakeDiarizer()
    diarizer.may_finish.clear()
    meeting = finished_meeting(diarizer, timeout_s=0)
    await meeting.begin(*TALK)
    await meeting.finish()
    later = await meeting.after_restart(
        tmp_path, FakeDiarizer([SpeakerTurn(0, 1950, 0), SpeakerTurn(1990, 5000, 1)])
    )
    watcher = await later.watch(await later.store.last_seq(later.meeting.id))
    await later.offline_diarization.resume_incomplete()
    await next_change(watcher)
    assert [speaker for _, speaker in await later.labels()] == ["S1", "S2", "S2"]
    again = await later.after_restart(tmp_path, FakeDiarizer())
    assert await again.store.incomplete_steps("speakers") == []
    await again.close()


async def test_a_recording_that_takes_the_process_down_is_given_up(
    finished_meeting: Callable[..., FinishedMeeting], tmp_path: Path
) -> None:
    diarizer = FakeDiarizer()
    diarizer.may_finish.clear()
    meeting = finished_meeting(diarizer, timeout_s=0)
    await meeting.begin(*TALK)
    await meeting.finish()
    for _ in range(MAX_ATTEMPTS):
        await meeting.store.begin_step(meeting.meeting.id, "speakers")
    later = await meeting.after_restart(tmp_path, engine := FakeDiarizer())
    await later.offline_diarization.resume_incomplete()
    await later.offline_diarization.wait_idle()
    assert engine.received_samples == []
    assert [e.code for e in (await later.store.get(later.meeting.id)).errors] == ["needs_attention"]
    await later.close()


async def test_while_minutes_are_written_utterances_stay_whole(
    finished_meeting: Callable[..., FinishedMeeting], monkeypatch: pytest.MonkeyPatch
) -> None:
    diarizer = FakeDiarizer([SpeakerTurn(0, 1250, 0), SpeakerTurn(1250, 2400, 1), SpeakerTurn(3000, 9000, 0)])
    diarizer.may_finish.clear()
    meeting = finished_meeting(diarizer, timeout_s=0)
    write = meeting.minutes.write

    async def write_slowly(*args: Any, **more: Any) -> Any:
        diarizer.may_finish.set()
        await meeting.offline_diarization.wait_idle()
        return await write(*args, **more)

    monkeypatch.setattr(meeting.minutes, "write", write_slowly)
    both = "Shall we ship it Friday No not on Friday."
    await meeting.begin(
        make_utterance(1, both, 0, "S1"), make_utterance(2, "Well then that is that.", 3000, "S2")
    )
    await meeting.finish()
    assert [text for text, _ in await meeting.labels()] == [both, "Well then that is that."]


async def test_with_two_channels_the_other_one_is_heard_and_nobody_there_becomes_you(
    finished_meeting: Callable[..., FinishedMeeting],
) -> None:
    diarizer = FakeDiarizer([SpeakerTurn(1990, 3600, 0), SpeakerTurn(3900, 4400, 1)])
    meeting = finished_meeting(diarizer, channels=2)
    await meeting.begin(TALK[0], make_utterance(2, "I am not sure about that.", 2000, None), TALK[2])
    await meeting.finish()
    assert (diarizer.received_samples, diarizer.first_samples) == ([160_000], [7])
    assert [speaker for _, speaker in await meeting.labels()] == ["S1", "S2", "S3"]


async def test_a_label_that_only_people_gave_goes_to_no_other_voice(
    finished_meeting: Callable[..., FinishedMeeting],
) -> None:
    meeting = finished_meeting(FakeDiarizer([SpeakerTurn(1990, 3600, 0)]))
    await meeting.begin(TALK[0], make_utterance(2, "I am not sure about that.", 2000, None))
    await meeting.store.relabel(meeting.meeting.id, {1: "S1"}, by_person=True)
    await meeting.finish()
    assert [speaker for _, speaker in await meeting.labels()] == ["S1", "S2"]


async def test_two_at_once_are_marked_in_an_utterance_that_stays_whole(
    finished_meeting: Callable[..., FinishedMeeting],
) -> None:
    meeting = finished_meeting(
        FakeDiarizer([SpeakerTurn(0, 3600, 0), SpeakerTurn(2300, 3400, 1), SpeakerTurn(1650, 1750, 1)])
    )
    watcher = await meeting.begin(TALK[0], TALK[1])
    await meeting.finish()
    first, second = (await meeting.store.transcript(meeting.meeting.id)).utterances
    assert [(first.overlap, first.rev), (second.overlap, second.rev)] == [(False, 1), (True, 2)]
    sent = [e for e in await events_until_final(watcher) if isinstance(e, UtteranceFinished)]
    assert [(e.utterance, e.rev, e.overlap) for e in sent] == [(2, 2, True)]


async def test_an_engine_for_four_leaves_the_labels_of_a_meeting_of_five(
    finished_meeting: Callable[..., FinishedMeeting],
) -> None:
    diarizer = FakeDiarizer([SpeakerTurn(0, 10_000, 0)], max_speakers=4)
    meeting = finished_meeting(diarizer)
    await meeting.begin(
        *(make_utterance(n, "Good morning to all of you.", 1500 * n, f"S{n}") for n in range(1, 6))
    )
    await meeting.finish()
    assert diarizer.received_samples == []
    assert [speaker for _, speaker in await meeting.labels()] == ["S1", "S2", "S3", "S4", "S5"]
    (error,) = (await meeting.store.get(meeting.meeting.id)).errors
    assert error.code == "too_many_speakers"


class LateWorker:
    """On another machine, which nobody knew when the recording was offered."""

    name = "far"
    max_speakers: int | None = None

    async def diarize_recording(
        self, meeting_id: str, samples: Samples, progress: Callable[[float], None]
    ) -> list[SpeakerTurn]:
        self.max_speakers = 4
        return [SpeakerTurn(0, 10_000, 0)]


async def test_an_engine_for_four_that_came_late_leaves_the_labels_of_a_meeting_of_five(
    finished_meeting: Callable[..., FinishedMeeting],
) -> None:
    meeting = finished_meeting(diarization=DiarizationService(None, remote=LateWorker()))
    await meeting.begin(
        *(make_utterance(n, "Good morning to all of you.", 1500 * n, f"S{n}") for n in range(1, 6))
    )
    await meeting.finish()
    assert [speaker for _, speaker in await meeting.labels()] == ["S1", "S2", "S3", "S4", "S5"]
    (error,) = (await meeting.store.get(meeting.meeting.id)).errors
    assert error.code == "too_many_speakers"
    assert "at most 4" in error.message
    assert "pyannote" in error.remedy


# --- what may be missing


def missing(code: str = "diarization_not_installed") -> EngineError:
    return EngineError("Speaker labels: not installed.", "Install it.", code=code)


async def test_the_next_engine_stands_in_and_the_reason_is_told(
    finished_meeting: Callable[..., FinishedMeeting],
) -> None:
    meeting = finished_meeting(
        FakeDiarizer(name="first", missing=missing()), FakeDiarizer([SpeakerTurn(0, 9000, 0)], name="second")
    )
    watcher = await meeting.begin(*TALK)
    assert meeting.diarization.name == "second"
    await meeting.finish()
    final = (await events_until_final(watcher))[-1]
    assert isinstance(final, MeetingFinished)
    assert [(e.stage, e.code, e.remedy) for e in final.errors] == [
        ("speakers", "diarization_not_installed", "Install it.")
    ]


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (missing("gpu_memory"), "gpu_memory"),
        (missing("diarization_failed"), "diarization_failed"),
        (ValueError("of the engine's own"), "internal_error"),
    ],
)
async def test_an_engine_that_fails_on_a_recording_leaves_the_labels_of_the_meeting(
    finished_meeting: Callable[..., FinishedMeeting], failure: Exception, code: str
) -> None:
    meeting = finished_meeting(FakeDiarizer(error=failure))
    watcher = await meeting.begin(*TALK)
    await meeting.finish()
    final = (await events_until_final(watcher))[-1]
    assert isinstance(final, MeetingFinished)
    assert [e.code for e in final.errors] == [code]
    assert [speaker for _, speaker in await meeting.labels()] == ["S1", "S1", None]


async def test_the_log_says_what_is_missing_and_what_to_do(
    finished_meeting: Callable[..., FinishedMeeting], caplog: pytest.LogCaptureFixture
) -> None:
    meeting = finished_meeting(FakeDiarizer(name="first", missing=missing()))
    await meeting.begin(*TALK)
    (record,) = [r for r in caplog.records if "Failed to load" in r.message]
    assert record.levelname == "WARNING"
    assert record.__dict__["meeting_fields"] == {
        "engine": "first",
        "code": "diarization_not_installed",
        "reason": "Speaker labels: not installed.",
        "remedy": "Install it.",
    }


async def test_sound_that_was_deleted_meanwhile_is_named(
    finished_meeting: Callable[..., FinishedMeeting], tmp_path: Path
) -> None:
    diarizer = FakeDiarizer()
    diarizer.may_finish.clear()
    meeting = finished_meeting(diarizer, timeout_s=0)
    await meeting.begin(*TALK)
    await meeting.finish()
    await meeting.store.set_audio_deleted(meeting.meeting.id, 1)
    later = await meeting.after_restart(tmp_path, FakeDiarizer())
    await later.offline_diarization.resume_incomplete()
    await later.offline_diarization.wait_idle()
    assert [e.code for e in (await later.store.get(later.meeting.id)).errors] == ["no_sound"]
    await later.close()


async def test_without_stored_sound_the_reason_is_told(
    finished_meeting: Callable[..., FinishedMeeting],
) -> None:
    meeting = finished_meeting(FakeDiarizer(), has_audio=False)
    watcher = await meeting.begin(*TALK)
    await meeting.finish()
    final = (await events_until_final(watcher))[-1]
    assert isinstance(final, MeetingFinished)
    assert [e.code for e in final.errors] == ["no_sound"]
    assert "AUDIO_STORAGE=journal" in final.errors[0].remedy


def test_the_order_in_which_engines_stand_in_for_each_other() -> None:
    assert choose_diarization("embedded", is_nemo_wanted=False).chain == ("embedded",)
    assert choose_diarization("pyannote", is_nemo_wanted=False).chain == ("pyannote", "embedded")
    assert choose_diarization("pyannote", is_nemo_wanted=True).chain == ("nemo", "pyannote", "embedded")
    assert choose_diarization("off", is_nemo_wanted=True).chain == ()


def refusal(engine: Diarizer) -> EngineError:
    with pytest.raises(EngineError) as caught:
        engine.load()
    return caught.value


def test_packages_that_are_not_installed_are_named_with_their_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("pyannote", "nemo"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "meeting-assistant[pyannote]" in refusal(PyannoteDiarizer("x/y", "token")).remedy
    assert "meeting-assistant[nemo]" in refusal(NemoDiarizer()).remedy


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """A package `pyannote.audio` that does what is asked for; `make test-diarization` tries the real one."""

    def make(from_pretrained: str) -> None:
        package = tmp_path / "packages"
        (package / "pyannote" / "audio").mkdir(parents=True)
        (package / "pyannote" / "audio" / "telemetry.py").write_text(
            "def set_telemetry_metrics(on): assert not on\n"
        )
        (package / "pyannote" / "audio" / "__init__.py").write_text(
            "class Pipeline:\n    @staticmethod\n    def from_pretrained(model, token=None):\n"
            f"        {from_pretrained}\n"
        )
        (package / "torch.py").write_text(
            "class OutOfMemoryError(RuntimeError): pass\nclass cuda:\n    is_available = staticmethod(lambda: False)\n"
        )
        for name in [m for m in sys.modules if m.split(".")[0] in ("pyannote", "torch")]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.syspath_prepend(str(package))

    yield make
    for name in [m for m in sys.modules if m.split(".")[0] in ("pyannote", "torch")]:
        del sys.modules[name]


@pytest.fixture
def nemo_stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """The same for NeMo."""

    def make(from_pretrained: str) -> None:
        package = tmp_path / "packages"
        models = package / "nemo" / "collections" / "asr"
        models.mkdir(parents=True)
        for folder in (models, models.parent, models.parent.parent):
            (folder / "__init__.py").write_text("")
        (models / "models.py").write_text(
            "class SortformerEncLabelModel:\n    @staticmethod\n"
            f"    def from_pretrained(model, map_location=None):\n        {from_pretrained}\n"
        )
        (package / "torch.py").write_text(
            "class OutOfMemoryError(RuntimeError): pass\nclass cuda:\n    is_available = staticmethod(lambda: False)\n"
        )
        forget("nemo", "torch")
        monkeypatch.syspath_prepend(str(package))

    yield make
    forget("nemo", "torch")


def forget(*packages: str) -> None:
    """So that the next import looks for them again."""
    for name in [m for m in sys.modules if m.split(".")[0] in packages]:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("from_pretrained", "token", "code", "remedy"),
    [
        ("raise AssertionError('not asked')", None, "hf_token_missing", "set HF_TOKEN"),
        ("return None", "hf_refused", "hf_token_refused", "Accept the terms"),
        (
            "import torch; raise torch.OutOfMemoryError('CUDA out of memory')",
            "hf_x",
            "gpu_memory",
            "GPU of its own",
        ),
        ("raise OSError('no network')", "hf_x", "diarization_failed", "Check HF_TOKEN, the network"),
    ],
)
def test_each_missing_piece_of_pyannote_is_named(
    stand_in: Callable[[str], None], from_pretrained: str, token: str | None, code: str, remedy: str
) -> None:
    stand_in(from_pretrained)
    error = refusal(PyannoteDiarizer("pyannote/speaker-diarization-community-1", token))
    assert error.code == code
    assert remedy in error.remedy
    assert "hf_" not in str(error).replace("HF_TOKEN", "")


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
async def test_whatever_is_missing_the_embedded_labels_stand_and_every_place_says_why(
    finished_meeting: Callable[..., FinishedMeeting],
    stand_in: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    engine: str,
    token: str | None,
    pyannote: str | None,
    codes: list[str],
    remedies: list[str],
) -> None:
    if pyannote is None:
        monkeypatch.setattr("importlib.util.find_spec", hide("pyannote", "nemo"))
    else:
        stand_in(pyannote)
        monkeypatch.setattr("importlib.util.find_spec", hide("nemo"))
    monkeypatch.setenv("DIARIZATION_ENGINE", engine)
    if token is not None:
        monkeypatch.setenv("HF_TOKEN", token)
    meeting = finished_meeting(diarization=build_diarization(load_settings()))
    watcher = await meeting.begin(*TALK)
    assert meeting.diarization.name == "embedded"
    assert [t.code for t in meeting.diarization.load_errors] == codes, "what /health says"
    logged = [r.__dict__["meeting_fields"]["remedy"] for r in caplog.records if "Failed to load" in r.message]
    await meeting.finish()
    final = (await events_until_final(watcher))[-1]
    assert isinstance(final, MeetingFinished)
    assert [(e.stage, e.code) for e in final.errors] == [("speakers", code) for code in codes]
    for error, in_log, remedy in zip(final.errors, logged, remedies, strict=True):
        assert remedy in error.remedy
        assert remedy in in_log
    assert [speaker for _, speaker in await meeting.labels()] == ["S1", "S1", None]
    assert await meeting.store.incomplete_steps("speakers") == []


def hide(*packages: str) -> Callable[[str], Any]:
    find = importlib.util.find_spec
    return lambda name: None if name.split(".")[0] in packages else find(name)


@pytest.mark.parametrize(
    ("says", "code"),
    [
        ("import torch; raise torch.OutOfMemoryError('CUDA out of memory')", "gpu_memory"),
        ("raise OSError('no network')", "diarization_failed"),
    ],
)
def test_each_missing_piece_of_nemo_is_named(
    nemo_stand_in: Callable[[str], None], says: str, code: str
) -> None:
    nemo_stand_in(says)
    error = refusal(NemoDiarizer())
    assert error.code == code
    assert "NeMo" in error.message


async def test_on_a_fleet_workers_load_what_hears_recordings_and_gateways_do_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DIARIZATION_ENGINE", "nemo")
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1")
    settings = load_settings()
    info = EngineInfo("x", "x", ("en",), max_window_s=30)
    far = build_fleet_diarizer(settings, build_remote_sessions(settings, info))
    gateway = build_diarization(settings, remote=far)
    await gateway.start()
    assert (gateway.name, gateway.recordings.is_available, gateway.load_errors) == ("nemo", True, [])
    gateway.close()
    worker = build_worker(settings)
    await worker.diarization.start()
    assert "NeMo toolkit is not installed" in str(worker.diarization.load_errors[0])
    worker.diarization.close()
    worker.threads.shutdown()


def test_a_token_that_nothing_uses_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    (note,) = notes_on_speakers(load_settings())
    assert "DIARIZATION_ENGINE=pyannote" in note
    assert "hf_secret" not in note
    monkeypatch.setenv("DIARIZATION_ENGINE", "pyannote")
    assert notes_on_speakers(load_settings()) == []


# --- turns to utterances


def test_probabilities_become_turns_that_may_overlap() -> None:
    probabilities = np.zeros((20, 2))
    probabilities[2:12, 0] = 0.9
    probabilities[8:18, 1] = 0.8
    probabilities[0, 1] = 0.9  # a single frame is no turn
    assert turns_of(probabilities) == [SpeakerTurn(160, 960, 0), SpeakerTurn(640, 1440, 1)]


def test_a_single_word_between_two_of_another_speaker_is_a_fault_of_times() -> None:
    line = make_utterance(1, "one two three four five six", 0, "S1")
    turns = [SpeakerTurn(0, 500, 0), SpeakerTurn(500, 750, 1), SpeakerTurn(750, 1500, 0)]
    found = attribute([line], turns, next_utterance=2, may_split=True)
    assert (found.splits, found.speakers) == ({}, {})


def test_after_the_minutes_an_utterance_stays_whole_and_belongs_to_who_says_most_of_it() -> None:
    line = make_utterance(1, "one two three four five six", 0, "S1")
    turns = [SpeakerTurn(0, 500, 0), SpeakerTurn(500, 1500, 1)]
    known = make_utterance(2, "hello hello hello there", 2000, "S1")
    turns.append(SpeakerTurn(2000, 3000, 0))
    found = attribute([line, known], turns, next_utterance=3, may_split=False)
    assert found.splits == {}
    assert found.speakers == {1: "S2"}


def test_words_where_nobody_was_heard_go_with_their_neighbours() -> None:
    line = make_utterance(1, "one two three four five six seven eight", 0, "S1")
    found = attribute([line], [SpeakerTurn(1200, 1700, 4)], next_utterance=2, may_split=True)
    assert (found.splits, found.speakers) == ({}, {})
    nobody = attribute([line], [SpeakerTurn(60_000, 61_000, 0)], next_utterance=2, may_split=True)
    assert (nobody.splits, nobody.speakers) == ({}, {})


async def test_a_shutdown_does_not_wait_for_a_recording_that_is_being_heard(
    finished_meeting: Callable[..., FinishedMeeting],
) -> None:
    diarizer = FakeDiarizer()
    diarizer.may_finish.clear()
    meeting = finished_meeting(diarizer, timeout_s=0)
    await meeting.begin(*TALK)
    await meeting.finish()
    async with asyncio.timeout(60):
        await meeting.offline_diarization.close()


def test_the_process_ends_while_a_recording_is_being_heard() -> None:
    script = """
import asyncio, threading
import numpy as np
from meeting_assistant.services.diarization.diarization_service import DiarizationService

class ForEver:
    name, max_speakers = "for ever", None
    begun = threading.Event()
    def load(self): pass
    def close(self): pass
    def diarize(self, samples, progress):
        self.begun.set()
        threading.Event().wait()

async def main():
    service = DiarizationService(None, [ForEver()])
    await service.start()
    asyncio.ensure_future(service.recordings.diarize_recording("a-meeting", np.zeros(1, np.int16), print))
    await asyncio.to_thread(ForEver.begun.wait)
    service.close()

asyncio.run(main())
print("over")
"""
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stdout) == (0, "over\n"), ended.stderr
