"""The interface of a transcription session: what it is given, what it uses, where its results go.

The same for a session on this machine and on a worker.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Protocol

from meeting_assistant.domain.audio import Samples
from meeting_assistant.domain.events import PartialTranscript
from meeting_assistant.domain.meeting import ResumePoint
from meeting_assistant.domain.ports import AsrResult, Vad, VoiceVector
from meeting_assistant.domain.transcript import Gap, Utterance
from meeting_assistant.services.asr.asr_service import AsrService
from meeting_assistant.services.asr.channel_speech import Probabilities
from meeting_assistant.services.asr.endpointing import EndpointOptions, SpeechEnded
from meeting_assistant.services.diarization.diarization_service import DiarizationService
from meeting_assistant.services.diarization.live_labels import EnrolledSpeaker
from meeting_assistant.services.diarization.speaker_clustering import LabelledVoice


@dataclass(frozen=True, slots=True)
class SessionSpec:
    """The parameters of a session; small and JSON-safe, so that they can be sent to a worker."""

    meeting_id: str
    resume: ResumePoint = field(default_factory=ResumePoint)
    """Where to begin: the first sample of the audio is its `start_sample`."""
    committed_sample: int = 0
    """Words before it are in the transcript and are not transcribed again."""
    next_utterance: int = 1
    taken_labels: tuple[str, ...] = ()
    """Speaker labels that the meeting already has."""
    known_voices: tuple[LabelledVoice, ...] = ()
    """Embeddings of the utterances that were labelled before the session was resumed."""
    enrolled_speakers: tuple[EnrolledSpeaker, ...] = ()
    """Voices to identify."""
    language: str | None = None
    hotwords: tuple[str, ...] = ()
    is_live: bool = True
    """Live sessions send partials."""
    partial_interval_s: float = 0.5
    channels: int = 1
    """Channels of the audio; with 2, channel 0 is the person at the machine."""
    has_speakers: bool = True
    endpointing: EndpointOptions = field(default_factory=EndpointOptions)
    idle_timeout_s: float = 1.5
    """Live: after so long without audio the partial of the open utterance is completed."""


@dataclass(frozen=True, slots=True)
class CommitPoint:
    """The point that a session has reached."""

    committed_sample: int
    """Everything before it is committed."""
    resume: ResumePoint
    """Where a session that continues this one begins."""


@dataclass(frozen=True, slots=True)
class UtteranceSound:
    """What the decode of an utterance reads."""

    samples: Samples
    """Shape `(n,)` or `(n, channels)`."""
    before: Samples
    """What came before it, as far as it may be the source of an echo; of the same form."""
    probabilities: Probabilities
    """Of speech, for each frame of `samples`."""


@dataclass(frozen=True, slots=True)
class SpeakerSegment:
    """The part of an utterance that one speaker says."""

    span: SpeechEnded
    """In samples of the meeting."""
    result: AsrResult
    """Word times count from the start of `span`."""
    channel: int | None = None
    """None when the audio has one channel."""
    voice: VoiceVector | None = None
    spoken_ms: int = 0
    overlap: bool = False
    echo: str | None = None
    """Words of the other channel that were removed as an echo of this segment."""


class SessionSink(Protocol):
    """Receives the results of a session: for the meeting's channel or, on a worker, for the gateway."""

    @property
    def has_viewers(self) -> bool:
        """True when a viewer would receive partials."""
        ...

    def received_sample(self) -> int:
        """Return how much audio was received so far, for the lag."""
        ...

    def send_partial(self, partial: PartialTranscript) -> None:
        """Send a partial; it may be dropped."""
        ...

    async def commit_utterances(
        self, utterances: Sequence[Utterance], commit_point: CommitPoint, *, takes_back: bool
    ) -> None:
        """Store utterances in one transaction; called in the order of time.

        `takes_back`: they do not keep all stable words that were shown.
        """
        ...

    async def relabel(self, speakers: Mapping[int, str | None]) -> None:
        """Store new speaker labels of utterances."""
        ...

    async def name_speaker(self, label: str, name: str) -> None:
        """Store the name of an identified speaker; a name that a person gave stays."""
        ...

    async def commit_silence(self, commit_point: CommitPoint) -> None:
        """Store that there is no speech up to here."""
        ...

    async def record_gap(self, gap: Gap, commit_point: CommitPoint) -> None:
        """Store that a stretch could not be transcribed."""
        ...


@dataclass(frozen=True, slots=True)
class SpeechServices:
    """The services that all sessions of a process share."""

    asr: AsrService
    vad: Vad
    vad_threads: Executor
    """Runs voice activity detection off the event loop."""
    diarization: DiarizationService
