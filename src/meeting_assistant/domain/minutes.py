"""Minutes as typed items, each with the evidence that carries it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Support = Literal["verified", "weak", "by_hand"]
"""`verified`: the quote stands in the cited utterances and says so. `weak`: a cue, not a statement. `by_hand`: a person
wrote it."""
_SPEAKER = re.compile(r"\{([SP]\d{1,4})\}")


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
    is_edited: bool = False
    """A person changed or wrote it: writing the minutes again keeps it as it is."""
    original_text: str | None = None
    """Of an edited item: what the writer had written."""


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
    others: list[str] = Field(default_factory=list)
    """Providers that wrote other parts of a long meeting, because this one did not answer then."""
    model: str | None = None
    seconds: float = 0.0
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    dropped_items: int = 0
    """What the writer gave and the transcript does not carry; it is not shown."""


class Section(_Record):
    """A part of the minutes that only some kinds of meetings have: what stands in the way, for a stand-up."""

    key: str
    title: str
    items: list[Item] = Field(default_factory=list)


class Minutes(_Record):
    """The minutes of one meeting. Empty lists say that nothing of the kind was found."""

    version: int = 1
    template: str = "general"
    """Which kind of meeting they are written for."""
    language: str = "en"
    """Language that was asked for."""
    written_at_ms: int = 0
    """Unix time."""
    summary: list[Item] = Field(default_factory=list)
    """The sentences that carry the meeting, in order of time."""
    topics: list[str] = Field(default_factory=list)
    decisions: list[Item] = Field(default_factory=list)
    action_items: list[ActionItem] = Field(default_factory=list)
    open_questions: list[Item] = Field(default_factory=list)
    risks: list[Item] = Field(default_factory=list)
    possible_follow_ups: list[ActionItem] = Field(default_factory=list)
    """Softer cues: never dressed up as agreed items."""
    sections: list[Section] = Field(default_factory=list)
    """Of the template, in its order."""
    removed: list[Item] = Field(default_factory=list)
    """What a person took out: writing the minutes again does not bring it back."""
    numbers: dict[str, int] = Field(default_factory=dict)
    """By what ids begin with, the highest number that was ever given: no other item gets an id again."""
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
            or any(section.items for section in self.sections)
        )

    def items(self) -> Iterator[Item]:
        """All of them, of every kind, without those that were taken out."""
        for kind in KINDS:
            yield from getattr(self, kind)
        for section in self.sections:
            yield from section.items

    def map_items(self, change: Callable[[Item], Item | None]) -> Minutes:
        """With every item changed; None leaves it out."""

        def of(items: Sequence[Item]) -> list[Item]:
            return [changed for item in items if (changed := change(item)) is not None]

        sections = [s.model_copy(update={"items": of(s.items)}) for s in self.sections]
        return self.model_copy(
            update={**{kind: of(getattr(self, kind)) for kind in KINDS}, "sections": sections}
        )

    def with_names(self, name_of: Callable[[str], str]) -> Minutes:
        """As people read them: where an item names a speaker, the name that the speaker has now."""
        return self.map_items(lambda item: item.model_copy(update={"text": named(item.text, name_of)}))


KINDS = ("summary", "decisions", "action_items", "open_questions", "risks", "possible_follow_ups")
"""The lists of items that all minutes have."""


def speaker_mark(label: str) -> str:
    """Stands in an item's stored text for a speaker, so that naming one changes the minutes too."""
    return f"{{{label}}}"


def named(text: str, name_of: Callable[[str], str]) -> str:
    """With names in the place of speaker marks."""
    return _SPEAKER.sub(lambda match: name_of(match[1]), text)
