"""Finds the echo of one channel in the other by their sound. Pure.

A microphone picks up the loudspeaker, or a far end sends a voice back: the same sound, later by up to a second, at
another level and through another room. The delays are found by the generalised cross-correlation with phase transform
(Knapp and Carter 1976), which the level does not change. For each delay, the share of a channel that the other one
explains is measured frame by frame (magnitude-squared coherence, weighted with the spectrum): near one where there is
only echo, and low where somebody speaks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meeting_assistant.domain.audio import SAMPLE_RATE_HZ, Samples, to_waveform
from meeting_assistant.domain.ports import VAD_FRAME_SAMPLES
from meeting_assistant.services.asr.hallucination_filters import MIN_PEAK_RMS

MAX_DELAY_SAMPLES = SAMPLE_RATE_HZ
"""The same sound later than this is a repetition and no echo."""
WINDOW_SAMPLES = 1024
HALF_SPAN_FRAMES = 5
"""Frames on either side over which coherence is measured."""
CONTEXT_SAMPLES = MAX_DELAY_SAMPLES + (HALF_SPAN_FRAMES + 1) * VAD_FRAME_SAMPLES + WINDOW_SAMPLES
"""Audio before an utterance in which the source of an echo may lie."""
BAND_HZ = (200, 4000)
"""Where a loudspeaker, a codec and a microphone keep the phase of speech."""
MIN_EXPLAINED = 0.5
"""Share of the energy of a frame that makes it an echo."""
SIGNIFICANT = 12.0
"""Height of a peak in the cross-correlation, in standard deviations."""
MAX_DELAYS = 3
"""Echoes of different delay: in both directions, and one more reflection."""
SAME_DELAY_SAMPLES = SAMPLE_RATE_HZ // 50
"""Peaks nearer than this are the same path through the room."""
SIMULTANEOUS_SAMPLES = SAMPLE_RATE_HZ // 100
"""Below this delay the order of two channels says nothing: it is that of their devices."""
LOUDER = 16.0
"""An echo with this many times the energy of its source is none: then the channels are not recorded in step."""

Bins = NDArray[np.complex64]


@dataclass(frozen=True, slots=True)
class SoundEcho:
    """What the sound of an utterance says about echo."""

    frames: NDArray[np.bool_]
    """Whether a frame is an echo of the other channel; shape `(frames, 2)`, from the start of the utterance."""
    is_related: bool
    """False when no delay makes the channels alike anywhere: then the same words on both are two people."""


def find_echo(sound: Samples, utterance_start: int) -> SoundEcho:
    """Return the frames of an utterance that are an echo.

    `sound`, shape `(n, 2)`, is that of the utterance and of up to `CONTEXT_SAMPLES` before it; `utterance_start` is
    its index there. Of two channels that are alike, the later one is the echo, unless it is much louder; without a
    delay, the quieter one.
    """
    count = -(-(len(sound) - utterance_start) // VAD_FRAME_SAMPLES)
    frames = np.zeros((count, 2), np.bool_)
    waves = to_waveform(sound).T
    if min(_loudest(wave) for wave in waves) < MIN_PEAK_RMS:
        return SoundEcho(frames, is_related=False)
    delays = _delays(waves[0], waves[1])
    sources = np.zeros((count, 2), np.bool_)
    for delay in delays:
        _mark(waves, utterance_start, delay, frames, sources)
    return SoundEcho(frames, is_related=bool(delays))


def _loudest(wave: NDArray[np.float32]) -> float:
    whole = wave[: len(wave) // VAD_FRAME_SAMPLES * VAD_FRAME_SAMPLES].reshape(-1, VAD_FRAME_SAMPLES)
    return math.sqrt(np.square(whole).mean(axis=1).max(initial=0.0))


def _delays(first: NDArray[np.float32], second: NDArray[np.float32]) -> list[int]:
    """Return by how many samples the first channel is later than the second, the clearest delay first."""
    size = 1 << (len(first) + MAX_DELAY_SAMPLES - 1).bit_length()
    low, high = (hz * size // SAMPLE_RATE_HZ for hz in BAND_HZ)
    cross = np.fft.rfft(first, size)[low:high] * np.conj(np.fft.rfft(second, size)[low:high])
    whitened = np.zeros(size // 2 + 1, np.complex64)
    whitened[low:high] = cross / np.maximum(np.abs(cross), 1e-12)
    correlation = np.fft.irfft(whitened, size)
    near = np.abs(np.concatenate([correlation[-MAX_DELAY_SAMPLES:], correlation[: MAX_DELAY_SAMPLES + 1]]))
    least = SIGNIFICANT * float(np.sqrt(np.mean(np.square(correlation))))
    delays: list[int] = []
    while len(delays) < MAX_DELAYS:
        best = int(near.argmax())
        if near[best] < least:
            break
        delays.append(best - MAX_DELAY_SAMPLES)
        near[max(0, best - SAME_DELAY_SAMPLES) : best + SAME_DELAY_SAMPLES + 1] = 0
    return delays


def _mark(
    waves: NDArray[np.float32],
    utterance_start: int,
    delay: int,
    echo: NDArray[np.bool_],
    sources: NDArray[np.bool_],
) -> None:
    """Mark the frames that are an echo with this delay, and those that they are an echo of.

    A source is never marked as an echo, so that of two channels that are alike one stays.
    """
    later, earlier, lag = (0, 1, delay) if delay >= 0 else (1, 0, -delay)
    count = len(echo)
    mine = _spectra(waves[later], utterance_start, count)
    theirs = _spectra(waves[earlier], utterance_start - lag, count)
    own, source = (_smooth(np.square(np.abs(bins))) for bins in (mine, theirs))
    shared = np.square(np.abs(_smooth(mine * np.conj(theirs))))
    own_energy, source_energy = own.sum(axis=1), source.sum(axis=1)
    tiny = np.float32(1e-12)
    explained = (shared / np.maximum(source, tiny)).sum(axis=1) / np.maximum(own_energy, tiny)
    explained_source = (shared / np.maximum(own, tiny)).sum(axis=1) / np.maximum(source_energy, tiny)
    is_alike = np.minimum(explained, explained_source) >= MIN_EXPLAINED
    ratio = own_energy / np.maximum(source_energy, tiny)
    limit = LOUDER if lag > SIMULTANEOUS_SAMPLES else 1.0
    is_later = _is_later_the_echo(ratio, is_alike, limit, is_tie_first=later == 1)
    frames = np.arange(count)
    source_frames = frames - round(lag / VAD_FRAME_SAMPLES)
    for frame, other in zip(frames[is_alike].tolist(), source_frames[is_alike].tolist(), strict=True):
        if is_later[frame] or other < 0:
            marked, kept = (frame, later), (other, earlier)
        else:
            marked, kept = (other, earlier), (frame, later)
        if sources[marked] or (kept[0] >= 0 and echo[kept]):
            continue
        echo[marked] = True
        if kept[0] >= 0:
            sources[kept] = True


def _is_later_the_echo(
    ratio: NDArray[np.float32], is_alike: NDArray[np.bool_], limit: float, *, is_tie_first: bool
) -> NDArray[np.bool_]:
    """Return for each frame whether the later channel is the echo.

    The answer changes only where the level clearly does: twice the energy. At first it is that of the whole.
    """
    alike = ratio[is_alike]
    whole = float(np.median(alike)) if len(alike) else 0.0
    is_later = whole < limit or (whole == limit and is_tie_first)
    answers = np.zeros(len(ratio), np.bool_)
    for frame, level in enumerate(ratio.tolist()):
        if is_alike[frame]:
            is_later = (is_later or level < limit / 2) and level <= limit * 2
        answers[frame] = is_later
    return answers


def _spectra(wave: NDArray[np.float32], start: int, count: int) -> Bins:
    """Return the spectra of windows around `count` frames from `start` on, in the band; silence lies outside the wave.

    Shape `(count + 2 * HALF_SPAN_FRAMES, bins)`.
    """
    margin = (WINDOW_SAMPLES - VAD_FRAME_SAMPLES) // 2
    first = start - HALF_SPAN_FRAMES * VAD_FRAME_SAMPLES - margin
    total = count + 2 * HALF_SPAN_FRAMES
    last = first + (total - 1) * VAD_FRAME_SAMPLES + WINDOW_SAMPLES
    padded = np.pad(wave[max(0, first) : max(0, last)], (max(0, -first), max(0, last - len(wave))))
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW_SAMPLES)[::VAD_FRAME_SAMPLES][:total]
    low, high = (hz * WINDOW_SAMPLES // SAMPLE_RATE_HZ for hz in BAND_HZ)
    spectra = np.fft.rfft(windows * np.hanning(WINDOW_SAMPLES).astype(np.float32), axis=1)
    return spectra[:, low:high].astype(np.complex64)


def _smooth(frames: Bins | NDArray[np.float32]) -> Any:
    """Return the sums over `HALF_SPAN_FRAMES` on either side of each frame."""
    width = 2 * HALF_SPAN_FRAMES + 1
    count = len(frames) - width + 1
    # Not by differences of running sums: a quiet echo would drown in the rounding of loud speech before it.
    return np.sum([frames[at : at + count] for at in range(width)], axis=0)
