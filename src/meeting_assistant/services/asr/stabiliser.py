"""Which words of a growing hypothesis may be shown as stable, and which hypotheses may be shown at all. Pure.

`Stabiliser` is LocalAgreement-2 (Liu et al. 2020; Macháček et al. 2023, "Turning Whisper into Real-Time
Transcription System"): a word is stable once two hypotheses in a row agree on it and on all before it. The last
word of a window is held back, because its end may not have been heard yet. Stable words are never taken back
while the utterance is open.

`reject_audio` and `reject_text` look at an utterance and name the reason to suppress it, if there is one.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal

from meeting_assistant.domain.audio import Samples
from meeting_assistant.domain.ports import VAD_FRAME_SAMPLES, AsrResult

Guard = Literal["too_quiet", "too_short", "no_speech", "invented", "repetition", "too_fast"]

SURE = 0.9
"""Probability from which a word is stable without a second hypothesis."""
HELD_BACK_WHEN_SURE = 2
"""Words at the end of the window that are not taken on trust: what follows may still change them."""
MIN_JOIN = 2
"""Words in a row that have to be recognised for a window to be joined to what is known."""
JOIN_SLACK = 6
"""Words more than the hypothesis has that may be in its window."""


@dataclass(frozen=True, slots=True)
class StabilisedText:
    """A hypothesis split where the promise ends."""

    stable: tuple[str, ...]
    unstable: tuple[str, ...]


class Stabiliser:
    """One per open utterance."""

    def __init__(self) -> None:
        self._stable: list[str] = []
        self._previous: list[str] = []
        """Tail of the last hypothesis, after the words that were stable then."""
        self._settled: list[str] = []
        """Its words before that tail, as it has them."""

    @property
    def stable(self) -> tuple[str, ...]:
        """Words promised so far."""
        return tuple(self._stable)

    @property
    def settled(self) -> tuple[str, ...]:
        """The words of the newest hypothesis that are not worked out again: those before its unstable tail."""
        return tuple(self._settled)

    def update(
        self,
        hypothesis: Sequence[str],
        *,
        is_cut: bool = False,
        probabilities: Sequence[float] | None = None,
    ) -> StabilisedText:
        """Take the newest hypothesis of the open utterance.

        `is_cut`: its window began in the middle of the utterance, so that its first words stand somewhere in what
        is known already. When no place for it is found, what was shown stays.

        `probabilities` of its words: those that the engine is sure of need no second hypothesis.
        """
        window = list(hypothesis)
        if is_cut:
            joined = self._join(window)
            if joined is None:
                self._settled = []
                return StabilisedText(tuple(self._stable), tuple(self._previous))
            hypothesis = joined
        tail = list(hypothesis[self._seam(hypothesis) :])
        agreed = _common_prefix(self._previous, tail[:-1])
        if probabilities is not None and len(probabilities) == len(window) >= len(tail):
            sure = probabilities[len(window) - len(tail) :]
            while agreed < len(tail) - HELD_BACK_WHEN_SURE and sure[agreed] >= SURE:
                agreed += 1
        self._stable.extend(tail[:agreed])
        self._previous = tail[agreed:]
        self._settled = window[: max(0, len(window) - len(self._previous))]
        return StabilisedText(tuple(self._stable), tuple(self._previous))

    def is_kept_by(self, finished: Sequence[str]) -> bool:
        """True when the finished words begin with the stable ones; case and punctuation may differ."""
        begin = [_key(word) for word in finished[: len(self._stable)]]
        return begin == [_key(word) for word in self._stable]

    def _join(self, hypothesis: Sequence[str]) -> list[str] | None:
        """What is known up to where the hypothesis is recognised in it, and the hypothesis from there on."""
        known = [*self._stable, *self._previous]
        # Older words cannot be in the window; without them a phrase said twice is not mistaken for the older one.
        skipped = max(0, len(known) - len(hypothesis) - JOIN_SLACK)
        a, b = [_key(word) for word in known[skipped:]], [_key(word) for word in hypothesis]
        match = SequenceMatcher(a=a, b=b, autojunk=False).find_longest_match()
        if match.size < MIN_JOIN:
            return None
        return known[: skipped + match.a] + list(hypothesis[match.b :])

    def _seam(self, hypothesis: Sequence[str]) -> int:
        """Index in the hypothesis of the first word after the stable ones.

        Where the hypothesis has changed its mind about stable words, it is aligned with them, so that neither
        a word is doubled nor one swallowed at the seam.
        """
        promised = [_key(word) for word in self._stable]
        heard = [_key(word) for word in hypothesis]
        if heard[: len(promised)] == promised:
            return len(promised)
        blocks = SequenceMatcher(a=promised, b=heard, autojunk=False).get_matching_blocks()
        matched = [block for block in blocks if block.size]
        if not matched:
            return min(len(promised), len(heard))
        last = matched[-1]
        after_match = len(promised) - (last.a + last.size)
        return min(len(heard), last.b + last.size + after_match)


def split_words(text: str) -> list[str]:
    """Words as written, with their punctuation."""
    return text.split()


def _key(word: str) -> str:
    return re.sub(r"\W+", "", word.casefold())


def _common_prefix(one: Sequence[str], other: Sequence[str]) -> int:
    count = 0
    for a, b in zip(one, other, strict=False):
        if _key(a) != _key(b):
            break
        count += 1
    return count


# --- guards against invention -----------------------------------------------------------------------------

MIN_PEAK_RMS = 0.0015
"""Loudest 32 ms of an utterance, of full scale: below it there is a noise floor, not a voice."""
MAX_CHARS_PER_SECOND = 40.0
"""Fast speech has about 20; beyond 40 the decoder is making it up."""
MAX_COMPRESSION = 2.4
"""Whisper's own limit for text that repeats itself (Radford et al. 2022, section 4.5)."""
MIN_MEAN_LOGPROB = -1.0
MAX_NO_SPEECH = 0.6
"""Whisper's own limits (same section): below the first and above the second there was nothing to hear."""
MIN_COMPRESSED = 120
"""Shorter text says nothing by how it compresses."""
LOOP_LENGTH = 4
"""The same phrase this often in a row is a decoder loop."""

# What the embedded model writes when there is nothing to hear (measured on silence and hum).
_FILLERS_OF_SILENCE = {"you", "mm", "mmm", "hmm", "uh", "oh", "the"}
_MIN_VOICED_MS_FOR_FILLER = 200


def reject_audio(samples: Samples) -> Guard | None:
    """Before decoding: is there anything to decode?"""
    frame = VAD_FRAME_SAMPLES
    whole = samples[: len(samples) // frame * frame].astype("float32").reshape(-1, frame) / 32768.0
    if whole.size == 0:
        return "too_short"
    peak = float((whole**2).mean(axis=1).max()) ** 0.5
    return "too_quiet" if peak < MIN_PEAK_RMS else None


def reject_text(
    text: str, *, voiced_ms: int, duration_ms: int, result: AsrResult | None = None
) -> Guard | None:
    """After decoding: may this text be shown? A short real answer ("Yes.") passes."""
    if result is not None and _is_silence(result):
        return "no_speech"
    words = [key for key in map(_key, split_words(text)) if key]
    if len(words) == 1 and words[0] in _FILLERS_OF_SILENCE and voiced_ms < _MIN_VOICED_MS_FOR_FILLER:
        return "invented"
    if duration_ms > 0 and len(text) > 20 and len(text) * 1000 / duration_ms > MAX_CHARS_PER_SECOND:
        return "too_fast"
    if _has_loop(words) or _compression(text) > MAX_COMPRESSION:
        return "repetition"
    return None


def passes_quality_checks(result: AsrResult) -> bool:
    """False when decoding again, hotter, may find better words."""
    if _is_silence(result):
        return True
    text = result.text
    if _has_loop([_key(word) for word in split_words(text)]) or _compression(text) > MAX_COMPRESSION:
        return False
    return result.mean_logprob is None or result.mean_logprob >= MIN_MEAN_LOGPROB


def _is_silence(result: AsrResult) -> bool:
    if result.no_speech_probability is None or result.mean_logprob is None:
        return False
    return result.no_speech_probability > MAX_NO_SPEECH and result.mean_logprob < MIN_MEAN_LOGPROB


def _has_loop(words: Sequence[str]) -> bool:
    """A phrase of 1 to 6 words, `LOOP_LENGTH` times in a row, that makes up most of the text."""
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
