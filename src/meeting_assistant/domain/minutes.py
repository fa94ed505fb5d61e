"""Minutes as typed items, each with its evidence."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Support = Literal["verified", "weak", "by_hand"]
"""`verified`: the cited utterances contain the quote, and it supports the item. `weak`: a cue, not a statement.
`by_hand`: a person wrote it."""
_SPEAKER = re.compile(r"\{([SP]\d{1,4})\}")


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class Evidence(_Record):
    """The source of an item."""

    utterance: int
    """Id of the utterance that says it."""
    quote: str
    """Verbatim words of that utterance."""


class Item(_Record):
    """A statement of the minutes."""

    id: str
    """Stable within the minutes: `d1`, `a2`, `q1`…"""
    text: str
    evidence: list[Evidence]
    support: Support = "verified"
    is_edited: bool = False
    """A person changed or wrote it; it stays when the minutes are written again."""
    original_text: str | None = None
    """The text before a person edited the item."""


class ActionItem(Item):
    """A task for a person."""

    owner: str | None = None
    """A speaker label (`S2`) or a name that was literally said; null when nobody was named."""
    due: date | None = None
    """The day, resolved against the meeting's date; null when no day was said or it cannot be resolved."""
    due_phrase: str | None = None
    """The words that name the time, as said: `by Friday`."""


class Provenance(_Record):
    """The origin of the minutes: what wrote them, and with what effort."""

    provider: str
    """`embedded`, `vllm`, `openai`…"""
    others: list[str] = Field(default_factory=list)
    """Providers that wrote other parts of a long meeting, when this one did not answer."""
    model: str | None = None
    seconds: float = 0.0
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    dropped_items: int = 0
    """Items that failed the evidence check and are not shown."""


class Section(_Record):
    """A part of the minutes that a template adds, such as the blockers of a stand-up."""

    key: str
    title: str
    items: list[Item] = Field(default_factory=list)


class Minutes(_Record):
    """The minutes of one meeting. An empty list says that nothing of that kind was found."""

    version: int = 1
    template: str = "general"
    """The kind of meeting that they are written for."""
    language: str = "en"
    """Language of the minutes."""
    written_at_ms: int = 0
    """Unix time."""
    summary: list[Item] = Field(default_factory=list)
    """The main points, in order of time."""
    topics: list[str] = Field(default_factory=list)
    decisions: list[Item] = Field(default_factory=list)
    action_items: list[ActionItem] = Field(default_factory=list)
    open_questions: list[Item] = Field(default_factory=list)
    risks: list[Item] = Field(default_factory=list)
    possible_follow_ups: list[ActionItem] = Field(default_factory=list)
    """Tasks that were mentioned and not agreed on."""
    sections: list[Section] = Field(default_factory=list)
    """Sections of the template, in its order."""
    removed: list[Item] = Field(default_factory=list)
    """Items that a person removed; they do not return when the minutes are written again."""
    numbers: dict[str, int] = Field(default_factory=dict)
    """The highest number given so far, by the prefix of ids: an id is never used twice."""
    provenance: Provenance = Provenance(provider="embedded")

    @property
    def is_empty(self) -> bool:
        """True when there are no items."""
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
        """Yield the items of every kind, without those that a person removed."""
        for kind in KINDS:
            yield from getattr(self, kind)
        for section in self.sections:
            yield from section.items

    def map_items(self, change: Callable[[Item], Item | None]) -> Minutes:
        """Return the minutes with every item replaced by the result of `change`; None removes an item."""

        def of(items: Sequence[Item]) -> list[Item]:
            return [changed for item in items if (changed := change(item)) is not None]

        sections = [s.model_copy(update={"items": of(s.items)}) for s in self.sections]
        return self.model_copy(
            update={**{kind: of(getattr(self, kind)) for kind in KINDS}, "sections": sections}
        )

    def with_names(self, name_of: Callable[[str], str]) -> Minutes:
        """Return the minutes with names in the place of speaker marks."""
        return self.map_items(lambda item: item.model_copy(update={"text": named(item.text, name_of)}))


KINDS = ("summary", "decisions", "action_items", "open_questions", "risks", "possible_follow_ups")
"""The lists of items that all minutes have."""


def speaker_mark(label: str) -> str:
    """Return the mark that stands for a speaker in a stored text, so that a new name changes the minutes, too."""
    return f"{{{label}}}"


def named(text: str, name_of: Callable[[str], str]) -> str:
    """Return a text with names in the place of speaker marks."""
    return _SPEAKER.sub(lambda match: name_of(match[1]), text)
