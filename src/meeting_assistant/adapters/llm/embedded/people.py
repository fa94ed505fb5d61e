"""Who is meant by a name that was said."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cached_property

from meeting_assistant.adapters.llm.embedded.due_dates import MONTHS, WEEKDAYS
from meeting_assistant.adapters.llm.embedded.sentences import Sentence, normalise
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


class People:
    """The names known beforehand and the names heard.

    A speaker's name gives the speaker's label, an attendee's name is given back as it was written; any other
    name is kept as it was said. A first name that two people share is kept as said, too.
    """

    def __init__(self, speakers: Iterable[Speaker], attendees: Iterable[str], sentences: Sequence[Sentence]):
        self._owners: dict[str, str | None] = {}
        """Normalised form of a known name to the owner it stands for; None when two people share it."""
        for speaker in speakers:
            if speaker.name:
                self._add(speaker.name, speaker.label)
        labels = dict(self._owners)
        for attendee in attendees:
            full = _form(attendee)
            if full and labels.get(full) is None:
                self._add(attendee, attendee.strip())
        self._longest = max((form.count(" ") + 1 for form in self._owners), default=0)
        self._sentences = sentences

    def _add(self, name: str, owner: str) -> None:
        words = [_form(word) for word in name.split()]
        forms = {_form(name), words[0] if words else "", words[-1] if words else ""} - {""}
        for form in forms:
            known = self._owners.get(form, owner)
            self._owners[form] = owner if known == owner else None

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
                said = " ".join(sentence.word(k) for k in range(token, token + length))
                return self._owners[form] or _capitalised(said), token + length
        if token < len(sentence.tokens) and self._looks_like_a_name(sentence, token):
            return sentence.word(token), token + 1
        return None

    def _looks_like_a_name(self, sentence: Sentence, token: int) -> bool:
        word = sentence.word(token)
        normal = sentence.tokens[token].normal
        if not word[:1].isupper() or not word.isalpha() or len(word) < 2 or word.isupper():
            return False
        if normal in _NOT_NAMES or normal in WEEKDAYS or normal in MONTHS:
            return False
        before = sentence.tokens[token - 1].normal if token else ""
        return (
            before not in {"the", "a", "an", "our", "my", "your", "this"}
            and word.casefold() not in self._lower_cased
        )


def _form(name: str) -> str:
    return " ".join(normalise(word) for word in name.split()).strip()


def _capitalised(said: str) -> str:
    return re.sub(r"\b\w", lambda m: m.group().upper(), said) if said.islower() else said
