"""The prompts that ask a language model a question about meetings, and the shape of its answer. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel

from meeting_assistant.domain.transcript import Utterance
from meeting_assistant.services.minutes.prompts import RULES, STRICT_SCHEMA, at_most, clean, fenced


@dataclass(frozen=True, slots=True)
class Passage:
    """A line that may hold the answer."""

    meeting_id: str
    heading: str
    """Title and day of its meeting."""
    speaker: str
    utterance: Utterance


class ModelSentence(BaseModel):
    """A sentence of the answer."""

    model_config = STRICT_SCHEMA
    lines: list[int] = at_most(8)
    text: str


class ModelAnswer(BaseModel):
    """What the lines say about the question."""

    model_config = STRICT_SCHEMA
    is_found: bool
    sentences: list[ModelSentence] = at_most(12)


SYSTEM = """You answer a question about meetings from numbered lines of their transcripts, given between two marks.
{rules} For each sentence of the answer give the numbers of the lines that say it. When the lines do not hold the
answer, set is_found to false and give no sentences. Answer in the language of the question, short and plain."""


def system_prompt() -> str:
    """Return the instructions, the same for every question."""
    return SYSTEM.format(rules=RULES)


def question_prompt(question: str, passages: Sequence[Passage]) -> str:
    """Return the lines of each meeting under its title, then the question."""
    lines: list[str] = []
    heading = None
    for number, passage in enumerate(passages, start=1):
        if passage.heading != heading:
            heading = passage.heading
            lines.append(f"Meeting: {clean(heading)}")
        lines.append(f"{number}|{clean(passage.speaker)}| {clean(passage.utterance.text)}")
    return "\n".join([*fenced(lines), f"Question: {clean(question)}"])
