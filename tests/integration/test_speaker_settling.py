"""An engine that hears the whole recording has the last word on who spoke; what is missing for it is named and passed
by."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import uuid_utils

from meeting_assistant.adapters.diarization.nemo import NemoDiarizer, turns_of
from meeting_assistant.adapters.diarization.pyannote import PyannoteDiarizer
from meeting_assistant.adapters.llm.embedded import EmbeddedWriter
from meeting_assistant.adapters.storage.database import Database
from meeting_assistant.adapters.storage.sql_store import SqlMeetingStore
from meeting_assistant.domain.audio import Samples
from meeting_assistant.domain.errors import EngineError
from meeting_assistant.domain.events import MeetingFinished, SpeakersChanged, StatusChanged
from meeting_assistant.domain.jobs import InferenceJob, JobKind
from meeting_assistant.domain.meeting import Meeting, MeetingState
from meeting_assistant.domain.ports import AudioStore, Diarizer, SpeakerTurn
from meeting_assistant.domain.transcript import PROVISIONAL, Utterance, Word
from meeting_assistant.services.diarization_service import DiarizationService, choose_diarization
from meeting_assistant.services.finishing import MeetingFinisher
from meeting_assistant.services.live_notes import LiveNotes
from meeting_assistant.services.meeting_channel import Channels, Watcher
from meeting_assistant.services.minutes_service import MinutesService
from meeting_assistant.services.speaker_settling import SpeakerSettling
from meeting_assistant.services.turns import attribute
from meeting_assistant.testing.memory_audio import MemoryAudioStore


@dataclass
class Stage:
    """Says the turns that it is given; waits when it is told to."""

    turns: Sequence[SpeakerTurn] = ()
    name: str = "stage"
    missing: EngineError | None = None
    fails: EngineError | None = None
    may_go: threading.Event = field(default_factory=threading.Event)
    heard: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.may_go.set()

    def load(self) -> None:
        if self.missing is not None:
            raise self.missing

    def diarize(self, samples: Samples, progress: Callable[[float], None]) -> list[SpeakerTurn]:
        self.heard.append(len(samples))
        progress(0.5)
        self.may_go.wait(30)
        if self.fails is not None:
            raise self.fails
        return list(self.turns)

    def close(self) -> None:
        self.may_go.set()


class Ending:
    """A stopped meeting of ten seconds, about to be finished."""

    def __init__(
        self, folder: Path, *engines: Diarizer, timeout_s: float = 30, has_sound: bool = True
    ) -> None:
        self.store = SqlMeetingStore(Database(f"sqlite+aiosqlite:///{folder / 'meetings.db'}"))
        self.channels = Channels(self.store)
        self.audio = MemoryAudioStore()
        self.threads = ThreadPoolExecutor(1)
        self.diarization = DiarizationService(None, engines)
        audio: AudioStore | None = self.audio if has_sound else None
        self.settling = SpeakerSettling(
            self.store, audio, self.channels, self.diarization, self.threads, timeout_s=timeout_s
        )
        minutes = MinutesService(EmbeddedWriter())
        notes = LiveNotes(self.store, self.channels, minutes, interval_s=0)
        self.finisher = MeetingFinisher(self.store, self.channels, minutes, notes, {}, speakers=self.settling)
        self.meeting = Meeting(
            id=str(uuid_utils.uuid7()),
            title="",
            state=MeetingState.PROCESSING,
            source="live",
            created_at_ms=0,
        )

    async def begin(self, *utterances: Utterance) -> Watcher:
        await self.diarization.start()
        await self.store.open()
        await self.store.create(self.meeting)
        journal = self.audio.create(self.meeting.id)
        journal.append(bytes(10 * 32_000))
        journal.seal()
        journal.close()
        await self.store.commit_utterances(self.meeting.id, utterances, 160_000)
        return await (await self.channels.get(self.meeting.id)).join(self.store, len(utterances))

    async def finish(self) -> None:
        await self.finisher.finish(InferenceJob(kind=JobKind.FINISH_MEETING, meeting_id=self.meeting.id))

    async def labels(self) -> list[tuple[str, str | None]]:
        return [(u.text, u.speaker) for u in (await self.store.transcript(self.meeting.id)).utterances]

    async def close(self) -> None:
        await self.settling.close()
        self.diarization.close()
        await self.store.close()
        self.threads.shutdown()


@pytest.fixture
async def ending(tmp_path: Path) -> AsyncIterator[Callable[..., Ending]]:
    made: list[Ending] = []

    def make(*engines: Diarizer, timeout_s: float = 30, has_sound: bool = True) -> Ending:
        made.append(Ending(tmp_path, *engines, timeout_s=timeout_s, has_sound=has_sound))
        return made[-1]

    yield make
    for one in made:
        await one.close()


def said(number: int, text: str, start_ms: int, speaker: str | None, **more: object) -> Utterance:
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
    said(1, "We ship on Friday then, all of it.", 0, "S1"),
    said(2, "I am not sure about that.", 2000, "S1"),
    said(3, "Yes.", 4000, PROVISIONAL),
)


async def events_until_final(watcher: Watcher) -> list[object]:
    seen: list[object] = []
    async for event in watcher:
        seen.append(event.body)
        if isinstance(event.body, MeetingFinished):
            return seen
    raise AssertionError("no final")


async def test_the_whole_recording_decides_and_numbers_stay(ending: Callable[..., Ending]) -> None:
    stage = Stage([SpeakerTurn(0, 1950, 7), SpeakerTurn(1990, 3600, 3), SpeakerTurn(3900, 4400, 7)])
    meeting = ending(stage)
    watcher = await meeting.begin(*TALK)
    await meeting.finish()
    seen = await events_until_final(watcher)
    assert stage.heard == [160_000]
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


async def test_an_utterance_of_two_people_is_split_by_its_words(ending: Callable[..., Ending]) -> None:
    both = said(1, "Shall we ship it Friday No not on Friday.", 0, "S1")
    meeting = ending(Stage([SpeakerTurn(0, 1250, 0), SpeakerTurn(1200, 2400, 1), SpeakerTurn(2000, 2300, 0)]))
    await meeting.begin(both)
    await meeting.finish()
    assert await meeting.labels() == [("Shall we ship it Friday", "S1"), ("No not on Friday.", "S2")]
    first, second = (await meeting.store.transcript(meeting.meeting.id)).utterances
    assert (first.overlap, second.overlap) == (False, True)
    assert (first.utterance, first.rev, second.utterance, second.rev) == (1, 2, 2, 1)


async def test_minutes_do_not_wait_and_labels_come_afterwards(ending: Callable[..., Ending]) -> None:
    stage = Stage([SpeakerTurn(0, 1950, 0), SpeakerTurn(1990, 3600, 1), SpeakerTurn(3900, 4400, 1)])
    stage.may_go.clear()
    meeting = ending(stage, timeout_s=0)
    watcher = await meeting.begin(*TALK)
    await meeting.finish()
    await events_until_final(watcher)
    assert [speaker for _, speaker in await meeting.labels()] == ["S1", "S1", None], "as heard live"
    stage.may_go.set()
    later = await anext(watcher)
    while not isinstance(later.body, SpeakersChanged):
        later = await anext(watcher)
    assert [speaker for _, speaker in await meeting.labels()] == ["S1", "S2", "S2"]


async def test_what_a_person_said_stays(ending: Callable[..., Ending]) -> None:
    meeting = ending(Stage([SpeakerTurn(0, 10_000, 0)]))
    await meeting.begin(*TALK)
    ben = await meeting.store.add_speaker(meeting.meeting.id, "Ben")
    await meeting.store.relabel(meeting.meeting.id, {2: ben}, by_person=True)
    await meeting.finish()
    assert [speaker for _, speaker in await meeting.labels()] == ["S1", ben, "S1"]


# --- what may be missing


def missing(code: str = "diarization_not_installed") -> EngineError:
    return EngineError("Speaker labels: not installed.", "Install it.", code=code)


async def test_the_next_engine_stands_in_and_the_reason_is_told(ending: Callable[..., Ending]) -> None:
    meeting = ending(Stage(name="first", missing=missing()), Stage([SpeakerTurn(0, 9000, 0)], name="second"))
    watcher = await meeting.begin(*TALK)
    assert meeting.diarization.name == "second"
    await meeting.finish()
    final = (await events_until_final(watcher))[-1]
    assert isinstance(final, MeetingFinished)
    assert [(e.stage, e.code, e.remedy) for e in final.errors] == [
        ("speakers", "diarization_not_installed", "Install it.")
    ]


@pytest.mark.parametrize("code", ["gpu_memory", "diarization_failed"])
async def test_an_engine_that_fails_on_a_recording_leaves_the_labels_of_the_meeting(
    ending: Callable[..., Ending], code: str
) -> None:
    meeting = ending(Stage(fails=missing(code)))
    watcher = await meeting.begin(*TALK)
    await meeting.finish()
    final = (await events_until_final(watcher))[-1]
    assert isinstance(final, MeetingFinished)
    assert [e.code for e in final.errors] == [code]
    assert [speaker for _, speaker in await meeting.labels()] == ["S1", "S1", None]


async def test_without_stored_sound_the_reason_is_told(ending: Callable[..., Ending]) -> None:
    meeting = ending(Stage(), has_sound=False)
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


# --- turns to utterances


def test_probabilities_become_turns_that_may_overlap() -> None:
    import numpy as np

    probabilities = np.zeros((20, 2))
    probabilities[2:12, 0] = 0.9
    probabilities[8:18, 1] = 0.8
    probabilities[0, 1] = 0.9  # a single frame is no turn
    assert turns_of(probabilities) == [SpeakerTurn(160, 960, 0), SpeakerTurn(640, 1440, 1)]


def test_a_single_word_between_two_of_another_speaker_is_a_fault_of_times() -> None:
    line = said(1, "one two three four five six", 0, "S1")
    turns = [SpeakerTurn(0, 500, 0), SpeakerTurn(500, 750, 1), SpeakerTurn(750, 1500, 0)]
    found = attribute([line], turns, next_utterance=2, may_split=True)
    assert (found.parts, found.speakers) == ({}, {})


def test_after_the_minutes_an_utterance_stays_whole_and_belongs_to_who_says_most_of_it() -> None:
    line = said(1, "one two three four five six", 0, "S1")
    turns = [SpeakerTurn(0, 500, 0), SpeakerTurn(500, 1500, 1)]
    known = said(2, "hello hello hello there", 2000, "S1")
    turns.append(SpeakerTurn(2000, 3000, 0))
    found = attribute([line, known], turns, next_utterance=3, may_split=False)
    assert found.parts == {}
    assert found.speakers == {1: "S2"}


def test_words_where_nobody_was_heard_go_with_their_neighbours() -> None:
    line = said(1, "one two three four five six seven eight", 0, "S1")
    found = attribute([line], [SpeakerTurn(1200, 1700, 4)], next_utterance=2, may_split=True)
    assert (found.parts, found.speakers) == ({}, {})
    nobody = attribute([line], [SpeakerTurn(60_000, 61_000, 0)], next_utterance=2, may_split=True)
    assert (nobody.parts, nobody.speakers) == ({}, {})


async def test_a_shutdown_does_not_wait_for_a_recording_that_is_being_heard(
    ending: Callable[..., Ending],
) -> None:
    stage = Stage()
    stage.may_go.clear()
    meeting = ending(stage, timeout_s=0)
    await meeting.begin(*TALK)
    await meeting.finish()
    async with asyncio.timeout(5):
        await meeting.settling.close()
