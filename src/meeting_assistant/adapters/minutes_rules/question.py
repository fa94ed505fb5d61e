"""Reading a question without a language model: which words carry it, and which texts hold them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

from meeting_assistant.adapters.minutes_rules.language import Language

_WORD = re.compile(r"[\w'\u2019-]+")
_ASKING = frozenset("who what when where why how which whose whom tell find show list did does".split())
HOLDS_ENOUGH = 0.5
"""Share of the words of a question that a text has to hold to be an answer."""


class EmbeddedQuestionReader:
    """Implements `QuestionReader` with stop words and stems. Deterministic."""

    def keywords(self, question: str, language: str) -> tuple[str, ...]:
        """Return the content words of a question as they are written, in order and each once."""
        known = _language(language)
        words = [word.strip("'\u2019-") for word in _WORD.findall(question)]
        carrying = [w for w in words if w.casefold() not in _ASKING and known.terms([w.casefold()])]
        return tuple(dict.fromkeys(carrying))

    def best(self, question: str, texts: Sequence[str], language: str) -> list[int]:
        """Rank texts by how much of the question they hold, then by how little else; return their indexes.

        Texts that hold less than half of the terms of the question are left out.
        """
        known = _language(language)
        asked = set(known.terms([word.casefold() for word in self.keywords(question, language)]))
        if not asked:
            return []
        ranked: list[tuple[float, int, int]] = []
        for index, text in enumerate(texts):
            words = [word.casefold() for word in _WORD.findall(text)]
            share = len(asked & set(known.terms(words))) / len(asked)
            if share >= HOLDS_ENOUGH:
                ranked.append((-share, len(words), index))
        return [index for _, _, index in sorted(ranked)]


@cache
def _language(code: str) -> Language:
    return Language(code.partition("-")[0].lower())
