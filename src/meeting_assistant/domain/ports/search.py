"""Full-text search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from meeting_assistant.domain.transcript import Utterance


@dataclass(frozen=True, slots=True)
class SearchHit:
    """An utterance that a search found."""

    meeting_id: str
    utterance: Utterance
    """Without its words."""


class SearchIndex(Protocol):
    """Full-text search over all transcripts."""

    async def search(
        self,
        words: Sequence[str],
        *,
        owner: str | None = None,
        meeting_id: str | None = None,
        has_all: bool = False,
        limit: int = 20,
    ) -> list[SearchHit]:
        """Return utterances, best first: of one owner or all, of one meeting or all, with any of the words or all."""
        ...


class QuestionReader(Protocol):
    """Interprets a question without a language model."""

    def keywords(self, question: str, language: str) -> tuple[str, ...]:
        """Return the content words of a question as they are written, in order; empty when there are none."""
        ...

    def best(self, question: str, texts: Sequence[str], language: str) -> list[int]:
        """Return the indexes of the texts that match the question best, best first; empty when none does."""
        ...
