"""Attribution of words to speakers, and the labels that speakers get. Pure.

Live, the words of an utterance go to the segments that its embeddings found; after the meeting, the words of all
utterances go to the speaker turns of the recording.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from meeting_assistant.domain.audio import samples_to_ms
from meeting_assistant.domain.ports import AsrResult, SpeakerTurn
from meeting_assistant.domain.transcript import PROVISIONAL, Utterance, Word
from meeting_assistant.services.diarization.change_detection import VoiceSegment

NEAR_MS = 500
"""A word this far from any turn still belongs to the nearest one: detectors disagree about edges."""
MIN_OVERLAP_MS = 250
MIN_PART_WORDS = 2
"""A single word between two runs of another speaker is more often a timing error than an interjection."""


class SpeakerLabels:
    """Numbers speakers in the order in which they are first heard: `S1`, `S2`…

    A label that the meeting already has is never given to another speaker.
    """

    def __init__(self, taken: Iterable[str] = ()) -> None:
        numbers = [int(label[1:]) for label in taken if label[:1] == "S" and label[1:].isdigit()]
        self._next = max(numbers, default=0) + 1
        self._labels: dict[int, str] = {}

    def keep(self, speaker: int, label: str) -> None:
        """Record the label that a speaker had before."""
        self._labels[speaker] = label

    def existing(self, speaker: int) -> str | None:
        """Return the label that a speaker has already."""
        return self._labels.get(speaker)

    def label(self, speaker: int | None) -> str | None:
        """Return the label of a speaker; an unknown speaker, None, has no label."""
        if speaker is None:
            return None
        if speaker not in self._labels:
            self._labels[speaker] = f"S{self._next}"
            self._next += 1
        return self._labels[speaker]


def split_words(result: AsrResult, segments: Sequence[VoiceSegment]) -> list[AsrResult]:
    """Give each word of an utterance to the segment that its middle lies in.

    Times of the results count from the start of their segment.
    """
    assert result.words is not None
    edges = [samples_to_ms(segment.start) for segment in segments[1:]]
    places = [sum((word.start_ms + word.end_ms) / 2 >= edge for edge in edges) for word in result.words]
    probabilities = result.word_probabilities
    if probabilities is not None and len(probabilities) != len(places):
        probabilities = None
    results: list[AsrResult] = []
    for index, segment in enumerate(segments):
        start_ms, mine = (
            samples_to_ms(segment.start),
            [at for at, place in enumerate(places) if place == index],
        )
        words = tuple(
            word.model_copy(
                update={
                    "start_ms": max(0, word.start_ms - start_ms),
                    "end_ms": max(0, word.end_ms - start_ms),
                }
            )
            for word in (result.words[at] for at in mine)
        )
        results.append(
            replace(
                result,
                text=" ".join(word.text.strip() for word in words),
                words=words,
                word_probabilities=tuple(probabilities[at] for at in mine) if probabilities else None,
            )
        )
    return results


# --- turns of a recording


@dataclass(slots=True)
class Attribution:
    """Corrections to the speakers of utterances."""

    speakers: dict[int, str | None] = field(default_factory=dict)
    """New labels of utterances, by id."""
    splits: dict[int, list[Utterance]] = field(default_factory=dict)
    """Utterances in which the speaker changes, by id, with those that replace them; the first keeps the id."""
    overlaps: set[int] = field(default_factory=set)
    """Utterances that another speaker overlaps and that are not marked so yet."""


def attribute(
    utterances: Sequence[Utterance],
    turns: Sequence[SpeakerTurn],
    *,
    next_utterance: int,
    may_split: bool,
    taken: Iterable[str] = (),
) -> Attribution:
    """Give words to the speaker turns in which they lie; speakers keep the labels that most of their words have.

    With `may_split`, an utterance in which the speaker changes is split. `taken`: labels that no new speaker may get,
    whether or not one of `utterances` has them.
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
            result.splits[utterance.utterance] = _split(utterance, runs, labels, turns, next_utterance)
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
    """Return runs of consecutive words of one speaker; None where there is no turn."""
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
    return _join_single_words(runs)


def _speaker_of(word: Word, turns: Sequence[SpeakerTurn], before: int | None) -> int | None:
    shared: Counter[int] = Counter()
    for turn in turns:
        both = min(turn.end_ms, word.end_ms) - max(turn.start_ms, word.start_ms)
        if both > 0:
            shared[turn.speaker] += both
    if shared:
        most = max(shared.values())
        # Where two speak at once, the speaker of the word before continues.
        return before if before is not None and shared[before] == most else shared.most_common(1)[0][0]
    middle = (word.start_ms + word.end_ms) // 2
    distance = {turn.speaker: max(turn.start_ms - middle, middle - turn.end_ms) for turn in turns}
    nearest = min(distance, key=lambda speaker: distance[speaker], default=None)
    return nearest if nearest is not None and distance[nearest] <= NEAR_MS else None


def _join_single_words(runs: list[tuple[int | None, list[Word]]]) -> list[tuple[int | None, list[Word]]]:
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
    """Return the label of each speaker: the one that most of its words have now, or else the next free one."""
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
    """Return the time span from the first word to the last, without the silence around them."""
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
