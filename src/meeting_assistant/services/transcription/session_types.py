"""What a session is told, what it borrows, and where its results go: the terms on which `process_audio_session` runs,
here or on another machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Protocol

from meeting_assistant.domain.meeting import ResumePoint
from meeting_assistant.domain.ports import Vad
from meeting_assistant.domain.transcript import Gap, Utterance
from meeting_assistant.services.asr.asr_service import AsrService
from meeting_assistant.services.asr.endpointing import EndpointOptions
from meeting_assistant.services.diarization.diarization_service import DiarizationService
from meeting_assistant.services.diarization.live_labels import EnrolledSpeaker
from meeting_assistant.services.diarization.speaker_clustering import LabelledVoice
from meeting_assistant.services.transcription.partials import CaptionSink


@dataclass(frozen=True, slots=True)
class SessionSpec:
    """What a session is told; small and JSON-safe, so that it can travel."""

    meeting_id: str
    resume: ResumePoint = field(default_factory=ResumePoint)
    """Where to begin; the sound that comes begins at its `start_sample`."""
    committed_sample: int = 0
    """Words before it are in the transcript and are not said again."""
    next_utterance: int = 1
    taken_labels: tuple[str, ...] = ()
    known_voices: tuple[LabelledVoice, ...] = ()
    """Who spoke before the session was taken up."""
    enrolled_speakers: tuple[EnrolledSpeaker, ...] = ()
    """Voices that the owner asked to be known again."""
    language: str | None = None
    hotwords: tuple[str, ...] = ()
    is_live: bool = True
    """Live sessions show partials and close an utterance when the sound stays away."""
    partial_interval_s: float = 0.5
    channels: int = 1
    """Of the sound; with 2, channel 0 is the person at the machine."""
    has_speakers: bool = True
    endpointing: EndpointOptions = field(default_factory=EndpointOptions)
    idle_timeout_s: float = 1.5
    """Live: with no sound for so long, the open utterance is finished."""


@dataclass(frozen=True, slots=True)
class CommitPoint:
    """How far a session has come."""

    committed_sample: int
    """What was said before it is decided."""
    resume: ResumePoint
    """Where whoever takes over begins."""


class SessionSink(CaptionSink, Protocol):
    """Where a session's results go; here the meeting's channel, on a worker the way back to the gateway."""

    @property
    def has_client(self) -> bool:
        """False while the client is gone and may come back with the rest of a sentence."""
        ...

    async def commit_utterances(
        self, utterances: Sequence[Utterance], commit_point: CommitPoint, *, takes_back: bool
    ) -> None:
        """Durable together when it returns; called in order. `takes_back`: not all keep what was shown as stable."""
        ...

    async def relabel(self, speakers: Mapping[int, str | None]) -> None:
        """Durable when it returns: these utterances were said by somebody else than was told."""
        ...

    async def name_speaker(self, label: str, name: str) -> None:
        """A voice was known again. A name that a person gave stays."""
        ...

    async def commit_silence(self, commit_point: CommitPoint) -> None:
        """Durable when it returns: nothing was said up to here."""
        ...

    async def record_gap(self, gap: Gap, commit_point: CommitPoint) -> None:
        """Durable when it returns: this stretch could not be transcribed."""
        ...


@dataclass(frozen=True, slots=True)
class SpeechServices:
    """The shared machinery that sessions borrow."""

    asr: AsrService
    vad: Vad
    vad_threads: Executor
    """Runs voice activity, off the event loop."""
    diarization: DiarizationService
