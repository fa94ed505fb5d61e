"""The embedded engine: Moonshine Tiny (English) with the weights that ship in its wheel.

`moonshine-voice==0.0.65` is the newest release that carries both the weights and the light online speaker
identification. One `Transcriber` is kept per session for finished utterances, because it holds the voices of
that session; one shared `Transcriber` without voice memory serves partials. Each costs about 80 to 180 MB.
"""

from __future__ import annotations

import ctypes
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from meeting_assistant.domain.audio import SAMPLE_RATE_HZ, Waveform
from meeting_assistant.domain.errors import EngineError, EngineNotInstalledError
from meeting_assistant.domain.ports import AsrRequest, AsrResult, EngineInfo

if TYPE_CHECKING:
    from moonshine_voice.transcriber import Transcriber

MIN_SAMPLES = SAMPLE_RATE_HZ // 10
"""Shorter windows hold no word and the encoder refuses them."""

_OPTIONS = {
    # The caller has already cut at pauses; the library's own voice activity would cut again.
    "vad_threshold": "0",
    # Otherwise every result carries a copy of the sound as a Python list.
    "return_audio_data": "false",
}


class MoonshineEngine:
    """Text and a speaker index per finished utterance; no word times."""

    info = EngineInfo(
        name="moonshine",
        model="moonshine-tiny-en",
        languages=("en",),
        has_word_times=False,
        has_speakers=True,
        max_window_s=30.0,
    )

    def __init__(self) -> None:
        self._shared: Transcriber | None = None
        self._sessions: dict[str, Transcriber] = {}

    def load(self) -> None:
        """Raises EngineNotInstalledError, EngineError."""
        if self._shared is None:
            self._shared = self._new_transcriber(identify_speakers=False)
            _decode(self._shared, np.zeros(SAMPLE_RATE_HZ, dtype=np.float32))  # warm up: first call allocates

    def transcribe(self, batch: Sequence[AsrRequest]) -> list[AsrResult]:
        """One after the other: the library has no batches. Raises EngineError."""
        return [self._transcribe_one(request) for request in batch]

    def close_session(self, session: str) -> None:
        """Forget the session's voices."""
        transcriber = self._sessions.pop(session, None)
        if transcriber is not None:
            transcriber.close()

    def close(self) -> None:
        """Free all native memory."""
        for session in list(self._sessions):
            self.close_session(session)
        if self._shared is not None:
            self._shared.close()
            self._shared = None

    def _transcribe_one(self, request: AsrRequest) -> AsrResult:
        if len(request.samples) < MIN_SAMPLES:
            return AsrResult(text="")
        if request.kind == "final":
            transcriber = self._sessions.get(request.session)
            if transcriber is None:
                transcriber = self._sessions[request.session] = self._new_transcriber(identify_speakers=True)
        else:
            self.load()
            transcriber = self._shared
        return _decode(transcriber, request.samples)

    @staticmethod
    def _new_transcriber(*, identify_speakers: bool) -> Transcriber:
        if importlib.util.find_spec("moonshine_voice") is None:
            raise EngineNotInstalledError("moonshine-voice", "Run `make setup` again.")
        try:
            from moonshine_voice import get_assets_path
            from moonshine_voice.moonshine_api import ModelArch
            from moonshine_voice.transcriber import Transcriber
        except (ImportError, OSError) as error:  # OSError: the wheel's library does not load on this machine
            raise EngineError(
                f"moonshine-voice does not load: {type(error).__name__}.",
                "Its wheel supports Linux, macOS and Windows on x86-64 and ARM64; see docs/troubleshooting.md.",
            ) from error
        options = {**_OPTIONS, "identify_speakers": "true" if identify_speakers else "false"}
        return Transcriber(Path(get_assets_path()) / "tiny-en", ModelArch.TINY, options=options)


def _decode(transcriber: Any, samples: Waveform) -> AsrResult:
    """Call the C function on NumPy's own memory: the library's wrapper copies through a Python list."""
    from moonshine_voice.errors import MoonshineError, check_error
    from moonshine_voice.moonshine_api import TranscriptC

    sound = np.ascontiguousarray(samples, dtype=np.float32)
    out = ctypes.POINTER(TranscriptC)()
    try:
        check_error(
            transcriber._lib.moonshine_transcribe_without_streaming(
                transcriber._handle,
                sound.ctypes.data_as(ctypes.POINTER(ctypes.c_float)),
                len(sound),
                SAMPLE_RATE_HZ,
                0,
                ctypes.byref(out),
            )
        )
        lines = transcriber._parse_transcript(out).lines
    except MoonshineError as error:
        raise EngineError(
            f"moonshine-voice failed on a window of {len(sound) / SAMPLE_RATE_HZ:.1f} s.",
            "The sound is kept; the window is tried again.",
        ) from error
    text = " ".join(line.text.strip() for line in lines if line.text.strip())
    voices = [int(line.speaker_index) for line in lines if line.has_speaker_id and line.text.strip()]
    return AsrResult(text=text, speaker_index=voices[0] if voices else None, language="en")
