"""What was said: words, hypotheses, utterances. Milliseconds from the start of the meeting throughout."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Timing = Literal["engine", "estimated"]
"""`engine`: word times come from the engine's alignment. `estimated`: spread over the voiced part of the
utterance by word length (see `services/word_timing.py`), good to a few hundred milliseconds."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class Word(_Record):
    """One word as it is written, punctuation included."""

    text: str
    start_ms: int
    end_ms: int
    confidence: float | None = None
    """0..1 where the engine gives one, else null: never invented."""


class Utterance(_Record):
    """Speech between two endpoints, decoded in full."""

    utterance: int
    """Stable id, counted from 1 within the meeting."""
    rev: int = 1
    """Grows when the utterance is replaced in place."""
    start_ms: int
    end_ms: int
    speaker: str | None = None
    """A label such as `S1`; null when nobody can tell."""
    text: str
    words: list[Word] = Field(default_factory=list)
    timing: Timing = "estimated"
    """Where the word times come from."""


class Speaker(_Record):
    """A voice of the meeting."""

    label: str
    """`S1`, `S2`… in order of first appearance."""
    name: str | None = None
    """Given by a person; null until then."""


class Gap(_Record):
    """A stretch of sound that is not in the transcript, with the reason: loss is never silent."""

    start_ms: int
    end_ms: int
    reason: str


class Transcript(_Record):
    """The whole of what was said, in order."""

    utterances: list[Utterance] = Field(default_factory=list)
    speakers: list[Speaker] = Field(default_factory=list)
    gaps: list[Gap] = Field(default_factory=list)

    def speaker_name(self, label: str | None) -> str:
        """What to show for a label: the given name, else `Speaker 2`, else `Unknown speaker`."""
        return display_name(label, {s.label: s.name for s in self.speakers})


def display_name(label: str | None, names: dict[str, str | None]) -> str:
    """What to show for a speaker label; a label is never shown raw."""
    if label is None:
        return "Unknown speaker"
    given = names.get(label)
    if given:
        return given
    return f"Speaker {label[1:]}" if label[:1] == "S" and label[1:].isdigit() else label
