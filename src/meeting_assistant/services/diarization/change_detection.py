"""Speaker change detection within an utterance. Pure.

Windows of 1.5 s slide over the utterance; each yields a speaker embedding. The utterance is cut where the mean
embeddings just before and just after differ most, provided that they are less similar than one speaker would be; both
halves are then treated the same way. Each cut is moved to the quietest frame nearby.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from meeting_assistant.domain.audio import SAMPLE_RATE_HZ, Waveform
from meeting_assistant.domain.ports import VAD_FRAME_SAMPLES, VoiceVector
from meeting_assistant.services.diarization.agglomerative import similarity_threshold

WINDOW_SAMPLES = SAMPLE_RATE_HZ * 3 // 2
HOP_SAMPLES = SAMPLE_RATE_HZ // 4
MIN_SPAN_SAMPLES = SAMPLE_RATE_HZ
"""Shortest span of one speaker."""
SLACK_SAMPLES = SAMPLE_RATE_HZ // 4
"""A window may reach this far over a cut and still count for its side."""
CONTEXT_SAMPLES = SAMPLE_RATE_HZ * 3
"""Audio compared on either side of a possible cut. More would miss a speaker who interrupts and is interrupted."""
NEARBY_SAMPLES = SAMPLE_RATE_HZ * 7 // 20
"""How far a cut may move to a quieter frame."""


@dataclass(frozen=True, slots=True)
class VoiceWindow:
    """The speaker embedding of a stretch of an utterance; samples from its start."""

    start: int
    end: int
    vector: VoiceVector


@dataclass(frozen=True, slots=True)
class VoiceSegment:
    """A stretch of an utterance with one speaker; samples from the start of the utterance."""

    start: int
    end: int
    vector: VoiceVector | None
    """None when the audio gives no usable embedding."""
    spoken_ms: int
    """From the first to the last voiced frame."""


def window_starts(samples: int) -> list[int]:
    """Return where the windows of an utterance of that length begin; none when it is too short for two speakers."""
    if samples < 2 * MIN_SPAN_SAMPLES or samples <= WINDOW_SAMPLES:
        return []
    last = samples - WINDOW_SAMPLES
    return [*range(0, last, HOP_SAMPLES), last]


def single_speaker_spans(sound: Waveform, windows: Sequence[VoiceWindow]) -> list[tuple[int, int]]:
    """Return spans of one speaker each as `(start, end)` in samples, in order and without gaps."""
    cuts = [_quietest(sound, cut) for cut in _cuts(0, len(sound), windows)]
    edges = [0, *cuts, len(sound)]
    return [(start, end) for start, end in pairwise(edges) if end > start]


def _cuts(start: int, end: int, windows: Sequence[VoiceWindow]) -> list[int]:
    best, cut = 0.0, None
    for candidate in range(start + MIN_SPAN_SAMPLES, end - MIN_SPAN_SAMPLES + 1, HOP_SAMPLES):
        first, last = max(start, candidate - CONTEXT_SAMPLES), min(end, candidate + CONTEXT_SAMPLES)
        before = [
            w for w in windows if first <= w.start + SLACK_SAMPLES and w.end <= candidate + SLACK_SAMPLES
        ]
        after = [w for w in windows if candidate <= w.start + SLACK_SAMPLES and w.end <= last + SLACK_SAMPLES]
        if not before or not after:
            continue
        similarity = float(_mean(before) @ _mean(after))
        shorter_s = min(candidate - first, last - candidate) / SAMPLE_RATE_HZ
        margin = similarity - similarity_threshold(shorter_s)
        if margin < best:
            best, cut = margin, candidate
    if cut is None:
        return []
    left = [w for w in windows if w.end <= cut + SLACK_SAMPLES]
    right = [w for w in windows if w.start >= cut - SLACK_SAMPLES]
    return [*_cuts(start, cut, left), cut, *_cuts(cut, end, right)]


def _mean(windows: Sequence[VoiceWindow]) -> VoiceVector:
    total = np.sum([window.vector for window in windows], axis=0)
    return np.asarray(total / max(float(np.linalg.norm(total)), 1e-9), np.float32)


def _quietest(sound: Waveform, cut: int) -> int:
    start = max(0, cut - NEARBY_SAMPLES)
    near = sound[start : cut + NEARBY_SAMPLES]
    frames = len(near) // VAD_FRAME_SAMPLES
    if frames == 0:
        return cut
    energy = np.square(near[: frames * VAD_FRAME_SAMPLES].reshape(frames, VAD_FRAME_SAMPLES)).sum(axis=1)
    return start + int(energy.argmin()) * VAD_FRAME_SAMPLES + VAD_FRAME_SAMPLES // 2
