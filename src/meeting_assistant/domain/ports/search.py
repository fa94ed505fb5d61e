"""Finding what was said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from meeting_assistant.domain.transcript import Utterance


@dataclass(frozen=True, slots=True)
class SearchHit:
    """An utterance that holds what was looked for."""

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
        """Best first. Of one owner or of all, of one meeting or of all; with any of the words, or with all."""
        ...


class QuestionReader(Protocol):
    """Reads a question without a language model."""

    def keywords(self, question: str, language: str) -> tuple[str, ...]:
        """The words that carry it, as they stand there, in order; empty for a question of light words only."""
        ...

    def best(self, question: str, texts: Sequence[str], language: str) -> list[int]:
        """Indexes of the texts that hold most of what the question asks about, best first; empty when none does."""
        ...
