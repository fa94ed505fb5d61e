"""From the turns of a whole recording to who said each utterance. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from meeting_assistant.domain.ports import SpeakerTurn
from meeting_assistant.domain.transcript import PROVISIONAL, Utterance, Word
from meeting_assistant.services.diarization.attribution import SpeakerLabels

NEAR_MS = 500
"""A word this far from any turn still belongs to the nearest one: detectors disagree about edges."""
MIN_OVERLAP_MS = 250
MIN_PART_WORDS = 2
"""A single word between two others of another speaker is more often a fault of times than an interjection."""


@dataclass(slots=True)
class Attribution:
    """What a recording says about the speakers of utterances."""

    speakers: dict[int, str | None] = field(default_factory=dict)
    """Utterances that were said by somebody else, by id."""
    parts: dict[int, list[Utterance]] = field(default_factory=dict)
    """Utterances in which the speaker changes, by id: what stands in their place; the first keeps the id."""
    overlaps: set[int] = field(default_factory=set)
    """Utterances that stay whole, during a part of which somebody else speaks, and that do not say so yet."""


def attribute(
    utterances: Sequence[Utterance],
    turns: Sequence[SpeakerTurn],
    *,
    next_utterance: int,
    may_split: bool,
    taken: Iterable[str] = (),
) -> Attribution:
    """Words go to the turn in which they lie; labels that are known stay with the voices that had them.

    `taken`: labels of the meeting that no other voice may get, whether or not one of `utterances` has them.
    """
    found: dict[int, list[tuple[int | None, list[Word]]]] = {}
    for utterance in utterances:
        if not utterance.is_assigned:
            found[utterance.utterance] = _runs(utterance, turns)
    labels = _labels(utterances, found, taken)
    result = Attribution()
    for utterance in utterances:
        runs = found.get(utterance.utterance)
        if runs is not None and len(runs) > 1 and may_split:
            result.parts[utterance.utterance] = _split(utterance, runs, labels, turns, next_utterance)
            next_utterance += len(runs) - 1
            continue
        if not utterance.overlap and _overlaps(*_spoken(utterance), turns):
            result.overlaps.add(utterance.utterance)
        if runs is None:
            continue
        most: Counter[int | None] = Counter()
        for speaker, words in runs:
            most[speaker] += sum(max(1, word.end_ms - word.start_ms) for word in words)
        speaker = most.most_common(1)[0][0]
        label = utterance.speaker if speaker is None else labels[speaker]
        if label != utterance.speaker:
            result.speakers[utterance.utterance] = label
    return result


def _runs(utterance: Utterance, turns: Sequence[SpeakerTurn]) -> list[tuple[int | None, list[Word]]]:
    """Words of one speaker after the other; None where nobody speaks."""
    words = utterance.words or [
        Word(text=utterance.text, start_ms=utterance.start_ms, end_ms=utterance.end_ms)
    ]
    near = [
        t
        for t in turns
        if t.end_ms > utterance.start_ms - NEAR_MS and t.start_ms < utterance.end_ms + NEAR_MS
    ]
    runs: list[tuple[int | None, list[Word]]] = []
    before: int | None = None
    for word in words:
        speaker = _speaker_of(word, near, before)
        if runs and (speaker is None or speaker == runs[-1][0]):
            runs[-1][1].append(word)
        elif runs and runs[-1][0] is None:
            runs[-1] = (speaker, [*runs[-1][1], word])
        else:
            runs.append((speaker, [word]))
        before = runs[-1][0]
    return _without_specks(runs)


def _speaker_of(word: Word, turns: Sequence[SpeakerTurn], before: int | None) -> int | None:
    shared: Counter[int] = Counter()
    for turn in turns:
        both = min(turn.end_ms, word.end_ms) - max(turn.start_ms, word.start_ms)
        if both > 0:
            shared[turn.speaker] += both
    if shared:
        most = max(shared.values())
        # Where two speak at once, whoever spoke before goes on.
        return before if before is not None and shared[before] == most else shared.most_common(1)[0][0]
    middle = (word.start_ms + word.end_ms) // 2
    distance = {turn.speaker: max(turn.start_ms - middle, middle - turn.end_ms) for turn in turns}
    nearest = min(distance, key=lambda speaker: distance[speaker], default=None)
    return nearest if nearest is not None and distance[nearest] <= NEAR_MS else None


def _without_specks(runs: list[tuple[int | None, list[Word]]]) -> list[tuple[int | None, list[Word]]]:
    joined: list[tuple[int | None, list[Word]]] = []
    for at, (speaker, words) in enumerate(runs):
        is_between = 0 < at < len(runs) - 1 and joined and joined[-1][0] == runs[at + 1][0]
        if joined and (joined[-1][0] == speaker or (is_between and len(words) < MIN_PART_WORDS)):
            joined[-1][1].extend(words)
        else:
            joined.append((speaker, list(words)))
    return joined


def _labels(
    utterances: Sequence[Utterance],
    found: Mapping[int, Sequence[tuple[int | None, list[Word]]]],
    taken: Iterable[str],
) -> dict[int, str]:
    """Each voice keeps the label that most of what it says has now; others get the next ones."""
    shared: Counter[tuple[int, str]] = Counter()
    order: dict[int, None] = {}
    for utterance in utterances:
        for speaker, words in found.get(utterance.utterance, ()):
            if speaker is None:
                continue
            order.setdefault(speaker)
            if utterance.speaker is not None and utterance.speaker != PROVISIONAL:
                shared[speaker, utterance.speaker] += sum(word.end_ms - word.start_ms for word in words)
    labels: dict[int, str] = {}
    for (speaker, label), _ in shared.most_common():
        if speaker not in labels and label not in labels.values():
            labels[speaker] = label
    numbers = SpeakerLabels([*taken, *(u.speaker for u in utterances if u.speaker is not None)])
    for speaker in order:
        if speaker not in labels:
            labels[speaker] = numbers.label(speaker) or ""
    return labels


def _split(
    utterance: Utterance,
    runs: Sequence[tuple[int | None, list[Word]]],
    labels: Mapping[int, str],
    turns: Sequence[SpeakerTurn],
    next_utterance: int,
) -> list[Utterance]:
    parts: list[Utterance] = []
    for at, (speaker, words) in enumerate(runs):
        start_ms = utterance.start_ms if at == 0 else words[0].start_ms
        end_ms = utterance.end_ms if at == len(runs) - 1 else words[-1].end_ms
        parts.append(
            utterance.model_copy(
                update={
                    "utterance": utterance.utterance if at == 0 else next_utterance + at - 1,
                    "rev": utterance.rev + 1 if at == 0 else 1,
                    "start_ms": start_ms,
                    "end_ms": end_ms,
                    "speaker": utterance.speaker if speaker is None else labels[speaker],
                    "overlap": utterance.overlap or _overlaps(start_ms, end_ms, turns),
                    "text": " ".join(word.text for word in words),
                    "words": list(words),
                }
            )
        )
    return parts


def _spoken(utterance: Utterance) -> tuple[int, int]:
    """Without the silence around it."""
    if not utterance.words:
        return utterance.start_ms, utterance.end_ms
    return utterance.words[0].start_ms, utterance.words[-1].end_ms


def _overlaps(start_ms: int, end_ms: int, turns: Sequence[SpeakerTurn]) -> bool:
    inside = [turn for turn in turns if turn.end_ms > start_ms and turn.start_ms < end_ms]
    return any(
        min(a.end_ms, b.end_ms, end_ms) - max(a.start_ms, b.start_ms, start_ms) >= MIN_OVERLAP_MS
        for index, a in enumerate(inside)
        for b in inside[index + 1 :]
        if a.speaker != b.speaker
    )
