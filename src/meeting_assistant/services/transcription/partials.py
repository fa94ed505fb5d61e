"""Captions of the utterance that is still open: when to ask for one, what it looks at, what of it may be shown.

Captions are passing and cosmetic: whatever goes wrong here, the finished utterance is decoded anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from meeting_assistant import observability as obs
from meeting_assistant.domain.audio import SAMPLE_RATE_HZ, Waveform, samples_to_ms, to_mono, to_waveform
from meeting_assistant.domain.errors import EngineError
from meeting_assistant.domain.events import PartialTranscript
from meeting_assistant.domain.ports import AsrRequest, AsrResult
from meeting_assistant.services.asr.asr_service import AsrService
from meeting_assistant.services.asr.batching import TicketKind
from meeting_assistant.services.asr.language_detection import LanguageDetection
from meeting_assistant.services.asr.stabiliser import Stabiliser, reject_text, split_words
from meeting_assistant.services.recording.rolling_audio import RollingAudio

MIN_VOICED_MS = 250
"""The engine invents words for less."""
GUESS_EVERY_MS = 1500
"""Speech after which it is worth while to ask anew who speaks."""
EMPTY = np.zeros(0, dtype=np.float32)
COST_FACTOR = 3.0
"""The next caption waits at least this many times what the last one took: captions cannot eat the machine."""
COMMIT_SHARE = 0.5
"""Of the window: with more sound unseen than this, words may slide out of the window before they are stable."""


class CaptionSink(Protocol):
    """Where captions go."""

    @property
    def has_viewers(self) -> bool:
        """True when somebody looks at them."""
        ...

    def received_sample(self) -> int:
        """Sound received so far, for the lag."""
        ...

    def send_partial(self, partial: PartialTranscript) -> None:
        """Passing: may be dropped."""
        ...


@dataclass(slots=True)
class OpenUtterance:
    """What is known of an utterance while it is spoken."""

    id: int
    start_sample: int
    stabiliser: Stabiliser = field(default_factory=Stabiliser)
    is_shown: bool = False
    speaker: str | None = None
    """As far as it can be told."""
    told_voiced_ms: int = 0
    """Speech by which it was."""
    asked_voiced_ms: int = 0
    """Speech that the newest caption was asked for."""
    seen_sample: int = 0
    """End of the newest window that was decoded."""
    window_sample: int = 0
    """Where windows begin: with the utterance, and later in it when it grows long."""
    decided_until: int = 0
    """Where the window began whose words are settled: only a window that begins there may go on from them."""

    def __post_init__(self) -> None:
        self.seen_sample = self.window_sample = self.decided_until = self.start_sample

    def window(self, end_sample: int, longest_s: float) -> int:
        """Where a window that ends there begins.

        It moves on by half a window at a time: in between, windows begin alike and the engine goes on from what it
        has worked out.
        """
        longest = int(longest_s * SAMPLE_RATE_HZ)
        if end_sample - self.window_sample > longest:
            self.window_sample = end_sample - longest // 2
        return self.window_sample

    def prefix_for(self, window_sample: int) -> str:
        """What a window that begins there need not work out again."""
        return " ".join(self.stabiliser.settled) if window_sample == self.decided_until else ""


@dataclass(slots=True)
class Captions:
    """Of one session; all methods on the event loop."""

    session: str
    asr: AsrService
    sink: CaptionSink
    kept: RollingAudio
    language: LanguageDetection
    interval_s: float
    hotwords: tuple[str, ...] = ()
    guess: Callable[[Waveform], Awaitable[str | None]] | None = None
    """Who speaks in the newest sound."""
    voiced_ms: int = 0
    """Speech in the open utterance so far; kept up to date by the session."""
    _open: OpenUtterance | None = None
    _asking: asyncio.Task[None] | None = None
    _guessing: asyncio.Task[None] | None = None
    _not_before: int = 0

    def open(self, utterance: OpenUtterance) -> None:
        """An utterance began."""
        self._open = utterance
        self.voiced_ms = 0
        self._not_before = utterance.start_sample

    def close(self) -> None:
        """It ended: what is asked for and not yet begun is taken back."""
        self._open = None
        self.asr.cancel(self.session)

    def stop(self) -> None:
        """The session is over."""
        for task in (self._asking, self._guessing):
            if task is not None:
                task.cancel()

    def renew(self) -> None:
        """Ask for a caption if it is time for one."""
        utterance, heard = self._open, self.kept.end_sample
        if utterance is None or (self._asking is not None and not self._asking.done()):
            return
        if heard < self._not_before or self.voiced_ms < MIN_VOICED_MS:
            return
        if self.voiced_ms <= utterance.asked_voiced_ms:
            return  # a pause: there are no new words
        policy = self.asr.partial_policy
        if not policy.partials_for_unwatched and not self.sink.has_viewers:
            return
        utterance.asked_voiced_ms = self.voiced_ms
        self._not_before = heard + int(self.interval_s * policy.interval_factor * SAMPLE_RATE_HZ)
        unseen_s = (heard - utterance.seen_sample) / SAMPLE_RATE_HZ
        kind = TicketKind.COMMIT if unseen_s > COMMIT_SHARE * policy.window_s else TicketKind.PARTIAL
        self._asking = asyncio.create_task(self._ask(utterance, kind))

    def take_back(self, utterance: OpenUtterance, end_sample: int) -> None:
        """An utterance that was shown turned out to hold no words: an empty caption removes it."""
        if utterance.is_shown:
            self._show(utterance, end_sample, "", "")

    async def _ask(self, utterance: OpenUtterance, kind: TicketKind) -> None:
        start = end = utterance.start_sample
        window = EMPTY

        def bind() -> AsrRequest | None:
            nonlocal start, end, window
            if self._open is not utterance:
                return None
            end = self.kept.end_sample
            start = utterance.window(end, self.asr.partial_policy.window_s)
            window = to_mono(to_waveform(self.kept.read(start, end)))
            return AsrRequest(
                session=self.session,
                kind="partial",
                samples=window,
                language=self.language.requested,
                detected_language=self.language.detected,
                hotwords=self.hotwords,
                prefix=utterance.prefix_for(start),
            )

        try:
            decoded = await self.asr.decode(kind, self.session, bind)
        except EngineError:
            return
        if decoded is None or self._open is not utterance:
            return
        cost_samples = int(COST_FACTOR * decoded.seconds * SAMPLE_RATE_HZ)
        self._not_before = max(self._not_before, end + cost_samples)
        utterance.seen_sample = end
        self._guess_speaker(utterance, window)
        self._take(utterance, decoded.result, start, end)

    def _guess_speaker(self, utterance: OpenUtterance, window: Waveform) -> None:
        """The next caption shows it: this one does not wait."""
        guess = self.guess
        if guess is None or self.voiced_ms - utterance.told_voiced_ms < GUESS_EVERY_MS:
            return
        utterance.told_voiced_ms = self.voiced_ms

        async def ask() -> None:
            utterance.speaker = await guess(window)

        self._guessing = asyncio.create_task(ask())

    def _take(self, utterance: OpenUtterance, result: AsrResult, start: int, end: int) -> None:
        text = result.text.strip()
        guard = reject_text(
            text, voiced_ms=self.voiced_ms, duration_ms=samples_to_ms(end - start), result=result
        )
        if guard is not None:
            obs.suppressed_hypotheses_total.labels(guard).inc()
            return
        shown = utterance.stabiliser.update(
            split_words(text),
            is_cut=start > utterance.start_sample,
            probabilities=result.word_probabilities,
        )
        utterance.decided_until = start
        self._show(utterance, end, " ".join(shown.stable), " ".join(shown.unstable))

    def _show(self, utterance: OpenUtterance, end_sample: int, stable: str, unstable: str) -> None:
        lag = max(0, self.sink.received_sample() - end_sample)
        utterance.is_shown = utterance.is_shown or bool(stable or unstable)
        self.sink.send_partial(
            PartialTranscript(
                utterance=utterance.id,
                start_ms=samples_to_ms(utterance.start_sample),
                end_ms=samples_to_ms(end_sample),
                speaker=utterance.speaker,
                stable=stable,
                unstable=unstable,
                lag_ms=samples_to_ms(lag),
            )
        )
