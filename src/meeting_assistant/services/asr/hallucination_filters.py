"""Filters against text that the recogniser makes up. Pure.

`reject_audio` and `reject_text` look at an utterance and return the reason to suppress it, if there is one;
`passes_quality_checks` decides whether an utterance is decoded again at a higher temperature.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Literal

from meeting_assistant.domain.audio import Samples
from meeting_assistant.domain.ports import VAD_FRAME_SAMPLES, AsrResult
from meeting_assistant.services.asr.stabiliser import split_words, word_key

RejectReason = Literal["too_quiet", "too_short", "no_speech", "invented", "repetition", "too_fast"]

MIN_PEAK_RMS = 0.0015
"""Loudest 32 ms of an utterance, relative to full scale: below it there is only noise."""
MAX_CHARS_PER_SECOND = 40.0
"""Fast speech has about 20 characters per second."""
MAX_COMPRESSION = 2.4
"""Whisper's own limit for text that repeats itself (Radford et al. 2022, section 4.5)."""
MIN_MEAN_LOGPROB = -1.0
MAX_NO_SPEECH = 0.6
"""Whisper's own limits (same section): below the first and above the second there is no speech."""
MIN_COMPRESSED = 120
"""Bytes; the compression of shorter text says nothing."""
LOOP_LENGTH = 4
"""A phrase repeated this often in a row is a decoder loop."""

# Output of the embedded model for silence and hum, as measured.
_FILLERS_OF_SILENCE = {"you", "mm", "mmm", "hmm", "uh", "oh", "the"}
_MIN_VOICED_MS_FOR_FILLER = 200


def reject_audio(samples: Samples) -> RejectReason | None:
    """Return why an utterance need not be decoded; None when it may contain speech."""
    frame = VAD_FRAME_SAMPLES
    whole = samples[: len(samples) // frame * frame].astype("float32").reshape(-1, frame) / 32768.0
    if whole.size == 0:
        return "too_short"
    peak = float((whole**2).mean(axis=1).max()) ** 0.5
    return "too_quiet" if peak < MIN_PEAK_RMS else None


def reject_text(
    text: str, *, voiced_ms: int, duration_ms: int, result: AsrResult | None = None
) -> RejectReason | None:
    """Return why a text must not be shown; None when it may. A short real answer ("Yes.") passes."""
    if result is not None and _is_silence(result):
        return "no_speech"
    words = [key for key in map(word_key, split_words(text)) if key]
    if len(words) == 1 and words[0] in _FILLERS_OF_SILENCE and voiced_ms < _MIN_VOICED_MS_FOR_FILLER:
        return "invented"
    if duration_ms > 0 and len(text) > 20 and len(text) * 1000 / duration_ms > MAX_CHARS_PER_SECOND:
        return "too_fast"
    if _has_loop(words) or _compression(text) > MAX_COMPRESSION:
        return "repetition"
    return None


def passes_quality_checks(result: AsrResult) -> bool:
    """Return False when decoding again at a higher temperature may find better words."""
    if _is_silence(result):
        return True
    text = result.text
    if _has_loop([word_key(word) for word in split_words(text)]) or _compression(text) > MAX_COMPRESSION:
        return False
    return result.mean_logprob is None or result.mean_logprob >= MIN_MEAN_LOGPROB


def _is_silence(result: AsrResult) -> bool:
    if result.no_speech_probability is None or result.mean_logprob is None:
        return False
    return result.no_speech_probability > MAX_NO_SPEECH and result.mean_logprob < MIN_MEAN_LOGPROB


def _has_loop(words: Sequence[str]) -> bool:
    """Return whether a phrase of 1 to 6 words, repeated in a row, makes up most of the text."""
    for size in range(1, 7):
        span = size * LOOP_LENGTH
        for start in range(len(words) - span + 1):
            phrase = words[start : start + size]
            repeats = 1
            while words[start + repeats * size : start + (repeats + 1) * size] == phrase:
                repeats += 1
            if repeats >= LOOP_LENGTH and repeats * size * 5 >= len(words) * 4:
                return True
    return False


def _compression(text: str) -> float:
    raw = text.encode()
    if len(raw) < MIN_COMPRESSED:
        return 1.0
    return len(raw) / len(zlib.compress(raw))
