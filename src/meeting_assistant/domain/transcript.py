"""Words, utterances and speakers of a meeting. All times are milliseconds from its start."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Timing = Literal["engine", "estimated"]
"""`engine`: word times come from the engine's alignment. `estimated`: spread over the voiced part of the
utterance by word length (see `services/asr/word_timing.py`), good to a few hundred milliseconds."""


PROVISIONAL = "S?"
"""Speaker of an utterance that was too short to recognise the voice; a later `speakers` event decides, at the latest
when the meeting ends."""
PERSON_PREFIX = "P"
"""Prefix of labels that people add; no engine uses them."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class Word(_Record):
    """One word as it is written, punctuation included."""

    text: str
    start_ms: int
    end_ms: int
    confidence: float | None = None
    """0..1 as the engine gives it; null when it gives none."""


class Utterance(_Record):
    """Speech of one speaker between two endpoints, decoded in full."""

    utterance: int
    """Stable id, counted from 1 within the meeting."""
    rev: int = 1
    """Grows when the utterance is replaced."""
    start_ms: int
    end_ms: int
    speaker: str | None = None
    """A label such as `S1`; `S?` while it is undecided; null when it is unknown."""
    is_assigned: bool = False
    """A person assigned the speaker; engines do not change it."""
    overlap: bool = False
    """Another person speaks during a part of it, as far as the engine knows. The embedded engine detects it only
    between two channels."""
    echo: str | None = None
    """Words that the other channel repeated within a second (a loudspeaker picked up by a microphone) and that were
    removed there."""
    text: str
    words: list[Word] = Field(default_factory=list)
    timing: Timing = "estimated"
    """Source of the word times."""


class Speaker(_Record):
    """A speaker of a meeting."""

    label: str
    """`S1`, `S2`… in order of first appearance; `P1`, `P2`… for speakers that people added."""
    name: str | None = None
    """The name that a person gave; null until then."""


OFF_THE_RECORD, PAUSED, INTERRUPTED = "off_the_record", "paused", "interrupted"
NOTHING_LOST = frozenset({OFF_THE_RECORD, PAUSED, INTERRUPTED, "missing_audio"})
"""Reasons of gaps in which nothing is that a transcript could still hold."""


class Gap(_Record):
    """Audio that is not in the transcript, or time that is not in the recording, with the reason.

    Reasons: `off_the_record`; without a length, because nothing was recorded there, `paused` and `interrupted` (the
    client was closed, reloaded or asleep); of an uploaded file `damaged_audio` (it could not be decoded),
    `missing_audio` (the file has no sound there), `file_ends_early` (before its own duration); else the code of the
    error.
    """

    start_ms: int
    end_ms: int
    reason: str
    unrecorded_ms: int | None = None
    """How long nothing was recorded there: a pause, a page that was reloaded. Null where all was, or nobody knows."""


class Transcript(_Record):
    """The transcript of a meeting, in order of time."""

    utterances: list[Utterance] = Field(default_factory=list)
    speakers: list[Speaker] = Field(default_factory=list)
    gaps: list[Gap] = Field(default_factory=list)

    def without_provisional(self) -> Transcript:
        """Return the transcript with unknown speakers in the place of undecided ones."""
        if not any(utterance.speaker == PROVISIONAL for utterance in self.utterances):
            return self
        known = [
            u.model_copy(update={"speaker": None}) if u.speaker == PROVISIONAL else u for u in self.utterances
        ]
        return self.model_copy(update={"utterances": known})

    def speaker_name(self, label: str | None) -> str:
        """Return what to show for a label: the given name, else `Speaker 2`, else `Unknown speaker`."""
        return display_name(label, {s.label: s.name for s in self.speakers})


def display_name(label: str | None, names: dict[str, str | None]) -> str:
    """Return what to show for a speaker label, which is never the label itself."""
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
    """Return a key that sorts `S2` before `S10`, and labels that people added after both."""
    number = int(label[1:]) if label[1:].isdigit() else 1 << 30
    return ("~" if label[:1] == PERSON_PREFIX else "", number, label)
