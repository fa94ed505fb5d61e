"""What was said: words, hypotheses, utterances. Milliseconds from the start of the meeting throughout."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Timing = Literal["engine", "estimated"]
"""`engine`: word times come from the engine's alignment. `estimated`: spread over the voiced part of the
utterance by word length (see `services/asr/word_timing.py`), good to a few hundred milliseconds."""


PROVISIONAL = "S?"
"""Speaker of an utterance that was too short to tell whose voice it is; a later `speakers` event says, at the latest
when the meeting ends."""
PERSON_PREFIX = "P"
"""Labels that people make: no engine ever gives one of them to a voice that it hears later."""


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
    """A label such as `S1`; `S?` while that is still being found out; null when nobody can tell."""
    is_assigned: bool = False
    """A person said who it was: engines leave it alone."""
    overlap: bool = False
    """Somebody else speaks during a part of it, as far as the engine can tell. The embedded one hears that only between
    two channels."""
    echo: str | None = None
    """Words that the other channel repeated within a second (a loudspeaker heard by a microphone), removed there."""
    text: str
    words: list[Word] = Field(default_factory=list)
    timing: Timing = "estimated"
    """Where the word times come from."""


class Speaker(_Record):
    """A voice of the meeting."""

    label: str
    """`S1`, `S2`… in order of first appearance; `P1`, `P2`… for speakers that people added."""
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

    def settled(self) -> Transcript:
        """Without what is still provisional: who is not told yet is unknown."""
        if not any(utterance.speaker == PROVISIONAL for utterance in self.utterances):
            return self
        known = [
            u.model_copy(update={"speaker": None}) if u.speaker == PROVISIONAL else u for u in self.utterances
        ]
        return self.model_copy(update={"utterances": known})

    def speaker_name(self, label: str | None) -> str:
        """What to show for a label: the given name, else `Speaker 2`, else `Unknown speaker`."""
        return display_name(label, {s.label: s.name for s in self.speakers})


def display_name(label: str | None, names: dict[str, str | None]) -> str:
    """What to show for a speaker label; a label is never shown raw."""
    if label is None or label == PROVISIONAL:
        return "Unknown speaker"
    given = names.get(label)
    if given:
        return given
    if label[:1] == PERSON_PREFIX and label[1:].isdigit():
        return f"Person {label[1:]}"
    return f"Speaker {label[1:]}" if label[:1] == "S" and label[1:].isdigit() else label


def transcript_labels(speakers: Iterable[str | None]) -> list[str]:
    """Return the labels that occur, in order; undecided and unknown speakers have none."""
    return sorted(
        {label for label in speakers if label is not None and label != PROVISIONAL}, key=label_order
    )


def label_order(label: str) -> tuple[str, int, str]:
    """Sorts `S2` before `S10`, and those that people added after both."""
    number = int(label[1:]) if label[1:].isdigit() else 1 << 30
    return ("~" if label[:1] == PERSON_PREFIX else "", number, label)
