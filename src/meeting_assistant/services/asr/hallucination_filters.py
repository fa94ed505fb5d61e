"""Filters against text that the recogniser makes up. Pure.

`reject_audio` and `reject_text` look at an utterance and return the reason to suppress it, if there is one;
`passes_quality_checks` decides whether an utterance is decoded again at a higher temperature; `without_end_loop`
removes what a decoder repeats at the end of an otherwise good text, as it does when speech is cut inside a word.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import replace
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
MAX_LOOP_WORDS = 12
"""Longest phrase of a loop at the end of a text."""

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
    words = [word_key(word) for word in split_words(text)]
    if _has_loop(words) or _looped_words(words, result.is_truncated) or _compression(text) > MAX_COMPRESSION:
        return False
    return result.mean_logprob is None or result.mean_logprob >= MIN_MEAN_LOGPROB


def without_end_loop(result: AsrResult) -> AsrResult:
    """Return the result with one occurrence of a phrase that the decoder repeats up to the end.

    A person says a word three times and stops; a decoder goes on until its limit. Where the engine does not tell that
    it reached its limit, only more repetitions than people make are a loop. A text that is nothing but a loop stays as
    it is: `reject_text` rejects it.
    """
    texts = [word.text for word in result.words] if result.words is not None else split_words(result.text)
    keys = [word_key(text) for text in texts]
    looped = 0 if _has_loop(keys) else _looped_words(keys, result.is_truncated)
    if not looped:
        return result
    text = result.text.rstrip()
    for word in reversed(texts[-looped:]):
        text = text.removesuffix(word.strip()).rstrip()
    sure = result.word_probabilities
    count = len(split_words(text))
    return replace(
        result,
        text=text,
        words=result.words[:-looped] if result.words is not None else None,
        word_probabilities=sure[:count] if sure is not None else None,
    )


def _looped_words(words: Sequence[str], is_truncated: bool | None) -> int:
    """Return how many words at the end repeat a phrase before them."""
    if is_truncated is False:
        return 0
    most = 0
    for size in range(1, min(MAX_LOOP_WORDS, len(words) // 2) + 1):
        repeated = 0
        while repeated + size < len(words) and words[-1 - repeated] == words[-1 - repeated - size]:
            repeated += 1
        if repeated >= _least_looped(size, is_truncated=bool(is_truncated)):
            most = max(most, repeated)
    return most


def _least_looped(size: int, *, is_truncated: bool) -> int:
    """Return from how many repeated words on a phrase of that many words is a loop."""
    if is_truncated:
        return 2 * size if size <= 2 else size
    return 5 if size == 1 else 3 * size


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
