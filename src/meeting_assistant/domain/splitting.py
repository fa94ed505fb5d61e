"""Cutting an utterance in two at a word, with its times and the quotes that cite it. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from meeting_assistant.domain.errors import InputError
from meeting_assistant.domain.minutes import Evidence
from meeting_assistant.domain.transcript import Utterance, Word


def words_of(utterance: Utterance) -> list[Word]:
    """Return the words of an utterance; without stored ones, those of its text with times in proportion to letters."""
    if utterance.words:
        return utterance.words
    texts = utterance.text.split()
    total = sum(len(text) + 1 for text in texts)
    length_ms = utterance.end_ms - utterance.start_ms
    words: list[Word] = []
    before = 0
    for text in texts:
        start_ms = utterance.start_ms + length_ms * before // total
        before += len(text) + 1
        words.append(
            Word(text=text, start_ms=start_ms, end_ms=utterance.start_ms + length_ms * before // total)
        )
    return words


def cut(utterance: Utterance, word: int, *, new_id: int) -> tuple[Utterance, Utterance]:
    """Return the words before number `word` (from 0), and the rest under the new id. Both keep the speaker.

    Raises InputError when a part would be empty.
    """
    words = words_of(utterance)
    if not 0 < word < len(words):
        raise InputError(
            f"This utterance has {len(words)} words; it cannot be cut before number {word}.",
            "`word` is the first word of the second part, counted from 0, and not the first of all.",
        )
    first_text, second_text = _texts(utterance.text, words, word)
    first = utterance.model_copy(
        update={
            "rev": utterance.rev + 1,
            "end_ms": words[word - 1].end_ms,
            "text": first_text,
            "words": utterance.words[:word],
        }
    )
    second = utterance.model_copy(
        update={
            "utterance": new_id,
            "rev": 1,
            "start_ms": words[word].start_ms,
            "echo": None,
            "text": second_text,
            "words": utterance.words[word:],
        }
    )
    return first, second


def _texts(text: str, words: Sequence[Word], word: int) -> tuple[str, str]:
    """Cut the text as it is written: not every language puts a space between words."""
    at = 0
    for one in words[:word]:
        found = text.find(one.text.strip(), at)
        if found < 0:
            break
        at = found + len(one.text.strip())
    else:
        at = text.find(words[word].text.strip(), at)
        if at > 0:
            return text[:at].strip(), text[at:].strip()
    return " ".join(w.text.strip() for w in words[:word]), " ".join(w.text.strip() for w in words[word:])


def move_quote(evidence: Evidence, whole: Utterance, first: Utterance, second: Utterance) -> list[Evidence]:
    """Move evidence from the whole to the part that contains it; a quote across the cut becomes two."""
    if evidence.utterance != whole.utterance:
        return [evidence]
    at = whole.text.find(evidence.quote)
    if at >= 0:
        inside = max(0, len(whole.text.rstrip()) - len(second.text) - at)
        pieces = ((first, evidence.quote[:inside].strip()), (second, evidence.quote[inside:].strip()))
        return [Evidence(utterance=part.utterance, quote=words) for part, words in pieces if words]
    # A quote may be trimmed of marks and may have its own spaces: word by word.
    quote, before, after = evidence.quote.split(), first.text.split(), second.text.split()
    start = _find([*before, *after], quote)
    if start is None:
        # Not word for word: to the part with which it shares more.
        shared = [len(set(map(_bare, quote)) & set(map(_bare, part))) for part in (before, after)]
        part = second if shared[1] > shared[0] else first
        return [Evidence(utterance=part.utterance, quote=evidence.quote)]
    mine = max(0, len(before) - start)
    parts = ((first, quote[:mine]), (second, quote[mine:]))
    return [Evidence(utterance=part.utterance, quote=" ".join(words)) for part, words in parts if words]


def _find(text: Sequence[str], quote: Sequence[str]) -> int | None:
    """Return the index of the first word of the quote; punctuation is ignored, since quotes are trimmed."""
    wanted, heard = [_bare(word) for word in quote], [_bare(word) for word in text]
    starts = range(len(heard) - len(wanted) + 1)
    return next((at for at in starts if wanted and heard[at : at + len(wanted)] == wanted), None)


def _bare(word: str) -> str:
    return "".join(letter for letter in word.casefold() if letter.isalnum())
