"""Word times from the attention of the Whisper decoder to the audio.

The alignment itself (dynamic time warping over selected attention heads) is CTranslate2's; here its steps become words.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from meeting_assistant.domain.audio import SAMPLE_RATE_HZ
from meeting_assistant.domain.ports import AsrRequest, AsrResult
from meeting_assistant.domain.transcript import Word

if TYPE_CHECKING:
    from ctranslate2.models import Whisper
    from faster_whisper.tokenizer import Tokenizer

FRAME_SAMPLES = 160
MS_PER_STEP = 20
"""Length of one position of the encoder's output."""
MIN_FRAMES = 2
"""With fewer CTranslate2 divides by zero."""


class WordAligner:
    """Adds words with their times to results."""

    def __init__(self, whisper: Whisper, tokenizer_of: Callable[[str], Tokenizer]) -> None:
        self._whisper = whisper
        self._tokenizer_of = tokenizer_of

    def add_words(
        self,
        results: Sequence[AsrResult],
        tokens: Sequence[list[int]],
        encoded: Any,
        requests: Sequence[AsrRequest],
    ) -> list[AsrResult]:
        """Return the results with words; one pass per language, because a pass takes one start sequence."""
        with_words = [replace(result, words=()) for result in results]
        if not any(tokens):
            return with_words
        frames = [max(MIN_FRAMES, len(request.samples) // FRAME_SAMPLES) for request in requests]
        for language in {result.language or "en" for result in results}:
            tokenizer = self._tokenizer_of(language)
            alignments = self._whisper.align(encoded, tokenizer.sot_sequence, list(tokens), frames)
            for index, result in enumerate(results):
                if result.language == language and tokens[index]:
                    duration_ms = len(requests[index].samples) * 1000 // SAMPLE_RATE_HZ
                    words = to_words(alignments[index], tokens[index], tokenizer, duration_ms)
                    with_words[index] = replace(result, words=words)
        return with_words


def to_words(
    alignment: Any, tokens: Sequence[int], tokenizer: Tokenizer, duration_ms: int
) -> tuple[Word, ...]:
    """Return words with times in milliseconds from the start of the window, monotonic and never after its end."""
    texts, groups = tokenizer.split_to_word_tokens([*tokens, tokenizer.eot])
    texts, groups = texts[:-1], groups[:-1]  # the end of text
    steps = np.array([step for _, step in alignment.alignments], np.int64)
    of_token = np.array([token for token, _ in alignment.alignments], np.int64)
    probabilities = np.asarray(alignment.text_token_probs, np.float64)
    words: list[Word] = []
    first = 0
    for text, group in zip(texts, groups, strict=True):
        after = first + len(group)
        start_ms = _time_ms(first, of_token, steps, duration_ms)
        end_ms = max(start_ms, _time_ms(after, of_token, steps, duration_ms))
        confidence = float(probabilities[first:after].mean()) if after <= len(probabilities) else None
        first = after
        if not words or any(character.isalnum() for character in text):
            words.append(Word(text=text.strip(), start_ms=start_ms, end_ms=end_ms, confidence=confidence))
        else:  # punctuation belongs to the word before it
            words[-1] = words[-1].model_copy(update={"text": words[-1].text + text.strip()})
    return tuple(word for word in words if word.text)


def _time_ms(token: int, of_token: Any, steps: Any, duration_ms: int) -> int:
    """Return when a token begins: at the first step of the path on it."""
    at = int(np.searchsorted(of_token, token))
    if at >= len(steps):
        return duration_ms
    return min(duration_ms, int(steps[at]) * MS_PER_STEP)
