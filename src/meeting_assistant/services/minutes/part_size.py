"""How much of a transcript goes into one question: as much as the model reads, and never uselessly little. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from meeting_assistant.domain.errors import LlmError

ANSWER_TOKENS = 2000
SMALLEST_ANSWER_TOKENS = 700
MARGIN = 0.95
"""Of what an estimate says fits."""
PART_TOKENS = 12_000
"""More at once would fit many models, and they would overlook more."""
SMALLEST_PART_TOKENS = 400
"""About twenty lines: from fewer a model cannot tell what matters, and each costs a whole question."""
FEW_PARTS = 8
"""A short rest may be read in smaller parts still."""
MAX_HALVINGS = 6


@dataclass(slots=True)
class PartSize:
    """Size of the parts of one transcript; it shrinks when a part turns out to be too long."""

    context_tokens: int
    """How much the model reads and writes in all."""
    most_utterances: int
    halvings: int = 0

    @property
    def answer_tokens(self) -> int:
        """Room for an answer; a model that reads little has less."""
        return min(ANSWER_TOKENS, max(SMALLEST_ANSWER_TOKENS, self.context_tokens // 4))

    def room(self, taken_tokens: int) -> int:
        """Return how many tokens of a transcript fit beside what every question holds."""
        free = int((self.context_tokens - self.answer_tokens) * MARGIN) - taken_tokens
        return max(SMALLEST_PART_TOKENS, min(PART_TOKENS, free))

    def shrink(self, error: LlmError, *, utterances: int, tokens: int, unread: int) -> None:
        """Halve the parts after one of that size was too long. Raises LlmError when that is useless.

        `unread`: utterances that are left, those of the part included.
        """
        self.halvings += 1
        half = utterances // 2
        is_tiny = tokens < 2 * SMALLEST_PART_TOKENS and half and -(-unread // half) > FEW_PARTS
        if not half or is_tiny or self.halvings > MAX_HALVINGS:
            if "llm_context_overflow" not in {error.code, *error.causes}:
                raise error
            raise LlmError(
                f"{error.message} Smaller parts of a meeting would be too short to write minutes from.",
                error.remedy,
                code=error.code,
                causes=error.causes,
                context_limit=error.context_limit,
            ) from error
        self.most_utterances = half
        # How much of the text a server kept when it cut it does not say how much it would have read uncut.
        if error.context_limit is not None and not error.is_silent_cut:
            self.context_tokens = min(self.context_tokens, error.context_limit)
