"""Does the transcript carry what a language model wrote? Pure.

A quote has to stand in the lines that are cited, nearly word for word (a threshold of 78 accepted all exact quotes,
most lightly edited ones and none from other places in trials on real meetings); numbers and names of an item have to
stand there exactly. What is kept as the quote is what was said, not what the model copied.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from rapidfuzz import fuzz

from meeting_assistant.domain.minutes import Evidence
from meeting_assistant.domain.transcript import Transcript, Utterance

NEARLY_SAID = 78.0
CERTAINLY_SAID = 92.0
"""From here on a quote is found even where other lines were cited."""
_MIN_QUOTE = 8
_WORD = re.compile(r"[\w'\u2019-]+")
_TO_THE_MODEL = re.compile(
    r"\b(ignore|disregard|forget|override|do not follow)\b.{0,40}\b(instructions?|prompts?|rules|guidelines)\b"
    r"|\b(ignorier\w*|vergiss\w*|missachte\w*)\b.{0,40}\b(anweisung\w*|regeln)\b"
    r"|\b(ignore[zr]?|oublie[zr]?)\b.{0,40}\b(instructions|consignes|r\u00e8gles)\b"
    r"|\b(ignora|ignore|olvida)\b.{0,40}\b(instrucciones|reglas)\b"
    r"|\bsystem (prompt|message|override)\b|^\W*(system|assistant)\s*:"
    r"|\byou are now\b.{0,40}\b(ai|assistant|model|dan)\b"
    r"|\b(ai|language model)\b.{0,30}\b(must|should|please)\b.{0,40}\b(write|add|output|post|put|say|send)\b",
    re.IGNORECASE,
)
"""What is said to whoever writes the minutes is no matter of the meeting: it carries nothing."""
_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")


@dataclass(frozen=True, slots=True)
class Grounded:
    """What of an item the transcript carries."""

    evidence: tuple[Evidence, ...]
    """Empty: nothing of it, it must not be shown."""
    is_exact: bool
    """False: the quote stands there, but a number or a name of the item does not."""


class Grounding:
    """The transcript of one meeting, to hold items against."""

    def __init__(self, transcript: Transcript, names: Collection[str] = ()) -> None:
        """`names`: of people who may be mentioned although nobody said their name."""
        self._said: Mapping[int, Utterance] = {
            u.utterance: u for u in transcript.utterances if not _TO_THE_MODEL.search(u.text)
        }
        self._order = list(self._said)
        self._names = {word.casefold() for name in names for word in _WORD.findall(name)}
        speakers = {transcript.speaker_name(u.speaker) for u in transcript.utterances}
        self._names |= {word.casefold() for name in speakers for word in _WORD.findall(name)}

    def check(self, text: str, lines: Sequence[int], quote: str) -> Grounded:
        """Hold one item against the lines that it cites."""
        found = self._locate(quote, [line for line in lines if line in self._said])
        if found is None:
            return Grounded((), is_exact=False)
        cited = " ".join(
            self._said[n].text
            for n in dict.fromkeys((*(e.utterance for e in found), *lines))
            if n in self._said
        )
        return Grounded(found, is_exact=self._carries(text, cited))

    def check_point(self, text: str, lines: Sequence[int]) -> Grounded:
        """A sentence of the summary has no quote: its lines hold its numbers, its names and most of its words."""
        known = [line for line in dict.fromkeys(lines) if line in self._said]
        cited = " ".join(self._said[line].text for line in known)
        if not known or fuzz.token_set_ratio(_plain(text), _plain(cited)) < 45:
            return Grounded((), is_exact=False)
        evidence = tuple(Evidence(utterance=line, quote=self._said[line].text) for line in known[:3])
        return Grounded(evidence, is_exact=self._carries(text, cited))

    def _locate(self, quote: str, lines: Sequence[int]) -> tuple[Evidence, ...] | None:
        wanted = _plain(quote)
        if len(wanted) < _MIN_QUOTE and wanted not in {_plain(self._said[line].text) for line in lines}:
            return None
        near = dict.fromkeys(n for line in lines for n in self._around(line))
        best = max(((self._score(wanted, n), -i, n) for i, n in enumerate(near)), default=None)
        if best is not None and best[0] >= NEARLY_SAID:
            return (self._evidence(wanted, best[2]),)
        joined = self._across(wanted, lines)
        if joined is not None:
            return joined
        best = max(((self._score(wanted, n), -i, n) for i, n in enumerate(self._order)), default=None)
        if best is not None and best[0] >= CERTAINLY_SAID and len(wanted) >= 2 * _MIN_QUOTE:
            return (self._evidence(wanted, best[2]),)
        return None

    def _across(self, wanted: str, lines: Sequence[int]) -> tuple[Evidence, ...] | None:
        """A quote that runs over two lines."""
        for first, second in pairwise(lines):
            both = _plain(f"{self._said[first].text} {self._said[second].text}")
            if fuzz.partial_ratio(wanted, both) >= NEARLY_SAID:
                return tuple(Evidence(utterance=n, quote=self._said[n].text) for n in (first, second))
        return None

    def _around(self, line: int) -> list[int]:
        at = self._order.index(line)
        return [line, *self._order[max(0, at - 1) : at], *self._order[at + 1 : at + 2]]

    def _score(self, wanted: str, line: int) -> float:
        said = _plain(self._said[line].text)
        # A quote longer than the line can hold only part of it: the shorter one must not win by being short.
        if len(said) < 0.6 * len(wanted):
            return 0.0
        return float(fuzz.partial_ratio(wanted, said))

    def _evidence(self, wanted: str, line: int) -> Evidence:
        """The words that were said there, whole words, as they stand in the transcript."""
        text = self._said[line].text
        words = list(_WORD.finditer(text))
        plain = [_plain(word.group()) for word in words]
        said = " ".join(plain)
        alignment = fuzz.partial_ratio_alignment(wanted, said)
        if alignment is None or not words:
            return Evidence(utterance=line, quote=text)
        position, first, last = 0, None, 0
        for index, word in enumerate(plain):
            if position < alignment.dest_end and position + len(word) > alignment.dest_start:
                first = index if first is None else first
                last = index
            position += len(word) + 1
        if first is None:
            return Evidence(utterance=line, quote=text)
        return Evidence(utterance=line, quote=text[words[first].start() : words[last].end()])

    def _carries(self, text: str, cited: str) -> bool:
        """Every number and every name of the item is said there, or names somebody who is present."""
        if not set(_NUMBER.findall(text)) <= set(_NUMBER.findall(cited)):
            return False
        said = {word.casefold() for word in _WORD.findall(cited)}
        sentences = re.split(r"(?<=[.!?])\s+", text)
        names = [
            word.casefold()
            for sentence in sentences
            for word in _WORD.findall(sentence)[1:]
            if word[:1].isupper() and word != "I"
        ]
        return all(name in said or name in self._names or name.removesuffix("'s") in said for name in names)


def _plain(text: str) -> str:
    return " ".join(_WORD.findall(unicodedata.normalize("NFKC", text).casefold()))


def owner_of(owner: str, transcript: Transcript, attendees: Collection[str]) -> str | None:
    """The label of a speaker, the name of somebody invited or a name that was literally said; else nobody."""
    wanted = _plain(owner)
    if not wanted:
        return None
    for speaker in transcript.speakers:
        if wanted in (_plain(speaker.label), _plain(transcript.speaker_name(speaker.label))):
            return speaker.label
    for name in attendees:
        if wanted == _plain(name) or wanted in _plain(name).split():
            return name
    for utterance in transcript.utterances:
        for word in _WORD.findall(utterance.text):
            if word[:1].isupper() and _plain(word) == wanted:
                return str(word)
    return None
