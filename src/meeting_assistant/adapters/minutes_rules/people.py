"""Resolution of spoken names to speakers and attendees."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cached_property

from meeting_assistant.adapters.minutes_rules.due_dates import MONTHS, WEEKDAYS
from meeting_assistant.adapters.minutes_rules.language import Language
from meeting_assistant.adapters.minutes_rules.sentences import Sentence, normalise
from meeting_assistant.domain.transcript import Speaker

_NOT_NAMES = frozenset(
    "perfect great cool awesome excellent fantastic brilliant nice fine lovely wonderful morning guys folks all"
    " everybody everyone anybody somebody someone people team users customers clients management marketing sales"
    " engineering support finance legal design operations god jesus listen look hi hey hello thanks thank sorry"
    " sure okay yes no yeah right now then so and but or well maybe perhaps i we you he she they it this that there"
    " what who when where why how which the a an my our your his her their if because please somehow sometime"
    " agreed exactly absolutely definitely correct cheers bye welcome mr mrs ms dr sir madam can could would will"
    " chair everything something nothing anything question action decision next first last also again actually"
    " otherwise whoever nobody none one two three four five".split()
)
_DETERMINERS = frozenset("the a an our my your this that".split())
_ROLES = frozenset(
    "manager designer engineer expert lead director officer secretary developer editor analyst architect".split()
)


class People:
    """The names known beforehand and the names heard.

    A speaker's name gives the speaker's label, an attendee's name is given back as it was written; any other
    name is kept as it was said. A first name that two people share is kept as said, too.
    """

    def __init__(self, speakers: Iterable[Speaker], attendees: Iterable[str], sentences: Sequence[Sentence]):
        self._owners: dict[str, dict[str, str]] = {}
        """Normalised form of a known name, to who may be meant, to what to call them."""
        for speaker in speakers:
            if speaker.name:
                self._add(speaker.name, label=speaker.label)
        named_speakers = set(self._owners)
        for attendee in attendees:
            if _form(attendee) not in named_speakers:
                self._add(attendee)
        self._longest = max((form.count(" ") + 1 for form in self._owners), default=0)
        self._sentences = sentences
        self._common = Language("en").stop_words

    def _add(self, name: str, *, label: str | None = None) -> None:
        words = name.split()
        for part in (words[:1], words[-1:], words):
            form = _form(" ".join(part))
            if form:
                self._owners.setdefault(form, {})[label or _form(name)] = label or " ".join(part)

    @cached_property
    def _lower_cased(self) -> frozenset[str]:
        """Words that stand somewhere without a capital: hardly names."""
        return frozenset(
            s.word(k).casefold()
            for s in self._sentences
            for k in range(len(s.tokens))
            if not s.word(k)[:1].isupper()
        )

    def at(self, sentence: Sentence, token: int) -> tuple[str, int] | None:
        """The owner named at this token and the end of the name, or None when no name stands there."""
        for length in range(min(self._longest, len(sentence.tokens) - token), 0, -1):
            form = sentence.normal_of(token, token + length)
            if form in self._owners:
                meant = list(self._owners[form].values())
                spoken = " ".join(sentence.word(k) for k in range(token, token + length))
                return meant[0] if len(meant) == 1 else _capitalised(spoken), token + length
        return self._heard(sentence, token)

    def _heard(self, sentence: Sentence, token: int) -> tuple[str, int] | None:
        """A name by its capital letters, or a role (`the Project Manager`)."""
        end = token
        while end < min(len(sentence.tokens), token + 4) and self._looks_like_a_name(sentence, end):
            end += 1
            if sentence.tokens[end - 1].comma:
                break
        if end == token or (token > 0 and self._looks_like_a_name(sentence, token - 1)):
            return None
        before = sentence.tokens[token - 1].normal if token else ""
        is_role = end - token > 1 and sentence.tokens[end - 1].normal in _ROLES
        if before in _DETERMINERS and not (is_role and before == "the"):
            return None
        return " ".join(sentence.word(k) for k in range(token, end)), end

    def _looks_like_a_name(self, sentence: Sentence, token: int) -> bool:
        word = sentence.word(token)
        normal = sentence.tokens[token].normal
        if not word[:1].isupper() or not word.isalpha() or len(word) < 2 or word.isupper():
            return False
        if normal in _NOT_NAMES or normal in self._common or normal in WEEKDAYS or normal in MONTHS:
            return False
        return word.casefold() not in self._lower_cased or normal in _ROLES or _is_in_a_role(sentence, token)


def _is_in_a_role(sentence: Sentence, token: int) -> bool:
    """`User` of `User Interface Designer`: its words may also stand in lower case elsewhere."""
    ahead = range(token + 1, min(len(sentence.tokens), token + 4))
    for k in ahead:
        if not sentence.word(k)[:1].isupper():
            return False
        if sentence.tokens[k].normal in _ROLES:
            return True
    return False


def _form(name: str) -> str:
    return " ".join(normalise(word) for word in name.split()).strip()


def _capitalised(spoken: str) -> str:
    return re.sub(r"\b\w", lambda m: m.group().upper(), spoken) if spoken.islower() else spoken
