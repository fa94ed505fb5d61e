"""The sample meeting that ships with the product: sound, script, and what its minutes have to contain.

Text and sound are ours; the sound was made by `scripts/make_demo.py` with espeak-ng.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path

from pydantic import BaseModel, ConfigDict

_HERE = Path(__file__).parent


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DemoUtterance(_Record):
    """A line of the script, and when it is spoken."""

    speaker: str
    name: str
    start_ms: int
    end_ms: int
    text: str


class ExpectedItem(_Record):
    """An item counts as found when all keywords stand in its text or quotes, upper or lower case."""

    text: str
    keywords: list[str]
    owner: str | None = None
    """Label of who is to do it, or the name that is said."""
    due_phrase: str | None = None


class Expected(_Record):
    """Items that the minutes have to contain, and items that they must not report as action items."""

    decisions: list[ExpectedItem]
    action_items: list[ExpectedItem]
    open_questions: list[ExpectedItem]
    risks: list[ExpectedItem]
    not_action_items: list[ExpectedItem]


class DemoMeeting(_Record):
    """The reference of the sample meeting."""

    title: str
    language: str
    date: date
    attendees: list[str]
    duration_ms: int
    utterances: list[DemoUtterance]
    expected: Expected


def load_demo() -> DemoMeeting:
    """Load the reference of the sample meeting."""
    return DemoMeeting.model_validate_json((_HERE / "planning.json").read_text(encoding="utf-8"))


def demo_audio_path() -> Path:
    """16 kHz mono FLAC."""
    return _HERE / "planning.flac"


def hello_clip() -> tuple[Path, str]:
    """Return the path of a recording of one sentence, and the text of that sentence."""
    return _HERE / "hello.flac", (_HERE / "hello.txt").read_text(encoding="utf-8").strip()
