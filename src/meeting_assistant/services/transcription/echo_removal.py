"""Removal of the echo of one channel in the other by its words. Pure.

What the sound shows to be an echo (`echo_detection`) is not here any more. What remains is echo under noise, or under
the voice of a person. Words that both channels have within a second are found one by one, wherever in an utterance they
are and however many voices said them, and are removed from the channel in which they are quieter. The segment that
keeps the words also keeps the text of their echo.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from rapidfuzz import fuzz

from meeting_assistant.domain.audio import SAMPLE_RATE_HZ, Samples, ms_to_samples, samples_to_ms, to_waveform
from meeting_assistant.domain.ports import VAD_FRAME_SAMPLES
from meeting_assistant.services.asr.stabiliser import split_words
from meeting_assistant.services.asr.word_timing import estimate_word_times
from meeting_assistant.services.transcription.echo_alignment import (
    ECHO_WITHIN_SAMPLES,
    MIN_ECHO_LETTERS,
    EchoWord,
    Match,
    matches,
)
from meeting_assistant.services.transcription.session_types import SpeakerSegment

ESTIMATE_SAMPLES = SAMPLE_RATE_HZ // 2
"""How far off an estimated word time may be."""
MIN_ECHO_RATIO = 85.0
"""Per cent of equal letters: a microphone picks up a loudspeaker less well than the line does."""
MIN_LETTERS_INSIDE = 12
"""Letters of an echo that is only a part of a segment on both sides: two people may use the same phrase."""
LOUDER = 4.0
"""Words with this many times the energy of the echo beside them are no echo."""


@dataclass(frozen=True, slots=True)
class Loudness:
    """The energy of each channel of an utterance, frame by frame."""

    start_sample: int
    frames: NDArray[np.float32]
    """Mean squares, shape `(frames, channels)`."""

    @classmethod
    def of(cls, start_sample: int, sound: Samples) -> Loudness:
        """Measure audio of shape `(n, channels)`."""
        whole = len(sound) // VAD_FRAME_SAMPLES
        cut = to_waveform(sound[: whole * VAD_FRAME_SAMPLES])
        frames = np.square(cut).reshape(whole, VAD_FRAME_SAMPLES, sound.shape[1]).mean(axis=1)
        return cls(start_sample, np.asarray(frames, np.float32))

    def between(self, channel: int, start_sample: int, end_sample: int) -> float:
        """Return the median, so that a louder word that reaches into the stretch does not decide."""
        first = max(0, (start_sample - self.start_sample) // VAD_FRAME_SAMPLES)
        last = max(first + 1, -(-(end_sample - self.start_sample) // VAD_FRAME_SAMPLES))
        stretch = self.frames[first:last, channel]
        return float(np.median(stretch)) if len(stretch) else 0.0


def without_echo(segments: Sequence[SpeakerSegment], loudness: Loudness) -> list[SpeakerSegment]:
    """Remove from the quieter channel the words that both channels have.

    A segment that is an echo throughout is dropped; one that contains an echo is cut around it.
    """
    words = [_words_of(number, segment) for number, segment in enumerate(segments)]
    streams = [_stream(segments, words, is_second=side) for side in (False, True)]
    echoes = [match for match in matches(*streams) if _is_echo(match, streams, words)]
    matched = [{at for echo in echoes for at in echo.first}, {at for echo in echoes for at in echo.second}]

    def energy(stretch: Sequence[EchoWord]) -> float:
        channel = segments[stretch[0].segment].channel or 0
        return loudness.between(channel, stretch[0].start_sample, stretch[-1].end_sample)

    removed: dict[int, dict[int, EchoWord]] = defaultdict(dict)
    """Words to remove, by segment and position, each with the word that it is the echo of."""
    repeated: dict[int, list[EchoWord]] = defaultdict(list)
    for echo in echoes:
        sides = [[streams[side][at] for at in span] for side, span in enumerate((echo.first, echo.second))]
        quiet = 1 if energy(sides[0]) >= energy(sides[1]) else 0
        limit = LOUDER * energy(sides[quiet])
        beside = [word for word in _misheard_beside(echo, quiet, streams, matched) if energy([word]) <= limit]
        for word in (*sides[quiet], *beside):
            source = _nearest(word, sides[1 - quiet])
            removed[word.segment][word.position] = source
            repeated[source.segment].append(word)
    cleaned: list[SpeakerSegment] = []
    for number, segment in enumerate(segments):
        echoed = sorted(repeated[number], key=lambda word: word.start_sample)
        text = " ".join([*([segment.echo] if segment.echo else []), *(word.text for word in echoed)])
        cleaned += _cut_around(replace(segment, echo=text or None), words[number], removed[number])
    return cleaned


def with_echoes(segments: Sequence[SpeakerSegment], echoes: Sequence[SpeakerSegment]) -> list[SpeakerSegment]:
    """Give each segment the words of its echo.

    Of `echoes`, which are echoes throughout, those are the words nearest to it in time.
    """
    texts: dict[int, list[str]] = defaultdict(list)
    for number, echo in enumerate(sorted(echoes, key=lambda segment: segment.span.start_sample)):
        others = [at for at, segment in enumerate(segments) if segment.channel != echo.channel]
        for word in _words_of(number, echo) if others else ():
            middle = (word.start_sample + word.end_sample) // 2
            distance, nearest = min((_distance(segments[at], middle), at) for at in others)
            if distance <= ECHO_WITHIN_SAMPLES:
                texts[nearest].append(word.text)
    return [
        replace(segment, echo=" ".join(texts[at])) if at in texts else segment
        for at, segment in enumerate(segments)
    ]


def _distance(segment: SpeakerSegment, sample: int) -> int:
    return max(segment.span.start_sample - sample, sample - segment.span.end_sample, 0)


def _nearest(word: EchoWord, others: Sequence[EchoWord]) -> EchoWord:
    return min(others, key=lambda other: abs(other.start_sample - word.start_sample))


def _stream(
    segments: Sequence[SpeakerSegment], words: Sequence[Sequence[EchoWord]], *, is_second: bool
) -> list[EchoWord]:
    """Return all words of one channel in the order of time."""
    of_channel = [
        word
        for segment, its_words in zip(segments, words, strict=True)
        for word in its_words
        if bool(segment.channel) == is_second
    ]
    return sorted(of_channel, key=lambda word: (word.start_sample, word.segment, word.position))


def _words_of(number: int, segment: SpeakerSegment) -> list[EchoWord]:
    span, result = segment.span, segment.result
    slack = 0
    timed = result.words
    if timed is None:
        slack = ESTIMATE_SAMPLES
        length_ms = samples_to_ms(span.end_sample - span.start_sample)
        timed = tuple(
            estimate_word_times(split_words(result.text), start_ms=0, end_ms=length_ms, voiced=span.voiced)
        )
    return [
        EchoWord(
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


def _is_echo(
    match: Match, streams: Sequence[Sequence[EchoWord]], words: Sequence[Sequence[EchoWord]]
) -> bool:
    sides = [[streams[side][at] for at in span] for side, span in enumerate((match.first, match.second))]
    first, second = ("".join(word.key for word in side) for side in sides)
    is_whole_segment = any(
        sum(word.segment == segment for word in side) == len(words[segment])
        for side in sides
        for segment in {word.segment for word in side}
    )
    letters = MIN_ECHO_LETTERS if is_whole_segment else MIN_LETTERS_INSIDE
    return min(len(first), len(second)) >= letters and fuzz.ratio(first, second) >= MIN_ECHO_RATIO


def _misheard_beside(
    echo: Match, quiet: int, streams: Sequence[Sequence[EchoWord]], matched: Sequence[set[int]]
) -> list[EchoWord]:
    """Return the few unmatched words beside an echo that belong to it.

    They are too few to be an utterance of their own, and the words of the other channel next to them are unmatched too.
    """
    near, far = (echo.first, echo.second) if quiet == 0 else (echo.second, echo.first)
    mine, others = streams[quiet], streams[1 - quiet]
    found: list[EchoWord] = []
    for step, inner, other in ((-1, near.start, far.start - 1), (1, near.stop - 1, far.stop)):
        stretch: list[EchoWord] = []
        at = inner + step
        while 0 <= at < len(mine) and at not in matched[quiet] and mine[at].segment == mine[inner].segment:
            stretch.append(mine[at])
            at += step
        if not stretch or not 0 <= other < len(others) or other in matched[1 - quiet]:
            continue
        if sum(len(word.key) for word in stretch) < MIN_ECHO_LETTERS and stretch[0].is_near(others[other]):
            found += stretch
    return found


# --- what remains of a segment


def _cut_around(
    segment: SpeakerSegment, words: Sequence[EchoWord], removed: Mapping[int, EchoWord]
) -> list[SpeakerSegment]:
    """Return the segment without the removed words: unchanged, in parts, or not at all."""
    if not removed:
        return [segment]
    runs: list[list[int]] = []
    for at in range(len(words)):
        if at in removed:
            continue
        if runs and runs[-1][-1] == at - 1:
            runs[-1].append(at)
        else:
            runs.append([at])
    return [_part(segment, words, removed, run[0], run[-1] + 1) for run in runs]


def _part(
    segment: SpeakerSegment, words: Sequence[EchoWord], removed: Mapping[int, EchoWord], first: int, last: int
) -> SpeakerSegment:
    """Return the segment with only the words from `first` up to, not including, `last`."""
    span, result = segment.span, segment.result
    start, end = span.start_sample, span.end_sample
    # The times of the source are better than those of the echo: it was loud and most often the only speech. At least
    # half of the words at the edges stays inside.
    if first > 0:
        echo_ends = max(words[first - 1].end_sample, removed[first - 1].end_sample)
        start = min(echo_ends, (words[first].start_sample + words[first].end_sample) // 2)
    if last < len(words):
        echo_begins = min(words[last].start_sample, removed[last].start_sample)
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
        segment,
        span=span.sub_span(start, end),
        result=replace(
            result,
            text=" ".join(word.text for word in words[first:last]),
            words=timed,
            word_probabilities=sure[first:last] if sure is not None and len(sure) == len(words) else None,
        ),
    )
