"""The embedded engine: Moonshine Tiny (English) with the weights that ship in its wheel.

`moonshine-voice==0.0.65` is the newest release that carries the weights of both the recogniser and a light speaker
embedding. Its own decoder is not used: see `moonshine_decoder.py`.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from meeting_assistant.adapters.asr.moonshine_decoder import DecodedToken, MoonshineDecoder, max_tokens
from meeting_assistant.domain.audio import SAMPLE_RATE_HZ
from meeting_assistant.domain.errors import EngineError, EngineNotInstalledError
from meeting_assistant.domain.ports import AsrRequest, AsrResult, EngineInfo

MIN_SAMPLES = SAMPLE_RATE_HZ // 10
"""Shorter windows hold no word and the encoder refuses them."""
MAX_CONCURRENCY = 8
"""Upper limit of decodes at the same time; there is one per processor core."""


class MoonshineEngine:
    """English only; embedded weights, no network, no word times."""

    info = EngineInfo(
        name="moonshine",
        model="moonshine tiny-en",
        languages=("en",),
        max_window_s=30.0,
        max_concurrency=max(1, min(MAX_CONCURRENCY, os.cpu_count() or 1)),
    )

    def __init__(self) -> None:
        self._decoder: MoonshineDecoder | None = None
        self._newest: dict[str, list[DecodedToken]] = {}
        """The tokens of the newest partial of each session, from which the next one can continue."""

    def load(self) -> None:
        """Load the weights. Raises EngineNotInstalledError, EngineError."""
        if self._decoder is not None:
            return
        try:
            decoder = MoonshineDecoder(model_dir())
        except Exception as error:
            if isinstance(error, EngineError):
                raise
            raise EngineError(
                f"The weights of moonshine-voice do not load: {type(error).__name__}.",
                "Run `make setup` again; see docs/how-to/troubleshooting.md.",
            ) from error
        decoder.decode(np.zeros(SAMPLE_RATE_HZ, dtype=np.float32))  # the first call allocates
        self._decoder = decoder

    def transcribe(self, batch: Sequence[AsrRequest]) -> list[AsrResult]:
        """Decode the windows one after the other. Raises EngineError."""
        return [self._transcribe_one(request) for request in batch]

    def close_session(self, session: str) -> None:
        """Forget the newest partial of the session."""
        self._newest.pop(session, None)

    def close(self) -> None:
        """Free the native memory."""
        self._newest.clear()
        self._decoder = None

    def _transcribe_one(self, request: AsrRequest) -> AsrResult:
        if len(request.samples) < MIN_SAMPLES:
            return AsrResult(text="")
        self.load()
        decoder = self._decoder
        assert decoder is not None
        if request.kind == "final":
            tokens = decoder.decode(request.samples)
        else:
            prefix = _tokens_of(request.prefix, self._newest.get(request.session, ()), decoder)
            tokens = self._newest[request.session] = decoder.decode(request.samples, prefix)
        return AsrResult(
            text=decoder.text(tokens),
            word_probabilities=decoder.word_probabilities(tokens),
            language="en",
            is_truncated=len(tokens) >= max_tokens(request.samples),
        )


def _tokens_of(
    prefix: str, newest: Sequence[DecodedToken], decoder: MoonshineDecoder
) -> Sequence[DecodedToken]:
    """Return the tokens of the newest hypothesis that spell the prefix; none when it begins with other words."""
    if not prefix or not decoder.text(newest).startswith(prefix):
        return ()
    for end in range(len(newest) + 1):
        if decoder.text(newest[:end]) == prefix:
            return newest[:end]
    return ()


def model_dir() -> Path:
    """Return the folder of the weights in the wheel, without importing it. Raises EngineNotInstalledError."""
    spec = importlib.util.find_spec("moonshine_voice")
    if spec is None or spec.origin is None:
        raise EngineNotInstalledError("moonshine-voice", "Run `make setup` again.")
    return Path(spec.origin).parent / "assets" / "tiny-en"
