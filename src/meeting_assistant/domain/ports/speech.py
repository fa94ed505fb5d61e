"""Speech recognition and voice activity."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import PlainSerializer, PlainValidator, WithJsonSchema

from meeting_assistant.domain.audio import Samples, Waveform
from meeting_assistant.domain.transcript import Word


def _read_vector(value: object) -> NDArray[np.float32]:
    if isinstance(value, np.ndarray):
        return value.astype(np.float32, copy=False)
    return np.frombuffer(base64.b64decode(str(value), validate=True), "<f4").astype(np.float32)


def _write_vector(vector: NDArray[np.float32]) -> str:
    return base64.b64encode(np.asarray(vector, "<f4").tobytes()).decode()


VoiceVector = Annotated[
    NDArray[np.float32],
    PlainValidator(_read_vector),
    PlainSerializer(_write_vector, return_type=str),
    WithJsonSchema({"type": "string", "contentEncoding": "base64", "description": "Little-endian float32."}),
]
"""An embedding of a voice: a vector of length 1. The dot product of two is their similarity. In JSON it is base64 of
little-endian float32."""
DecodeKind = Literal["partial", "final"]
SURE_OF_LANGUAGE = 0.8
"""Probability from which an engine's guess counts against the language that was spoken before."""


@dataclass(frozen=True, slots=True)
class AsrRequest:
    """One window to decode."""

    session: str
    """Whose sound it is: what an engine remembers, it remembers per session."""
    kind: DecodeKind
    """`partial` may be cheap; `final` is decoded in full."""
    samples: Waveform
    language: str | None = None
    """What a person chose; None leaves it to the engine."""
    detected_language: str | None = None
    """What was spoken before: taken unless the engine is sure of another one."""
    hotwords: tuple[str, ...] = ()
    prefix: str = ""
    """Decoder prefix: words at the start of the window that were shown as stable. A partial may continue from them."""
    temperature: float = 0.0
    """0 takes the likeliest words; above it a final is sampled, after the likeliest ones did not convince."""


@dataclass(frozen=True, slots=True)
class AsrResult:
    """The result of decoding one window."""

    text: str
    words: tuple[Word, ...] | None = None
    """Times in milliseconds from the start of the window; None when the engine has no alignment."""
    word_probabilities: tuple[float, ...] | None = None
    """For each word (as split by white space) how sure the engine is, 0..1; None when it does not tell."""
    language: str | None = None
    language_probability: float | None = None
    """Of a language that the engine found out itself."""
    mean_logprob: float | None = None
    """Mean log probability of a token; None when the engine does not tell."""
    no_speech_probability: float | None = None
    is_truncated: bool | None = None
    """True when the decoder reached its limit before the end of the text; None when the engine does not tell."""


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """The description of an engine: its model, languages and limits."""

    name: str
    model: str
    languages: tuple[str, ...]
    """Language codes that it knows; empty when it takes any."""
    max_window_s: float
    max_batch: int = 1
    """How many windows one batch may hold; 1 when the engine has no batches."""
    max_concurrency: int = 1
    """Batches that may run at the same time, each on its own thread."""
    partial_buckets_s: tuple[float, ...] = ()
    """Durations that partials are padded to; empty when they are not."""
    final_buckets_s: tuple[float, ...] = ()
    """Durations that finals are padded to; empty when they are not."""
    temperatures: tuple[float, ...] = (0.0,)
    """Tried in order while the result of a final fails the quality checks."""


class AsrEngine(Protocol):
    """A speech recogniser.

    All methods but `info` block. They run on the engine's own threads, at most `info.max_concurrency` at once.
    """

    @property
    def info(self) -> EngineInfo:
        """The description of the engine; available before `load`."""
        ...

    def load(self) -> None:
        """Load the weights; idempotent. Raises EngineError."""
        ...

    def transcribe(self, batch: Sequence[AsrRequest]) -> list[AsrResult]:
        """Decode windows and return as many results, in the same order. Raises EngineError."""
        ...

    def close_session(self, session: str) -> None:
        """Free what is kept for a session; does nothing for an unknown one."""
        ...

    def close(self) -> None:
        """Free all resources; idempotent."""
        ...


class VoiceEmbedder(Protocol):
    """Computes embeddings of voices. `load` and `embed` block; called on one thread."""

    @property
    def name(self) -> str:
        """The name in `/health`."""
        ...

    def load(self) -> None:
        """Load the model; idempotent. Raises EngineError."""
        ...

    def embed(self, samples: Waveform) -> VoiceVector:
        """Return the embedding of at least 0.5 s in which one person speaks."""
        ...


VAD_FRAME_SAMPLES = 512
"""32 ms at 16 kHz: the hop that Silero was trained on."""


class VadStream(Protocol):
    """The voice activity of one session; keeps the model's state between calls."""

    def feed(self, samples: Samples) -> NDArray[np.float32]:
        """Return the speech probability of each frame that these samples complete, shape `(frames,)`.

        A remainder shorter than a frame is kept for the next call. Blocks; called off the event loop.
        """
        ...

    def state(self) -> bytes:
        """Return the state after the last whole frame; a stream that is opened with it continues like this one."""
        ...


class Vad(Protocol):
    """A voice activity detector."""

    @property
    def name(self) -> str:
        """The name in `/health`."""
        ...

    def load(self) -> None:
        """Load the model; idempotent."""
        ...

    def open(self, state: bytes = b"") -> VadStream:
        """Begin a session, in this state or in a fresh one."""
        ...
