"""Splits the speech of a channel where an echo begins or ends, before it is decoded. Pure.

Words of an echo and words that a person says are then never in one decode, whose word times may be estimates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

import numpy as np
from numpy.typing import NDArray

from meeting_assistant.domain.audio import Samples, to_waveform
from meeting_assistant.domain.ports import VAD_FRAME_SAMPLES
from meeting_assistant.services.asr.endpointing import SpeechEnded
from meeting_assistant.services.transcription.echo_detection import HALF_SPAN_FRAMES

MIN_PART_FRAMES = 6
"""Voiced frames of a part beside parts of the other kind: less than a syllable is an error of measurement."""


@dataclass(frozen=True, slots=True)
class SpanPart:
    """A part of the speech on one channel that is an echo throughout, or not."""

    span: SpeechEnded
    is_echo: bool


@dataclass(slots=True)
class _Run:
    """Voiced frames in a row, apart from pauses, that are alike."""

    first: int
    last: int
    count: int
    is_echo: bool


def split_at_echo(
    span: SpeechEnded, utterance_start: int, samples: Samples, is_echo: NDArray[np.bool_]
) -> list[SpanPart]:
    """Return the parts of a span in the order of time.

    `samples`, shape `(n,)`, and `is_echo`, one flag per frame, are those of its channel from `utterance_start` on.
    """
    offset = span.start_sample - utterance_start
    flags = is_echo[offset // VAD_FRAME_SAMPLES :]
    runs = _runs(span.voiced, flags)
    if len(runs) < 2:
        return [SpanPart(span, runs[0].is_echo if runs else False)]
    length = span.end_sample - span.start_sample
    spoken = to_waveform(samples[offset : offset + length])
    edges = [0, *(min(length, _cut(spoken, *pair)) for pair in pairwise(runs)), length]
    return [
        SpanPart(span.sub_span(start, end), run.is_echo)
        for run, (start, end) in zip(runs, pairwise(edges), strict=True)
        if end > start
    ]


def _runs(voiced: Sequence[bool], is_echo: NDArray[np.bool_]) -> list[_Run]:
    frames = [(at, bool(is_echo[at])) for at in range(min(len(voiced), len(is_echo))) if voiced[at]]
    runs: list[_Run] = []
    for kind, group in groupby(frames, key=lambda frame: frame[1]):
        members = [at for at, _ in group]
        runs.append(_Run(members[0], members[-1], len(members), kind))
    while len(runs) > 1:
        shortest = min(runs, key=lambda run: run.count)
        if shortest.count >= MIN_PART_FRAMES:
            break
        at = runs.index(shortest)
        joined = runs[max(0, at - 1) : at + 2]
        kind = not shortest.is_echo
        runs[max(0, at - 1) : at + 2] = [
            _Run(joined[0].first, joined[-1].last, sum(run.count for run in joined), kind)
        ]
    return runs


def _cut(spoken: NDArray[np.float32], before: _Run, after: _Run) -> int:
    """Return the sample at the quietest frame between two runs.

    Loud speech hides an echo beside it from the measurement, so that the change may lie inside the speech of a person.
    """
    first, last = before.last, after.first
    if before.is_echo:
        last = min(last + HALF_SPAN_FRAMES, after.last)
    else:
        first = max(first - HALF_SPAN_FRAMES, before.first)
    frames = spoken[: len(spoken) // VAD_FRAME_SAMPLES * VAD_FRAME_SAMPLES].reshape(-1, VAD_FRAME_SAMPLES)
    energy = np.square(frames[first : last + 1]).mean(axis=1)
    quietest = first + (int(energy.argmin()) if len(energy) else 0)
    return quietest * VAD_FRAME_SAMPLES + VAD_FRAME_SAMPLES // 2
