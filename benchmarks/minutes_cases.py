"""The meetings of `minutes.py`: scripted ones with references, and real ones with reference summaries."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from meeting_assistant.demo import load_demo
from meeting_assistant.domain.transcript import Speaker, Transcript, Utterance

KINDS = ("action_items", "decisions")


@dataclass(frozen=True, slots=True)
class Case:
    """A meeting with what its minutes should hold."""

    name: str
    transcript: Transcript
    attendees: tuple[str, ...]
    wanted: dict[str, list[list[str]]] | None = None
    """Kind of item to the keywords of each."""
    summary: str | None = None


def scripted_cases() -> Iterator[Case]:
    """Yield the scripted meetings of the repository."""
    for meeting in json.loads((Path(__file__).parent / "meetings.json").read_text()):
        transcript = transcript_of([(speaker, text) for speaker, text in meeting["lines"]])
        wanted = {kind: meeting[kind] for kind in KINDS}
        yield Case(meeting["title"], transcript, tuple(meeting["attendees"]), wanted)
    demo = load_demo()
    wanted = {kind: [item.keywords for item in getattr(demo.expected, kind)] for kind in KINDS}
    lines = [(u.speaker, u.text) for u in demo.utterances]
    yield Case("The sample meeting", transcript_of(lines), tuple(demo.attendees), wanted)


def real_cases(folder: Path) -> Iterator[Case]:
    """Yield the transcripts of a folder, with their reference summaries."""
    for path in sorted(folder.glob("*/transcript.json")):
        reference = json.loads((path.parent / "reference.json").read_text())
        queries = (reference.get("qmsum") or reference).get("general_query_list", [])
        summary = next((q["answer"] for q in queries if "summarize" in q["query"].lower()), None)
        lines = [(str(u["speaker"]), spoken_text(u["text"])) for u in json.loads(path.read_text())]
        yield Case(path.parent.name, transcript_of(lines), (), summary=summary)


def spoken_text(text: str) -> str:
    """Return the words without the marks of the transcribers: `{vocalsound}`, `@ @`, `L_C_D_`, ` ,`.

    Those of the ICSI and AMI corpora, which QMSum's own scripts take out as well.
    """
    text = re.sub(r"\{[^{}]*\}?|[{}@]", " ", text)
    text = re.sub(r"\b(?:[A-Za-z]_)+", lambda m: m.group().replace("_", ""), text)
    text = re.sub(r" +([,.?!;:'])", r"\1", text)
    return " ".join(re.sub(r" - ", "-", text).split())


def transcript_of(lines: Sequence[tuple[str, str]]) -> Transcript:
    """Return one utterance for each line, with speakers numbered in order of appearance."""
    labels = {name: f"S{n}" for n, name in enumerate(dict.fromkeys(speaker for speaker, _ in lines), start=1)}
    return Transcript(
        utterances=[
            Utterance(
                utterance=n, start_ms=n * 4000, end_ms=n * 4000 + 3000, speaker=labels[speaker], text=text
            )
            for n, (speaker, text) in enumerate(lines, start=1)
        ],
        speakers=[Speaker(label=label) for label in labels.values()],
    )
