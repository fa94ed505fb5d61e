"""What the services need from the outside world, in words of the domain.

Adapters implement these; services know nothing else about them. One contract suite per port runs for the
public double and for every adapter.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from meeting_assistant.domain.audio import Samples, Waveform
from meeting_assistant.domain.events import DurableEvent
from meeting_assistant.domain.jobs import InferenceJob, JobKind
from meeting_assistant.domain.meeting import Bookmark, Coverage, Meeting, MeetingState, StageError
from meeting_assistant.domain.minutes import Minutes
from meeting_assistant.domain.transcript import Transcript, Utterance, Word

# --- speech recognition -----------------------------------------------------------------------------------

DecodeKind = Literal["partial", "final"]


@dataclass(frozen=True, slots=True)
class AsrRequest:
    """One window to decode."""

    session: str
    """Whose sound it is: engines that keep a voice memory keep it per session."""
    kind: DecodeKind
    """`partial` may be cheap; `final` is decoded in full and labelled with its speaker."""
    samples: Waveform
    language: str | None = None
    hotwords: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AsrResult:
    """What the engine heard in one window."""

    text: str
    words: tuple[Word, ...] | None = None
    """Times in milliseconds from the start of the window; None when the engine has no alignment."""
    speaker_index: int | None = None
    """A voice of this session, counted from 0; None when the engine cannot tell."""
    language: str | None = None


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What an engine is and can do."""

    name: str
    model: str
    languages: tuple[str, ...]
    has_word_times: bool
    has_speakers: bool
    max_window_s: float
    max_batch: int = 1
    """Windows that are cheaper together than one by one; 1 when the engine has no batches."""


class AsrEngine(Protocol):
    """A speech recogniser. All methods but `info` block and are called on the engine thread only."""

    @property
    def info(self) -> EngineInfo:
        """What it is; callable before `load`."""
        ...

    def load(self) -> None:
        """Bring the weights into memory; idempotent. Raises EngineError."""
        ...

    def transcribe(self, batch: Sequence[AsrRequest]) -> list[AsrResult]:
        """Decode windows; as many results, in the same order. Raises EngineError."""
        ...

    def close_session(self, session: str) -> None:
        """Forget what is kept for a session; unknown sessions are fine."""
        ...

    def close(self) -> None:
        """Give everything back; idempotent."""
        ...


# --- voice activity ---------------------------------------------------------------------------------------

VAD_FRAME_SAMPLES = 512
"""32 ms at 16 kHz: the hop that Silero was trained on."""


class VadStream(Protocol):
    """The voice activity of one session; keeps the model's state between calls."""

    def feed(self, samples: Samples) -> NDArray[np.float32]:
        """Speech probability of each frame completed by these samples, shape `(frames,)`.

        A remainder shorter than a frame is kept for the next call. Blocks; called off the event loop.
        """
        ...


class Vad(Protocol):
    """A voice activity detector."""

    @property
    def name(self) -> str:
        """What it is called in `/health`."""
        ...

    def load(self) -> None:
        """Bring the model into memory; idempotent."""
        ...

    def open(self) -> VadStream:
        """Start a session with a fresh state."""
        ...


# --- minutes and language models --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MinutesRequest:
    """All that a writer may know."""

    transcript: Transcript
    attendees: tuple[str, ...] = ()
    language: str = "en"
    meeting_date: date | None = None
    """In the meeting's own time zone; due phrases are resolved against it."""


class MinutesWriter(Protocol):
    """Turns a transcript into minutes. Evidence in the result is already checked against the transcript."""

    @property
    def name(self) -> str:
        """Provider name as stored with the minutes."""
        ...

    def write(self, request: MinutesRequest) -> Minutes:
        """Write them; blocks (called off the event loop)."""
        ...


@dataclass(frozen=True, slots=True)
class LlmRequest:
    """One single-turn question with an optional schema for the answer."""

    system: str
    user: str
    schema: Mapping[str, object] | None = None
    """JSON Schema of the answer; None asks for plain text."""
    schema_name: str = "answer"
    max_output_tokens: int = 1500
    temperature: float = 0.0


@dataclass(frozen=True, slots=True)
class LlmReply:
    """A complete answer (a truncated one is an error, never a reply)."""

    text: str
    provider: str
    model: str
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    seconds: float = 0.0


class LlmProvider(Protocol):
    """A language model behind HTTP."""

    @property
    def name(self) -> str:
        """As in `LLM_PROVIDER_ORDER`."""
        ...

    @property
    def is_local(self) -> bool:
        """True when the transcript does not leave what the operator runs."""
        ...

    async def complete(self, request: LlmRequest) -> LlmReply:
        """Ask once, without retries. Raises LlmError with the cause and the remedy."""
        ...

    async def close(self) -> None:
        """Close its connections."""
        ...


# --- jobs -------------------------------------------------------------------------------------------------

JobHandler = Callable[[InferenceJob], Awaitable[None]]


class JobBackend(Protocol):
    """Runs jobs off the hot path, here or on other machines."""

    @property
    def name(self) -> str:
        """`local` or `redis`."""
        ...

    async def submit(self, job: InferenceJob) -> None:
        """Queue a job. A key that is queued or running is not queued again."""
        ...

    async def run(self, handlers: Mapping[JobKind, JobHandler]) -> None:
        """Take jobs until drained."""
        ...

    def depth(self) -> int:
        """Jobs waiting."""
        ...

    async def drain(self, grace_s: float) -> None:
        """Take nothing new, let what runs finish within the grace time, cancel the rest."""
        ...


# --- storage ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """A durable event with its number."""

    seq: int
    body: DurableEvent


class MeetingStore(Protocol):
    """The record of meetings. One transaction per method; what returns is durable.

    Methods that take a meeting id raise NotFoundError when there is no such meeting.
    """

    async def open(self) -> None:
        """Connect and bring the schema up to date. Raises StorageError."""
        ...

    async def close(self) -> None:
        """Let go; idempotent."""
        ...

    async def create(self, meeting: Meeting) -> None:
        """Store a new meeting."""
        ...

    async def get(self, meeting_id: str) -> Meeting:
        """The record, without its transcript."""
        ...

    async def recent(self, *, limit: int = 50, before: str | None = None) -> list[Meeting]:
        """Newest first; `before` is the id of the last one of the page before."""
        ...

    async def unfinished(self) -> list[Meeting]:
        """Meetings that are recording or processing, oldest first."""
        ...

    async def delete(self, meeting_id: str) -> None:
        """Remove every row of it, and the freed pages' contents."""
        ...

    async def set_title(self, meeting_id: str, title: str) -> None:
        """Rename the meeting."""
        ...

    async def set_state(self, meeting_id: str, state: MeetingState) -> None:
        """Move it on."""
        ...

    async def add_error(self, meeting_id: str, error: StageError) -> None:
        """Append what went wrong."""
        ...

    async def add_bookmark(self, meeting_id: str, bookmark: Bookmark) -> None:
        """Append a marked moment."""
        ...

    async def take_over(self, meeting_id: str) -> int:
        """Raise the epoch and return it: older connections are fenced off."""
        ...

    async def set_received(self, meeting_id: str, received_bytes: int) -> None:
        """Record how much sound is safe; never moves backwards."""
        ...

    async def commit_utterance(self, meeting_id: str, utterance: Utterance, committed_sample: int) -> int:
        """Store an utterance (insert, or replace when its `rev` is higher), move the committed sample forward
        and number the `transcript` event, all in one transaction. Returns the event's `seq`.
        """
        ...

    async def commit_sample(self, meeting_id: str, committed_sample: int) -> None:
        """Sound up to here held no speech; never moves backwards."""
        ...

    async def rename_speaker(self, meeting_id: str, label: str, name: str | None) -> int:
        """Name a speaker that occurs in the transcript and number the `speakers` event. Returns its `seq`.

        Raises NotFoundError when no utterance carries the label.
        """
        ...

    async def append_event(self, meeting_id: str, body: DurableEvent) -> int:
        """Number and store a `gap` or `notes` event. Returns its `seq`."""
        ...

    async def finish(
        self,
        meeting_id: str,
        *,
        minutes: Minutes | None,
        coverage: Coverage,
        duration_ms: int,
        engines: Mapping[str, str],
    ) -> int:
        """Store the minutes, mark the meeting done and number the `final` event, in one transaction.

        Returns the event's `seq`. A second call for a meeting that is done stores nothing and returns the
        `seq` of the existing `final`.
        """
        ...

    async def transcript(self, meeting_id: str) -> Transcript:
        """All of it, in order of time."""
        ...

    async def minutes(self, meeting_id: str) -> Minutes | None:
        """The newest version; None when none were written."""
        ...

    async def last_seq(self, meeting_id: str) -> int:
        """Number of the newest durable event; 0 when there is none."""
        ...

    async def events_after(self, meeting_id: str, seq: int) -> list[StoredEvent]:
        """Durable events with a higher number, in order, rebuilt from the present rows."""
        ...

    async def check(self) -> str:
        """Write, read and roll back; returns a line for `doctor`. Raises StorageError."""
        ...


class AudioJournal(Protocol):
    """The stored sound of one meeting, addressed by canonical PCM bytes. Blocks; called off the loop."""

    @property
    def durable_bytes(self) -> int:
        """Everything below is on the disk."""
        ...

    def append(self, pcm: bytes) -> None:
        """Write and sync; on return it is durable. Raises StorageError, then nothing below
        `durable_bytes` has changed."""
        ...

    def read(self, offset: int, length: int) -> bytes:
        """Up to `length` bytes from `offset`, fewer only at the end. Raises AudioDecryptionError."""
        ...

    def seal(self) -> None:
        """Nothing more will come; idempotent."""
        ...

    def close(self) -> None:
        """Let go of the file without sealing; idempotent."""
        ...


class AudioStore(Protocol):
    """Where journals live."""

    def create(self, meeting_id: str) -> AudioJournal:
        """A new, empty journal."""
        ...

    def open(self, meeting_id: str, *, durable_bytes: int = 0) -> AudioJournal:
        """An existing one, for reading and going on. A torn end is left out, but never anything below
        `durable_bytes`, which was acknowledged. Raises NotFoundError, AudioDecryptionError, StorageError."""
        ...

    def exists(self, meeting_id: str) -> bool:
        """True when there is a journal of that meeting."""
        ...

    def delete(self, meeting_id: str) -> None:
        """Destroy the key, then the file; unknown ids are fine."""
        ...


@dataclass(frozen=True, slots=True)
class MediaInfo:
    """What a probe found in an uploaded file."""

    container: str
    codec: str
    duration_s: float | None
    sample_rate_hz: int
    channels: int


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """What decoding one file may cost."""

    max_duration_s: float = 8 * 3600.0
    max_memory_bytes: int = 1 << 30
    max_cpu_s: int = 1800
    idle_timeout_s: float = 60.0
    """Without any output for so long, the child is ended."""


class MediaDecoder(Protocol):
    """Reads sound out of a container that somebody sent; runs where it can do no harm."""

    async def probe(self, path: Path) -> MediaInfo:
        """Look at the file. Raises AudioFormatError when there is no sound to be had."""
        ...

    def decode(self, path: Path, limits: DecodeLimits | None = None) -> AsyncIterator[bytes]:
        """Canonical PCM (16 kHz mono s16le) in pieces. Raises AudioFormatError, TooLargeError."""
        ...


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One row of `doctor`."""

    name: str
    ok: bool
    detail: str
    remedy: str = ""
    seconds: float = 0.0
    optional: bool = False
    """True when a failure does not stop the product from working."""
    extra: Mapping[str, str] = field(default_factory=dict)
