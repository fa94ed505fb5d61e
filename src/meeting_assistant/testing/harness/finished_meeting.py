"""A meeting that was stopped and is about to be finished, and a diarizer with given turns."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import uuid_utils

from meeting_assistant.adapters.audio.resampler import StreamResampler
from meeting_assistant.bootstrap.speech import SpeechParts
from meeting_assistant.bootstrap.storage import build_storage
from meeting_assistant.domain.audio import Samples
from meeting_assistant.domain.errors import EngineError
from meeting_assistant.domain.events import MeetingFinished
from meeting_assistant.domain.jobs import InferenceJob, JobKind
from meeting_assistant.domain.meeting import Meeting, MeetingState
from meeting_assistant.domain.ports import Diarizer, SpeakerTurn
from meeting_assistant.domain.transcript import PROVISIONAL, Utterance, Word
from meeting_assistant.services.diarization.diarization_service import DiarizationService
from meeting_assistant.services.events.meeting_channel import Watcher
from meeting_assistant.testing.doubles.memory_audio import MemoryAudioStore
from meeting_assistant.testing.harness.database import sqlite_url
from meeting_assistant.testing.harness.parts import build_parts, settings_for, with_audio
from meeting_assistant.testing.harness.recording import PlainDecoder, SilentEngine

FRAMES = 160_000
"""Ten seconds of audio."""


def timed_utterance(number: int, text: str, start_ms: int, speaker: str | None) -> Utterance:
    """Return an utterance of four words a second."""
    words = [
        Word(text=word, start_ms=start_ms + 250 * at, end_ms=start_ms + 250 * (at + 1))
        for at, word in enumerate(text.split())
    ]
    return Utterance(
        utterance=number, start_ms=start_ms, end_ms=words[-1].end_ms, speaker=speaker, text=text, words=words
    )


TRANSCRIPT = (
    timed_utterance(1, "We ship on Friday then, all of it.", 0, "S1"),
    timed_utterance(2, "I am not sure about that.", 2000, "S1"),
    timed_utterance(3, "Yes.", 4000, PROVISIONAL),
)
"""Of a meeting in which the labels of two utterances are still to be decided."""


async def events_until_finished(watcher: Watcher) -> list[object]:
    """Return the bodies of all events up to the one that the meeting is finished."""
    seen: list[object] = []
    async for event in watcher:
        seen.append(event.body)
        if isinstance(event.body, MeetingFinished):
            return seen
    raise AssertionError("The meeting did not finish.")


@dataclass
class FakeDiarizer:
    """Implements `Diarizer`: returns the turns that it is given, and waits while `may_finish` is not set."""

    turns: Sequence[SpeakerTurn] = ()
    name: str = "fake"
    max_speakers: int | None = None
    missing: EngineError | None = None
    """Raised when the engine is loaded."""
    error: Exception | None = None
    """Raised by `diarize`."""
    may_finish: threading.Event = field(default_factory=threading.Event)
    received_samples: list[int] = field(default_factory=list)
    """Length of each recording that was diarized."""
    first_samples: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.may_finish.set()

    def load(self) -> None:
        """Raise the error of a missing engine, if there is one."""
        if self.missing is not None:
            raise self.missing

    def diarize(self, samples: Samples, progress: Callable[[float], None]) -> list[SpeakerTurn]:
        """Return the turns, or raise the error."""
        self.received_samples.append(len(samples))
        self.first_samples.append(int(samples[0]))
        progress(0.5)
        self.may_finish.wait(30)
        if self.error is not None:
            raise self.error
        return list(self.turns)

    def close(self) -> None:
        """Let a recording that waits go on."""
        self.may_finish.set()


class FinishedMeeting:
    """A stopped meeting of ten seconds. With two channels, all samples of the second one are 7."""

    def __init__(
        self,
        folder: Path,
        *engines: Diarizer,
        timeout_s: float = 30,
        has_audio: bool = True,
        channels: int = 1,
        diarization: DiarizationService | None = None,
        audio: MemoryAudioStore | None = None,
    ) -> None:
        """`timeout_s`: how long the minutes wait for the diarization of the recording."""
        sqlite_url(folder)
        settings = settings_for(folder, diarization_timeout_seconds=timeout_s, audio_storage="memory")
        self.audio = audio or MemoryAudioStore()
        self.diarization = diarization or DiarizationService(None, engines)
        speech = SpeechParts(SilentEngine(), self.diarization, PlainDecoder(), StreamResampler, {})
        storage = with_audio(build_storage(settings), self.audio if has_audio else None)
        self._parts = build_parts(settings, speech, storage=storage)
        self.store, self.channels = storage.store, storage.channels
        self.offline_diarization = self._parts.meetings.offline_diarization
        self.minutes = self._parts.minutes.service
        self.meeting = Meeting(
            id=str(uuid_utils.uuid7()),
            title="",
            state=MeetingState.PROCESSING,
            source="live",
            created_at_ms=0,
            channels=channels,
        )

    async def begin(self, *utterances: Utterance) -> Watcher:
        """Store the meeting, its audio and its transcript. Returns a watcher of what follows."""
        await self.open()
        await self.store.create(self.meeting)
        journal = self.audio.create(self.meeting.id)
        frame = np.array([0, 7][: self.meeting.channels], "<i2")
        journal.append(np.tile(frame, FRAMES).tobytes())
        journal.seal()
        journal.close()
        await self.store.commit_utterances(self.meeting.id, utterances, FRAMES)
        return await self.watch(len(utterances))

    async def open(self) -> None:
        """Load the engines and open the database."""
        await self.diarization.start()
        await self.store.open()

    async def watch(self, after_seq: int) -> Watcher:
        """Return a watcher of the events after this number."""
        return await (await self.channels.get(self.meeting.id)).join(self.store, after_seq)

    async def leave(self, watcher: Watcher) -> None:
        """Stop watching, and let the channel go."""
        (await self.channels.get(self.meeting.id)).leave(watcher)
        self.channels.release(self.meeting.id)

    async def after_restart(self, folder: Path, *engines: Diarizer) -> FinishedMeeting:
        """Stop, and return the same meeting as another process finds it."""
        await self.close()
        later = FinishedMeeting(folder, *engines, audio=self.audio)
        later.meeting = self.meeting
        await later.open()
        return later

    async def finish(self) -> None:
        """Diarize the recording and write the minutes, as the job does."""
        job = InferenceJob(kind=JobKind.FINISH_MEETING, meeting_id=self.meeting.id)
        await self._parts.meetings.finisher.finish(job)

    async def labels(self) -> list[tuple[str, str | None]]:
        """Return text and speaker label of each utterance."""
        return [(u.text, u.speaker) for u in (await self.store.transcript(self.meeting.id)).utterances]

    async def close(self) -> None:
        """Stop as a server does: what is being diarized is dropped."""
        await self._parts.__aexit__()
        self.diarization.close()
