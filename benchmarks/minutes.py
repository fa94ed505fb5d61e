"""How good the embedded writer's minutes are.

    .venv/bin/python benchmarks/minutes.py [--meetings FOLDER] [--json FILE]

Our own scripted meetings (`benchmarks/meetings.json`, and the sample meeting) have references: an item counts as found
when all keywords of one stand in its text or quotes. FOLDER holds real transcripts with reference summaries (AMI,
QMSum), where there are some: for ROUGE-1 against the answer to "summarise the meeting", cut at 115 words and as it is,
beside as many of the first words of the meeting. Evidence is checked on all: every quote has to stand in the utterance
it cites. `minutes_cases.py` reads the meetings, `minutes_score.py` has the measures.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

from meeting_assistant.adapters.minutes_rules import EmbeddedWriter
from meeting_assistant.domain.minutes import Minutes
from meeting_assistant.domain.ports import MinutesRequest
from minutes_cases import KINDS, Case, real_cases, scripted_cases
from minutes_score import evidence_of, matched, rouge1, share, words_of


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
    """Return the minutes of a case."""
    request = MinutesRequest(case.transcript, case.attendees, "en", date(2026, 11, 19))
    return writer.write(request)


def scripted_figures(writer: EmbeddedWriter) -> dict[str, Any]:
    """Return precision and recall by kind of item, and the share of verified evidence."""
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


def real_figures(writer: EmbeddedWriter, cases: Sequence[Case]) -> dict[str, Any]:
    """Return ROUGE-1 of the summaries and of the first words, verified evidence, and the time taken."""
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


if __name__ == "__main__":
    main()
