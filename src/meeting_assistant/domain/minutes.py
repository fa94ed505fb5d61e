"""Minutes as typed items, each with the evidence that carries it."""

from __future__ import annotations

from datetime import date
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Support = Literal["verified", "weak"]
"""`verified`: the quote stands in the cited utterances and says so. `weak`: a cue, not a statement."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class Evidence(_Record):
    """Where an item comes from."""

    utterance: int
    """Id of the utterance that says it."""
    quote: str
    """Verbatim words of that utterance."""


class Item(_Record):
    """A statement of the minutes that the transcript carries."""

    id: str
    """Stable within the minutes: `d1`, `a2`, `q1`…"""
    text: str
    evidence: list[Evidence]
    support: Support = "verified"


class ActionItem(Item):
    """Something that somebody is to do."""

    owner: str | None = None
    """A speaker label (`S2`) or a name that was literally said; null when nobody was named."""
    due: date | None = None
    """The day, resolved against the meeting's date; null when no day was said or it cannot be resolved."""
    due_phrase: str | None = None
    """The words that name the time, as said: `by Friday`."""


class Provenance(_Record):
    """Who wrote the minutes."""

    provider: str
    """`embedded`, `vllm`, `openai`…"""
    model: str | None = None
    seconds: float = 0.0
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    dropped_items: int = 0
    """What the writer gave and the transcript does not carry; it is not shown."""


class Minutes(_Record):
    """The minutes of one meeting. Empty lists say that nothing of the kind was found."""

    version: int = 1
    summary: list[Item] = Field(default_factory=list)
    """The sentences that carry the meeting, in order of time."""
    topics: list[str] = Field(default_factory=list)
    decisions: list[Item] = Field(default_factory=list)
    action_items: list[ActionItem] = Field(default_factory=list)
    open_questions: list[Item] = Field(default_factory=list)
    risks: list[Item] = Field(default_factory=list)
    possible_follow_ups: list[ActionItem] = Field(default_factory=list)
    """Softer cues: never dressed up as agreed items."""
    provenance: Provenance = Provenance(provider="embedded")

    @property
    def is_empty(self) -> bool:
        """True when there is nothing to show."""
        return not (
            self.summary
            or self.decisions
            or self.action_items
            or self.open_questions
            or self.risks
            or self.possible_follow_ups
        )
