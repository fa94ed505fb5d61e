"""Where each channel of an utterance has speech, from the probabilities that opened the utterance. Pure.

An utterance of two channels opens and closes by the louder evidence of both. Inside it, each channel is judged by its
own probabilities, which one detector computed as the audio came: a second detector that begins with the utterance would
judge differently, and what opened the utterance could be missing from it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from meeting_assistant.domain.audio import ms_to_samples
from meeting_assistant.domain.ports import VAD_FRAME_SAMPLES
from meeting_assistant.services.asr.endpointing import FRAME_MS, EndpointOptions, SpeechEnded

Probabilities = NDArray[np.float32]
"""Speech probabilities, shape `(frames, channels)`."""


class RecentProbabilities:
    """The speech probabilities of a session, from the open utterance on; addressed by sample."""

    def __init__(self, start_sample: int, channels: int) -> None:
        """`start_sample`: of the first frame that is appended."""
        self._start = start_sample
        self._frames: Probabilities = np.zeros((0, channels), np.float32)

    def append(self, frames: Probabilities) -> None:
        """Add the frames that follow."""
        self._frames = np.concatenate([self._frames, frames])

    def evict_before(self, sample: int) -> None:
        """Drop frames that end before `sample`."""
        count = min(len(self._frames), max(0, (sample - self._start) // VAD_FRAME_SAMPLES))
        self._frames = self._frames[count:]
        self._start += count * VAD_FRAME_SAMPLES

    def read(self, start_sample: int, end_sample: int) -> Probabilities:
        """Return one row for each frame from `start_sample` on, which need not lie on the grid of the detector."""
        if not len(self._frames):
            return self._frames
        middles = np.arange(start_sample, end_sample, VAD_FRAME_SAMPLES) + VAD_FRAME_SAMPLES // 2
        rows = (middles - self._start) // VAD_FRAME_SAMPLES
        return self._frames[np.clip(rows, 0, len(self._frames) - 1)]


def channel_spans(
    ended: SpeechEnded, probabilities: Probabilities, options: EndpointOptions
) -> list[list[SpeechEnded]]:
    """Return for each channel the stretches of an utterance in which it has speech.

    `probabilities` begin with the utterance. At least one channel has a stretch.
    """
    voiced = [_voiced(channel, options) for channel in probabilities.T]
    spans = [_spans(ended, flags, options) for flags in voiced]
    if not any(spans):
        # No channel alone has enough speech to open an utterance, and both together had.
        likeliest = int(probabilities.sum(axis=0).argmax())
        spans[likeliest] = [SpeechEnded(ended.start_sample, ended.end_sample, ended.voiced)]
    return spans


def _voiced(probabilities: NDArray[np.float32], options: EndpointOptions) -> list[bool]:
    """Return one flag per frame, with the two thresholds of endpointing."""
    flags: list[bool] = []
    is_voiced = False
    for probability in probabilities.tolist():
        is_voiced = probability >= (options.release if is_voiced else options.threshold)
        flags.append(is_voiced)
    return flags


def _spans(ended: SpeechEnded, voiced: Sequence[bool], options: EndpointOptions) -> list[SpeechEnded]:
    """Return the stretches between pauses, with a little audio on both sides."""
    spans: list[SpeechEnded] = []
    length = ended.end_sample - ended.start_sample
    for first, last in _stretches(voiced, options):
        floor = spans[-1].end_sample - ended.start_sample if spans else 0
        start = max(floor, first * VAD_FRAME_SAMPLES - ms_to_samples(options.lead_ms))
        end = min(length, last * VAD_FRAME_SAMPLES + ms_to_samples(options.trail_ms))
        # Frames are known to within one: speech that fills the utterance is decoded like that of a single channel.
        start = 0 if start <= VAD_FRAME_SAMPLES else start
        end = length if length - end <= VAD_FRAME_SAMPLES else end
        flags = tuple(voiced[start // VAD_FRAME_SAMPLES : -(-end // VAD_FRAME_SAMPLES)])
        spans.append(SpeechEnded(ended.start_sample + start, ended.start_sample + end, flags))
    return spans


def _stretches(voiced: Sequence[bool], options: EndpointOptions) -> list[tuple[int, int]]:
    """Return half-open ranges of frames. A single voiced frame is noise, except where the utterance was cut."""
    stretches: list[tuple[int, int]] = []
    is_speech: list[bool] = []
    for first, last in _runs(voiced):
        counts = (last - first) * FRAME_MS >= options.min_voiced_ms or first == 0 or last == len(voiced)
        if stretches and (first - stretches[-1][1]) * FRAME_MS < options.silence_ms:
            stretches[-1] = (stretches[-1][0], last)
            is_speech[-1] = is_speech[-1] or counts
        else:
            stretches.append((first, last))
            is_speech.append(counts)
    return [stretch for stretch, counts in zip(stretches, is_speech, strict=True) if counts]


def _runs(voiced: Sequence[bool]) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], voiced, [False]]).astype(np.int8)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))
