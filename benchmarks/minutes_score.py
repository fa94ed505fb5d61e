"""The measures of `minutes.py`: matched items, ROUGE-1, evidence."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from meeting_assistant.domain.minutes import Item, Minutes
from meeting_assistant.domain.transcript import Transcript

WORDS = 115


def matched(items: Sequence[Item], wanted: Sequence[Sequence[str]]) -> tuple[int, list[Sequence[str]]]:
    """Return how many items match a reference, each reference counted once, and the references without a match."""
    left = list(wanted)
    found = 0
    for item in items:
        text = " ".join([item.text, *(e.quote for e in item.evidence)]).casefold()
        match = next((keywords for keywords in left if all(k.casefold() in text for k in keywords)), None)
        if match is not None:
            left.remove(match)
            found += 1
    return found, left


def rouge1(candidate: str, reference: str, most: int = WORDS) -> float:
    """Return the F1 of single words in percent; the candidate is cut after `most` words (Lin, 2004)."""
    counts = Counter(words_of(candidate)[:most])
    wanted = Counter(words_of(reference))
    common = sum((counts & wanted).values())
    if common == 0:
        return 0.0
    precision, recall = common / counts.total(), common / wanted.total()
    return 100 * 2 * precision * recall / (precision + recall)


def words_of(text: str) -> list[str]:
    """Return the words in lower case, without punctuation."""
    return re.findall(r"[a-z0-9]+", text.lower())


def evidence_of(minutes: Minutes, transcript: Transcript) -> list[bool]:
    """Return for each item whether it has evidence, and every quotation stands in its utterance."""
    texts = {u.utterance: u.text for u in transcript.utterances}
    return [
        bool(item.evidence) and all(e.quote in texts.get(e.utterance, "") for e in item.evidence)
        for item in minutes.items()
    ]


def share(values: Sequence[bool]) -> float:
    """Return the share of true values."""
    return round(sum(values) / len(values), 4) if values else 1.0
