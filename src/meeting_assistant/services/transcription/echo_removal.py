"""The echo of one channel in the other: the same words within a second. Pure.

A microphone hears the loudspeaker. What it repeats is found word by word, wherever in an utterance that stands and
however many voices said it, and is taken out of the channel in which it is quieter. The words that stay remember it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from rapidfuzz import fuzz

from meeting_assistant.domain.audio import SAMPLE_RATE_HZ, Samples, ms_to_samples, samples_to_ms, to_waveform
from meeting_assistant.domain.ports import VAD_FRAME_SAMPLES
from meeting_assistant.services.asr.stabiliser import split_words
from meeting_assistant.services.asr.word_timing import estimate_word_times
from meeting_assistant.services.transcription.speaker_segment import SpeakerSegment, part_of

ECHO_WITHIN_SAMPLES = SAMPLE_RATE_HZ
"""Later than this, the same words are said again and no echo."""
ESTIMATE_SAMPLES = SAMPLE_RATE_HZ // 2
"""How far off a time may be that no engine gave."""
ECHO_LIKENESS = 85.0
"""Per cent of the letters: a microphone hears a loudspeaker less well than the line does."""
MIN_ECHO_LETTERS = 8
"""Two people may say "Yes" to the same question."""
MIN_LETTERS_INSIDE = 12
"""Of an echo that is not all that one of the two said: two people may use the same phrase."""
LOUDER = 4.0
"""Words this much more energetic than the echo beside them are no echo."""


@dataclass(frozen=True, slots=True)
class Loudness:
    """Of each channel in an utterance, frame by frame."""

    start_sample: int
    frames: NDArray[np.float32]
    """Mean squares, shape `(frames, channels)`."""

    @classmethod
    def of(cls, start_sample: int, sound: Samples) -> Loudness:
        """`sound`, shape `(n, channels)`."""
        whole = len(sound) // VAD_FRAME_SAMPLES
        cut = to_waveform(sound[: whole * VAD_FRAME_SAMPLES])
        frames = np.square(cut).reshape(whole, VAD_FRAME_SAMPLES, sound.shape[1]).mean(axis=1)
        return cls(start_sample, np.asarray(frames, np.float32))

    def between(self, channel: int, start_sample: int, end_sample: int) -> float:
        """The median: a louder word that reaches into the stretch does not decide."""
        first = max(0, (start_sample - self.start_sample) // VAD_FRAME_SAMPLES)
        last = max(first + 1, -(-(end_sample - self.start_sample) // VAD_FRAME_SAMPLES))
        stretch = self.frames[first:last, channel]
        return float(np.median(stretch)) if len(stretch) else 0.0


@dataclass(frozen=True, slots=True)
class _Heard:
    """A word of a channel."""

    part: int
    position: int
    """Among the words of its part."""
    text: str
    key: str
    start_sample: int
    end_sample: int
    slack_samples: int

    def is_near(self, other: _Heard) -> bool:
        within = ECHO_WITHIN_SAMPLES + max(self.slack_samples, other.slack_samples)
        return abs(self.start_sample - other.start_sample) <= within


@dataclass(frozen=True, slots=True)
class _Run:
    """The same words on both channels: ranges of words of each."""

    first: range
    second: range


def without_echo(parts: Sequence[SpeakerSegment], loudness: Loudness) -> list[SpeakerSegment]:
    """Of the same words on two channels only those of the louder one, which remember the others.

    A part that is an echo throughout goes; one that holds an echo is cut around it.
    """
    words = [_words_of(number, part) for number, part in enumerate(parts)]
    streams = [_stream(parts, words, is_second=side) for side in (False, True)]
    runs = [run for run in _runs(*streams) if _is_echo(run, streams, words)]
    matched = [{at for run in runs for at in run.first}, {at for run in runs for at in run.second}]

    def energy(said: Sequence[_Heard]) -> float:
        channel = parts[said[0].part].channel or 0
        return loudness.between(channel, said[0].start_sample, said[-1].end_sample)

    gone: dict[int, dict[int, _Heard]] = defaultdict(dict)
    """Words that go, by part and position, each with the word that it is the echo of."""
    repeated: dict[int, list[_Heard]] = defaultdict(list)
    for run in runs:
        sides = [[streams[side][at] for at in span] for side, span in enumerate((run.first, run.second))]
        quiet = 1 if energy(sides[0]) >= energy(sides[1]) else 0
        limit = LOUDER * energy(sides[quiet])
        beside = [word for word in _leftovers(run, quiet, streams, matched) if energy([word]) <= limit]
        for word in (*sides[quiet], *beside):
            nearest = min(sides[1 - quiet], key=lambda said: abs(said.start_sample - word.start_sample))
            gone[word.part][word.position] = nearest
            repeated[nearest.part].append(word)
    kept: list[SpeakerSegment] = []
    for number, part in enumerate(parts):
        said_again = sorted(repeated[number], key=lambda word: word.start_sample)
        echo = " ".join(word.text for word in said_again) or part.echo
        kept += _cut_around(replace(part, echo=echo), words[number], gone[number])
    return kept


def _stream(
    parts: Sequence[SpeakerSegment], words: Sequence[Sequence[_Heard]], *, is_second: bool
) -> list[_Heard]:
    """All words of one channel, in order of time."""
    of_channel = [
        word
        for part, said in zip(parts, words, strict=True)
        for word in said
        if bool(part.channel) == is_second
    ]
    return sorted(of_channel, key=lambda word: (word.start_sample, word.part, word.position))


def _words_of(number: int, part: SpeakerSegment) -> list[_Heard]:
    span, result = part.span, part.result
    slack = 0
    timed = result.words
    if timed is None:
        slack = ESTIMATE_SAMPLES
        length_ms = samples_to_ms(span.end_sample - span.start_sample)
        timed = tuple(
            estimate_word_times(split_words(result.text), start_ms=0, end_ms=length_ms, voiced=span.voiced)
        )
    return [
        _Heard(
            number,
            position,
            word.text.strip(),
            "".join(c for c in word.text.casefold() if c.isalnum()),
            span.start_sample + ms_to_samples(word.start_ms),
            span.start_sample + ms_to_samples(word.end_ms),
            slack,
        )
        for position, word in enumerate(timed)
    ]


# --- the same words


def _runs(first: Sequence[_Heard], second: Sequence[_Heard]) -> Iterator[_Run]:
    """Stretches in which both say nearly the same, the longest first; no word is in two of them.

    Local alignment (Smith and Waterman 1981) over words, counted in letters: what is alike adds them, what differs
    takes them away. Two words of one may be one of the other ("where ever", "wherever").
    """
    used: tuple[set[int], set[int]] = (set(), set())
    while True:
        score, run = _best_run(first, second, used)
        if run is None or score < MIN_ECHO_LETTERS / 2:
            return
        yield run
        used[0].update(run.first)
        used[1].update(run.second)


_STEPS = ((1, 1), (1, 2), (2, 1))


def _best_run(
    first: Sequence[_Heard], second: Sequence[_Heard], used: tuple[set[int], set[int]]
) -> tuple[float, _Run | None]:
    scores = np.zeros((len(first) + 1, len(second) + 1))
    begins: dict[tuple[int, int], tuple[int, int]] = {}
    best, found = 0.0, None
    for i in range(1, len(first) + 1):
        if i - 1 in used[0]:
            continue
        for j in range(1, len(second) + 1):
            if j - 1 in used[1] or not first[i - 1].is_near(second[j - 1]):
                continue
            score, begin = 0.0, (i, j)
            for a, b in _STEPS:
                before = (i - a, j - b)
                if before[0] < 0 or before[1] < 0:
                    continue
                if not (used[0].isdisjoint(range(i - a, i)) and used[1].isdisjoint(range(j - b, j))):
                    continue
                gain = float(scores[before]) + _gain(first[i - a : i], second[j - b : j])
                if gain > score:
                    score, begin = gain, begins.get(before, before)
            for before, lost in (((i - 1, j), first[i - 1]), ((i, j - 1), second[j - 1])):
                gain = float(scores[before]) - len(lost.key)
                if gain > score:
                    score, begin = gain, begins[before]
            if score > 0:
                scores[i, j], begins[i, j] = score, begin
            if score > best:
                best, found = score, _Run(range(begin[0], i), range(begin[1], j))
    return best, found


def _gain(first: Sequence[_Heard], second: Sequence[_Heard]) -> float:
    a, b = "".join(word.key for word in first), "".join(word.key for word in second)
    return (len(a) + len(b)) / 2 * (fuzz.ratio(a, b) / 50 - 1)


def _is_echo(run: _Run, streams: Sequence[Sequence[_Heard]], words: Sequence[Sequence[_Heard]]) -> bool:
    sides = [[streams[side][at] for at in at_range] for side, at_range in enumerate((run.first, run.second))]
    said, heard = ("".join(word.key for word in side) for side in sides)
    is_all_of_one = any(
        sum(word.part == part for word in side) == len(words[part])
        for side in sides
        for part in {word.part for word in side}
    )
    letters = MIN_ECHO_LETTERS if is_all_of_one else MIN_LETTERS_INSIDE
    return min(len(said), len(heard)) >= letters and fuzz.ratio(said, heard) >= ECHO_LIKENESS


def _leftovers(
    run: _Run, quiet: int, streams: Sequence[Sequence[_Heard]], matched: Sequence[set[int]]
) -> list[_Heard]:
    """A few words beside an echo that were misheard: too few to be told from it, and next to words of the other channel
    of which nothing else was heard."""
    echo, source = (run.first, run.second) if quiet == 0 else (run.second, run.first)
    mine, others = streams[quiet], streams[1 - quiet]
    left: list[_Heard] = []
    for step, inner, other in ((-1, echo.start, source.start - 1), (1, echo.stop - 1, source.stop)):
        stretch: list[_Heard] = []
        at = inner + step
        while 0 <= at < len(mine) and at not in matched[quiet] and mine[at].part == mine[inner].part:
            stretch.append(mine[at])
            at += step
        if not stretch or not 0 <= other < len(others) or other in matched[1 - quiet]:
            continue
        if sum(len(word.key) for word in stretch) < MIN_ECHO_LETTERS and stretch[0].is_near(others[other]):
            left += stretch
    return left


# --- what is left


def _cut_around(
    part: SpeakerSegment, words: Sequence[_Heard], gone: Mapping[int, _Heard]
) -> list[SpeakerSegment]:
    """The part without these words: as it is, in pieces, or not at all."""
    if not gone:
        return [part]
    pieces: list[list[int]] = []
    for at in range(len(words)):
        if at in gone:
            continue
        if pieces and pieces[-1][-1] == at - 1:
            pieces[-1].append(at)
        else:
            pieces.append([at])
    return [_piece(part, words, gone, piece[0], piece[-1] + 1) for piece in pieces]


def _piece(
    part: SpeakerSegment, words: Sequence[_Heard], gone: Mapping[int, _Heard], first: int, last: int
) -> SpeakerSegment:
    span, result = part.span, part.result
    start, end = span.start_sample, span.end_sample
    # Where the echo began and ended its source knows better, which was loud and most often spoken alone. At least half
    # of the words at the edges stay inside.
    if first > 0:
        echo_ends = max(words[first - 1].end_sample, gone[first - 1].end_sample)
        start = min(echo_ends, (words[first].start_sample + words[first].end_sample) // 2)
    if last < len(words):
        echo_begins = min(words[last].start_sample, gone[last].start_sample)
        end = max(echo_begins, (words[last - 1].start_sample + words[last - 1].end_sample) // 2)
    start = min(max(start - span.start_sample, 0), span.end_sample - span.start_sample)
    end = max(start, min(end, span.end_sample) - span.start_sample)
    timed = result.words
    if timed is not None:
        shift_ms = samples_to_ms(start)
        timed = tuple(
            word.model_copy(
                update={
                    "start_ms": max(0, word.start_ms - shift_ms),
                    "end_ms": max(0, word.end_ms - shift_ms),
                }
            )
            for word in timed[first:last]
        )
    sure = result.word_probabilities
    return replace(
        part,
        span=part_of(span, start, end),
        result=replace(
            result,
            text=" ".join(word.text for word in words[first:last]),
            words=timed,
            word_probabilities=sure[first:last] if sure is not None and len(sure) == len(words) else None,
        ),
    )
