"""How good the embedded writer's minutes are.

    .venv/bin/python benchmarks/minutes.py [--meetings FOLDER] [--json FILE]

Our own scripted meetings (`benchmarks/meetings.json`, and the sample meeting) have references: an item counts as found
when all keywords of one stand in its text or quotes. FOLDER holds real transcripts with reference summaries (AMI,
QMSum), where there are some: for ROUGE-1 against the answer to "summarise the meeting", cut at 115 words and as it is,
beside as many of the first words of the meeting. Evidence is checked on all: every quote has to stand in the utterance
it cites.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from meeting_assistant.adapters.minutes_rules import EmbeddedWriter
from meeting_assistant.demo import load_demo
from meeting_assistant.domain.minutes import Item, Minutes
from meeting_assistant.domain.ports import MinutesRequest
from meeting_assistant.domain.transcript import Speaker, Transcript, Utterance

WORDS = 115
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


def main() -> None:
    """Measure, print, and write down if asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--meetings", type=Path, default=Path("../shared/meetings"))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    writer = EmbeddedWriter()
    report: dict[str, Any] = {"scripted": scripted_figures(writer)}
    real = list(real_cases(options.meetings)) if options.meetings.is_dir() else []
    if real:
        report["real"] = real_figures(writer, real)
    print(json.dumps(report, indent=2))
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")


def write(writer: EmbeddedWriter, case: Case) -> Minutes:
    """Its minutes."""
    request = MinutesRequest(case.transcript, case.attendees, "en", date(2026, 11, 19))
    return writer.write(request)


# --- our own meetings -------------------------------------------------------------------------------------


def scripted_cases() -> Iterator[Case]:
    """In the repository."""
    for meeting in json.loads((Path(__file__).parent / "meetings.json").read_text()):
        transcript = transcript_of([(speaker, text) for speaker, text in meeting["lines"]])
        wanted = {kind: meeting[kind] for kind in KINDS}
        yield Case(meeting["title"], transcript, tuple(meeting["attendees"]), wanted)
    demo = load_demo()
    wanted = {kind: [item.keywords for item in getattr(demo.expected, kind)] for kind in KINDS}
    lines = [(u.speaker, u.text) for u in demo.utterances]
    yield Case("The sample meeting", transcript_of(lines), tuple(demo.attendees), wanted)


def scripted_figures(writer: EmbeddedWriter) -> dict[str, Any]:
    """Precision and recall by kind; evidence."""
    hits, given, wanted = Counter[str](), Counter[str](), Counter[str]()
    verified: list[bool] = []
    missed: list[str] = []
    for case in scripted_cases():
        assert case.wanted is not None
        minutes = write(writer, case)
        verified += evidence_of(minutes, case.transcript)
        for kind in KINDS:
            found, left = matched(getattr(minutes, kind), case.wanted[kind])
            hits[kind] += found
            given[kind] += len(getattr(minutes, kind))
            wanted[kind] += len(case.wanted[kind])
            missed += [f"{case.name}: {kind}: {' '.join(keywords)}" for keywords in left]
    return {
        **{
            kind: {
                "precision": round(hits[kind] / given[kind], 3) if given[kind] else None,
                "recall": round(hits[kind] / wanted[kind], 3),
                "given": given[kind],
                "wanted": wanted[kind],
            }
            for kind in KINDS
        },
        "items_with_verified_evidence": share(verified),
        "invented_items": verified.count(False),
        "missed": missed,
    }


def matched(items: Sequence[Item], wanted: Sequence[Sequence[str]]) -> tuple[int, list[Sequence[str]]]:
    """How many items were wanted, each reference counted once, and what was not found."""
    left = list(wanted)
    found = 0
    for item in items:
        text = " ".join([item.text, *(e.quote for e in item.evidence)]).casefold()
        match = next((keywords for keywords in left if all(k.casefold() in text for k in keywords)), None)
        if match is not None:
            left.remove(match)
            found += 1
    return found, left


# --- real meetings ----------------------------------------------------------------------------------------


def real_cases(folder: Path) -> Iterator[Case]:
    """Transcripts with a reference summary."""
    for path in sorted(folder.glob("*/transcript.json")):
        reference = json.loads((path.parent / "reference.json").read_text())
        queries = (reference.get("qmsum") or reference).get("general_query_list", [])
        summary = next((q["answer"] for q in queries if "summarize" in q["query"].lower()), None)
        lines = [(str(u["speaker"]), spoken_text(u["text"])) for u in json.loads(path.read_text())]
        yield Case(path.parent.name, transcript_of(lines), (), summary=summary)


def spoken_text(text: str) -> str:
    """What was said, without the marks of whoever wrote it down: `{vocalsound}`, `@ @`, `L_C_D_`, ` ,`.

    Those of the ICSI and AMI corpora, which QMSum's own scripts take out as well.
    """
    text = re.sub(r"\{[^{}]*\}?|[{}@]", " ", text)
    text = re.sub(r"\b(?:[A-Za-z]_)+", lambda m: m.group().replace("_", ""), text)
    text = re.sub(r" +([,.?!;:'])", r"\1", text)
    return " ".join(re.sub(r" - ", "-", text).split())


def real_figures(writer: EmbeddedWriter, cases: Sequence[Case]) -> dict[str, Any]:
    """ROUGE-1 of the summary and of the first words; evidence; seconds."""
    ours: list[float] = []
    lead: list[float] = []
    whole: list[float] = []
    lead_of_whole: list[float] = []
    verified: list[bool] = []
    seconds: list[float] = []
    names: list[str] = []
    actions: list[str] = []
    for case in cases:
        began = time.monotonic()
        minutes = write(writer, case)
        seconds.append(time.monotonic() - began)
        verified += evidence_of(minutes, case.transcript)
        actions += [item.evidence[0].quote for item in minutes.action_items]
        if case.summary is not None:
            names.append(case.name)
            written = " ".join(item.text for item in minutes.summary)
            first = " ".join(u.text for u in case.transcript.utterances)
            ours.append(rouge1(written, case.summary))
            lead.append(rouge1(first, case.summary))
            words = len(words_of(written))
            whole.append(rouge1(written, case.summary, words))
            lead_of_whole.append(rouge1(first, case.summary, words))
    return {
        "meetings": len(cases),
        "with_summary": names,
        "rouge1": round(statistics.mean(ours), 1),
        "rouge1_lead": round(statistics.mean(lead), 1),
        "rouge1_whole": round(statistics.mean(whole), 1),
        "rouge1_lead_of_whole": round(statistics.mean(lead_of_whole), 1),
        "items_with_verified_evidence": share(verified),
        "invented_items": verified.count(False),
        "action_items": actions,
        "median_seconds": round(statistics.median(seconds), 3),
    }


def rouge1(candidate: str, reference: str, most: int = WORDS) -> float:
    """F1 of single words, of 100; the candidate is cut after so many words (Lin, 2004)."""
    counts = Counter(words_of(candidate)[:most])
    wanted = Counter(words_of(reference))
    common = sum((counts & wanted).values())
    if common == 0:
        return 0.0
    precision, recall = common / counts.total(), common / wanted.total()
    return 100 * 2 * precision * recall / (precision + recall)


def words_of(text: str) -> list[str]:
    """Lower case, without punctuation."""
    return re.findall(r"[a-z0-9]+", text.lower())


# --- both -------------------------------------------------------------------------------------------------


def evidence_of(minutes: Minutes, transcript: Transcript) -> list[bool]:
    """For each item: does every quote stand in the utterance it cites, and is there one?"""
    texts = {u.utterance: u.text for u in transcript.utterances}
    return [
        bool(item.evidence) and all(e.quote in texts.get(e.utterance, "") for e in item.evidence)
        for item in minutes.items()
    ]


def share(values: Sequence[bool]) -> float:
    """Of those that are true."""
    return round(sum(values) / len(values), 4) if values else 1.0


def transcript_of(lines: Sequence[tuple[str, str]]) -> Transcript:
    """One utterance for each line; speakers are numbered as they come."""
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


if __name__ == "__main__":
    main()
