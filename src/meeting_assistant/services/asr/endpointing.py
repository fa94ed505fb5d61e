"""Endpointing: where utterances start and end, from speech probabilities. Pure.

An utterance opens after a short run of voiced frames and closes after a pause, or at the length limit at its
quietest recent frame. Two thresholds (hysteresis) keep a trailing syllable from ending it. An utterance reaches a
little further on both sides than its voiced part, because recognisers need the onset of the first consonant, but
never into the utterance before: no sample belongs to two utterances.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from meeting_assistant.domain.audio import SAMPLE_RATE_HZ, ms_to_samples
from meeting_assistant.domain.ports import VAD_FRAME_SAMPLES

FRAME_MS = VAD_FRAME_SAMPLES * 1000 // SAMPLE_RATE_HZ


@dataclass(frozen=True, slots=True)
class EndpointOptions:
    """Thresholds and durations that decide when an utterance begins and ends."""

    threshold: float = 0.5
    """A frame at or above it is voiced."""
    release: float = 0.35
    """Inside an utterance a frame below it is silent; between the two thresholds the last state continues."""
    min_voiced_ms: int = 96
    """Run of voiced frames that opens an utterance: a click is shorter, "Yes" is longer."""
    silence_ms: int = 500
    """A pause this long closes the utterance."""
    max_utterance_ms: int = 15_000
    """Longer speech is cut at the quietest frame of its last third."""
    lead_ms: int = 300
    """Audio before the first voiced frame that belongs to the utterance."""
    trail_ms: int = 300
    """Audio after the last voiced frame that belongs to the utterance."""


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """An utterance opened."""

    start_sample: int


@dataclass(frozen=True, slots=True)
class SpeechEnded:
    """An utterance closed."""

    start_sample: int
    end_sample: int
    voiced: tuple[bool, ...]
    """One flag per frame from `start_sample` on: whether it contains speech."""

    @property
    def voiced_ms(self) -> int:
        """Length of the voiced frames."""
        return sum(self.voiced) * FRAME_MS

    def after(self, sample: int) -> SpeechEnded:
        """Return the utterance without what lies before `sample`, a sample of the meeting."""
        if self.start_sample >= sample:
            return self
        frames = (sample - self.start_sample) // VAD_FRAME_SAMPLES
        return replace(self, start_sample=sample, voiced=self.voiced[frames:])

    def sub_span(self, start: int, end: int) -> SpeechEnded:
        """Return a part of the utterance; `start` and `end` in samples from its start."""
        first, last = start // VAD_FRAME_SAMPLES, -(-end // VAD_FRAME_SAMPLES)
        return SpeechEnded(self.start_sample + start, self.start_sample + end, self.voiced[first:last])


EndpointEvent = SpeechStarted | SpeechEnded


class Endpointer:
    """Turns speech probabilities, frame by frame, into starts and ends of utterances."""

    def __init__(
        self, options: EndpointOptions | None = None, *, start_sample: int = 0, floor: int | None = None
    ) -> None:
        """`start_sample`: of the first frame; `floor`: no utterance begins before it."""
        self._options = options or EndpointOptions()
        self._origin = start_sample
        self._floor = start_sample if floor is None else floor
        """End of the last utterance: the next one cannot begin before it."""
        self._frame = 0
        """Index of the next frame, counted from the origin."""
        self._run = 0
        """Length of the current run of voiced frames outside an utterance."""
        self._open: _OpenUtterance | None = None

    @property
    def is_open(self) -> bool:
        """True inside an utterance."""
        return self._open is not None

    @property
    def position(self) -> int:
        """End of the last frame, in samples."""
        return self._sample_at(self._frame)

    @property
    def decided_until(self) -> int:
        """Sample before which no later frame can open an utterance."""
        if self._open is not None:
            return self._open.start_sample
        undecided = self._run * VAD_FRAME_SAMPLES + ms_to_samples(self._options.lead_ms)
        return max(self._floor, self.position - undecided)

    @property
    def voiced_ms(self) -> int:
        """Length of speech in the open utterance; 0 outside one."""
        return sum(self._open.voiced) * FRAME_MS if self._open else 0

    def push(self, probabilities: Iterable[float]) -> list[EndpointEvent]:
        """Take one probability per frame of `VAD_FRAME_SAMPLES`; return the starts and ends that they decide."""
        events: list[EndpointEvent] = []
        for probability in probabilities:
            self._frame += 1
            if self._open is None:
                self._push_closed(probability, events)
            else:
                self._push_open(self._open, probability, events)
        return events

    def flush(self, end_sample: int | None = None) -> list[EndpointEvent]:
        """Close the open utterance because no audio follows. `end_sample` may lie past the last whole frame."""
        if self._open is None:
            self._run = 0
            return []
        end = self.position if end_sample is None else max(end_sample, self._open.start_sample)
        return [self._close(self._open, end)]

    def _push_closed(self, probability: float, events: list[EndpointEvent]) -> None:
        options = self._options
        self._run = self._run + 1 if probability >= options.threshold else 0
        if self._run * FRAME_MS < options.min_voiced_ms:
            return
        onset = self._sample_at(self._frame - self._run)
        start = max(self._floor, onset - ms_to_samples(options.lead_ms))
        quiet_frames = max(0, onset - start) // VAD_FRAME_SAMPLES
        self._open = _OpenUtterance(
            start_sample=start,
            voiced=[False] * quiet_frames + [True] * self._run,
            probabilities=[0.0] * quiet_frames + [probability] * self._run,
            last_voiced_end=self.position,
        )
        self._run = 0
        events.append(SpeechStarted(start))

    def _push_open(self, utterance: _OpenUtterance, probability: float, events: list[EndpointEvent]) -> None:
        options = self._options
        is_voiced = probability >= (options.release if utterance.was_voiced else options.threshold)
        utterance.was_voiced = is_voiced
        utterance.voiced.append(is_voiced)
        utterance.probabilities.append(probability)
        if is_voiced:
            utterance.last_voiced_end = self.position
        silence = self.position - utterance.last_voiced_end
        if silence >= ms_to_samples(options.silence_ms):
            end = min(self.position, utterance.last_voiced_end + ms_to_samples(options.trail_ms))
            events.append(self._close(utterance, end))
        elif self.position - utterance.start_sample >= ms_to_samples(options.max_utterance_ms):
            events.extend(self._cut(utterance))

    def _cut(self, utterance: _OpenUtterance) -> list[EndpointEvent]:
        """Close at the quietest frame of the last third; the rest opens a new utterance."""
        frames = len(utterance.probabilities)
        first = frames * 2 // 3
        # Three frames around a candidate decide: one quiet frame inside a word is a plosive, not a pause.
        padded = [*utterance.probabilities, 1.0]
        quietest = min(range(first, frames), key=lambda i: sum(padded[i - 1 : i + 2]))
        cut_sample = min(self.position, utterance.start_sample + (quietest + 1) * VAD_FRAME_SAMPLES)
        rest_voiced = utterance.voiced[quietest + 1 :]
        rest_probabilities = utterance.probabilities[quietest + 1 :]
        closed = self._close(utterance, cut_sample)
        if not any(rest_voiced):
            return [closed]
        self._open = _OpenUtterance(
            start_sample=cut_sample,
            voiced=rest_voiced,
            probabilities=rest_probabilities,
            last_voiced_end=utterance.last_voiced_end,
            was_voiced=utterance.was_voiced,
        )
        return [closed, SpeechStarted(cut_sample)]

    def _close(self, utterance: _OpenUtterance, end_sample: int) -> SpeechEnded:
        frames = -(-(end_sample - utterance.start_sample) // VAD_FRAME_SAMPLES)
        self._open = None
        self._floor = end_sample
        self._run = 0
        return SpeechEnded(utterance.start_sample, end_sample, tuple(utterance.voiced[:frames]))

    def _sample_at(self, frame: int) -> int:
        return self._origin + frame * VAD_FRAME_SAMPLES


@dataclass(slots=True)
class _OpenUtterance:
    start_sample: int
    voiced: list[bool]
    probabilities: list[float]
    last_voiced_end: int
    was_voiced: bool = True
