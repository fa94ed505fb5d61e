"""Numbers, days and months of a text, whichever way they are written: `4,500` is `four thousand five hundred`. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from itertools import pairwise

from meeting_assistant.services.minutes.evidence.number_words import (
    NumberWords,
    german_compound,
    number_words,
)

_TOKEN = re.compile(r"\d+(?:[.,:]\d+)*|[^\W\d_]+")
_GROUPED = re.compile(r"\d{1,3}(?:[.,]\d{3})+")
_SPACED = re.compile(r"(?<=\d)[\u00a0\u202f\u2009](?=\d{3}(?!\d))")
_ORDINAL_ENDINGS = frozenset({"st", "nd", "rd", "th", "er", "ère", "ème", "e", "o", "a"})


@dataclass(slots=True)
class _Number:
    """A number that is being said, word by word."""

    total: Decimal = Decimal(0)
    current: Decimal | None = None
    last_scale: int = 10**12
    is_over: bool = False
    is_french: bool = False

    @property
    def value(self) -> Decimal:
        return self.total + (self.current or 0)

    def takes(self, value: int) -> bool:
        """A word below a hundred."""
        if self.is_over:
            return False
        now = self.current
        if now is None:
            self.current = Decimal(value)
        elif self.is_french and now % 100 == 4 and value == 20:
            self.current = now + 76  # quatre-vingts
        elif (now % 100 == 0 and now >= 100) or self._is_open_ten(now, value):
            self.current = now + value
        else:
            return False
        return True

    def _is_open_ten(self, now: Decimal, value: int) -> bool:
        rest = now % 100
        goes_on = self.is_french and rest in (60, 80) and 10 <= value < 20
        return value > 0 and ((rest >= 20 and rest % 10 == 0 and value < 10) or goes_on)

    def takes_hundreds(self, count: int = 1) -> bool:
        """`hundred`, or `quinientos`."""
        if self.is_over or (self.current is not None and not 0 < self.current < 100):
            return False
        self.current = (self.current if self.current is not None else Decimal(1)) * 100 * count
        return True

    def takes_scale(self, scale: int) -> bool:
        """Apply a scale such as `thousand`; return False when it does not fit here."""
        if self.is_over or scale >= self.last_scale:
            return False
        self.total += (self.current if self.current is not None else Decimal(1)) * scale
        self.current, self.last_scale = None, scale
        return True

    def may_join(self) -> bool:
        """True where `and` may stand."""
        now = self.current
        return not self.is_over and (now is None or now >= 20)


@dataclass(slots=True)
class Facts:
    """The facts of a text: what a claim needs, or what a transcript gives."""

    runs: list[tuple[str, ...]] = field(default_factory=list)
    """Numbers that stand directly after each other."""
    days: set[str] = field(default_factory=set)

    @property
    def stated_facts(self) -> set[str]:
        """All that the text states, as one number and as several: `twenty twenty-six` is a year too."""
        stated = set(self.days)
        for run in self.runs:
            stated |= set(run)
            for first in range(len(run)):
                for end in range(first + 2, min(len(run), first + 12) + 1):
                    stated.add("".join(run[first:end]))
            stated |= {f"{hour}:{minute}" for hour, minute in pairwise(run)}
        return stated

    def missing_in(self, words: Collection[str]) -> bool:
        """Return True when one of the facts is not among the words."""
        if not self.days <= set(words):
            return True
        return any(
            not (set(run) <= set(words) or "".join(run) in words or ":".join(run) in words)
            for run in self.runs
        )


def facts_of(text: str, language: str, *, is_claim: bool) -> Facts:
    """`is_claim`: words that are rarely meant as a number are left out."""
    words = number_words(language)
    plain = unicodedata.normalize("NFKC", _SPACED.sub("", text))
    facts = Facts()
    run: list[str] = []
    end = 0
    for first, last, value in _found(plain, words, language, is_claim=is_claim):
        if value.startswith("@"):
            facts.days.add(value)
            continue
        if run and plain[end:first].strip(" -"):
            facts.runs.append(tuple(run))
            run = []
        run.append(value)
        end = last
    if run:
        facts.runs.append(tuple(run))
    return facts


def tokens_of(text: str, language: str) -> list[str]:
    """Return the words of a text in order, numbers as digits, to find a phrase word by word."""
    words = number_words(language)
    plain = unicodedata.normalize("NFKC", _SPACED.sub("", text))
    numbers = {
        first: (last, value)
        for first, last, value in _found(plain, words, language, is_claim=False)
        if not value.startswith("@")
    }
    tokens: list[str] = []
    end = 0
    for match in _TOKEN.finditer(plain):
        if match.start() in numbers:
            end, value = numbers[match.start()]
            tokens.append(value)
        elif match.start() >= end:
            word = match[0].casefold()
            if not (word in _ORDINAL_ENDINGS and plain[match.start() - 1 : match.start()].isdigit()):
                tokens.append(word)
    return tokens


def stands_in(phrase: Sequence[str], words: Sequence[str]) -> int | None:
    """Return where the words stand one after the other; None where they do not."""
    size = len(phrase)
    return next((n for n in range(len(words) - size + 1) if list(words[n : n + size]) == list(phrase)), None)


def _found(text: str, words: NumberWords, language: str, *, is_claim: bool) -> Iterator[tuple[int, int, str]]:
    """Yield numbers with their place, and days and months marked with `@`."""
    matches = list(_TOKEN.finditer(text))
    at = 0
    while at < len(matches):
        match = matches[at]
        word = match[0].casefold()
        if word[0].isdigit() and _digits(word) is None:
            yield match.start(), match.end(), _as_it_is(word)
            at += 1
            continue
        day = words.days.get(word)
        month = words.months.get(word)
        if day is not None or month is not None:
            is_vague = word in words.vague and (match[0][0].islower() or _begins(text, match.start()))
            if not (is_claim and is_vague):
                yield match.start(), match.end(), f"@day{day}" if day is not None else f"@month{month}"
            at += 1
            continue
        number = _Number(is_french=language == "fr")
        taken = _read(matches, at, words, language, number)
        if taken == 0:
            at += 1
            continue
        is_vague = taken == 1 and word in words.vague
        if not (is_claim and is_vague):
            yield match.start(), matches[at + taken - 1].end(), _plain(number.value)
        at += taken


def _read(
    matches: Sequence[re.Match[str]], at: int, words: NumberWords, language: str, number: _Number
) -> int:
    """Return how many words belong to the number that begins here."""
    taken = 0
    position = at
    while position < len(matches):
        word = matches[position][0].casefold()
        is_first = position == at
        between = matches[position].string[matches[position - 1].end() : matches[position].start()]
        if not is_first and between.strip(" -\u2010\u2011"):
            break
        if word in words.joins and not is_first and number.may_join() and position + 1 < len(matches):
            following = matches[position + 1][0].casefold()
            if following in words.small or following in words.tens or following in words.ordinals:
                word, position = following, position + 1
        if word in words.points and not is_first and number.current is not None:
            digits = _digits_after(matches, position + 1, words)
            if digits:
                number.current += Decimal("0." + digits)
                return position + 1 + len(digits) - at
        if not _takes(number, word, words, language, is_first=is_first):
            break
        position += 1
        taken = position - at
    return taken


def _takes(number: _Number, word: str, words: NumberWords, language: str, *, is_first: bool) -> bool:
    if word in words.ordinals:
        fits = number.takes(words.ordinals[word])
        number.is_over = True
        return fits
    if word in words.small or word in words.tens:
        return number.takes(words.small[word] if word in words.small else words.tens[word])
    if word in words.whole_hundreds:
        return number.takes(words.whole_hundreds[word])
    if word in words.hundred:
        return number.takes_hundreds()
    if word in words.scales:
        # `k` alone is a letter; `a thousand` is one.
        return not (is_first and len(word) < 3) and number.takes_scale(words.scales[word])
    if is_first and (value := _digits(word)) is not None:
        number.current = value
        return True
    compound = german_compound(word) if language == "de" else None
    if compound is not None and is_first:
        number.current = Decimal(compound)
        return True
    return False


def _digits_after(matches: Sequence[re.Match[str]], at: int, words: NumberWords) -> str:
    digits = ""
    for match in matches[at:]:
        value = words.small.get(match[0].casefold(), 10)
        if value > 9:
            break
        digits += str(value)
    return digits


def _digits(word: str) -> Decimal | None:
    """`4,500` and `4.5`; None for what is no single number (`12:30`, `1.2.3`)."""
    if not word[0].isdigit() or ":" in word:
        return None
    if _GROUPED.fullmatch(word):
        word = re.sub(r"[.,]", "", word)
    try:
        return Decimal(word.replace(",", "."))
    except InvalidOperation:
        return None


def _as_it_is(word: str) -> str:
    return ":".join(part.lstrip("0") or "0" for part in word.split(":")) if ":" in word else word


def _plain(value: Decimal) -> str:
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _begins(text: str, at: int) -> bool:
    before = text[:at].rstrip()
    return not before or before[-1] in ".!?:"
