"""Partials of the utterance that is still open: when to decode one, which window, and what of it may be shown.

A partial is transient: whatever goes wrong here, the finished utterance is decoded again in full.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from meeting_assistant import observability as obs
from meeting_assistant.domain.audio import SAMPLE_RATE_HZ, Waveform, samples_to_ms, to_mono, to_waveform
from meeting_assistant.domain.errors import EngineError
from meeting_assistant.domain.events import PartialTranscript
from meeting_assistant.domain.ports import AsrRequest, AsrResult
from meeting_assistant.services.asr.asr_service import AsrService
from meeting_assistant.services.asr.batching import TicketKind
from meeting_assistant.services.asr.hallucination_filters import reject_text, without_end_loop
from meeting_assistant.services.asr.language_detection import LanguageDetection
from meeting_assistant.services.asr.stabiliser import Stabiliser, split_words
from meeting_assistant.services.diarization.live_labels import LiveLabels
from meeting_assistant.services.recording.rolling_audio import RollingAudio
from meeting_assistant.services.transcription.session_types import SessionSink, SessionSpec

MIN_VOICED_MS = 250
"""The engine invents words for less speech."""
LABEL_EVERY_MS = 1500
"""New speech after which the speaker of the open utterance is estimated again."""
COST_FACTOR = 3.0
"""The next partial waits at least this many times the duration of the last decode, so that partials cannot use up the
machine."""
COMMIT_SHARE = 0.5
"""Share of the window: with more undecoded audio, words may slide out of the window before they are stable."""


@dataclass(slots=True)
class OpenUtterance:
    """The state of an utterance while it is spoken."""

    id: int
    start_sample: int
    stabiliser: Stabiliser = field(default_factory=Stabiliser)
    is_shown: bool = False
    speaker: str | None = None
    """The likely speaker label."""
    labelled_voiced_ms: int = 0
    """Length of speech when `speaker` was last estimated."""
    requested_voiced_ms: int = 0
    """Length of speech when the newest partial was requested."""
    decoded_sample: int = 0
    """End of the newest window that was decoded."""
    window_sample: int = 0
    """Where windows begin: at the start of the utterance, and later in it when it grows long."""
    agreed_window_sample: int = 0
    """Where the window of the agreed words began: only a window that begins there can continue from them."""

    def __post_init__(self) -> None:
        self.decoded_sample = self.window_sample = self.agreed_window_sample = self.start_sample

    def window_start(self, end_sample: int, max_window_s: float) -> int:
        """Return where a window that ends there begins.

        It moves by half a window at a time: in between, windows begin at the same sample and the engine continues from
        the words that it has already decoded.
        """
        longest = int(max_window_s * SAMPLE_RATE_HZ)
        if end_sample - self.window_sample > longest:
            self.window_sample = end_sample - longest // 2
        return self.window_sample

    def prefix_for(self, window_sample: int) -> str:
        """Return the words from which the decode of a window that begins there continues."""
        return " ".join(self.stabiliser.agreed_words) if window_sample == self.agreed_window_sample else ""


@dataclass(frozen=True, slots=True)
class _Window:
    start: int
    end: int
    samples: Waveform


class PartialCaptions:
    """The partials of one session; all methods on the event loop."""

    def __init__(
        self,
        spec: SessionSpec,
        asr: AsrService,
        sink: SessionSink,
        audio: RollingAudio,
        language: LanguageDetection,
        labels: LiveLabels,
    ) -> None:
        """`audio`, `language` and `labels` are shared with the other parts of the session."""
        self._spec = spec
        self._asr = asr
        self._sink = sink
        self._audio = audio
        self._language = language
        self._labels = labels
        self._voiced_ms = 0
        """Speech in the open utterance so far."""
        self._open: OpenUtterance | None = None
        self._decoding: asyncio.Task[None] | None = None
        self._labelling: asyncio.Task[None] | None = None
        self._not_before = 0
        """Sample before which no partial is requested."""

    def open(self, utterance: OpenUtterance) -> None:
        """Begin with the partials of an utterance."""
        self._open = utterance
        self._voiced_ms = 0
        self._not_before = utterance.start_sample

    def close(self) -> None:
        """End the partials of the utterance; a request that has not begun is cancelled."""
        self._open = None
        self._asr.cancel(self._spec.meeting_id)

    def stop(self) -> None:
        """End the session."""
        for task in (self._decoding, self._labelling):
            if task is not None:
                task.cancel()

    def renew(self, voiced_ms: int, *, is_idle: bool = False) -> None:
        """Request a partial if one is due. `voiced_ms`: speech in the open utterance so far.

        `is_idle`: no audio arrives for now, so that a later partial would not show more.
        """
        self._voiced_ms = voiced_ms
        utterance, end_sample = self._open, self._audio.end_sample
        if utterance is None or (self._decoding is not None and not self._decoding.done()):
            return
        if voiced_ms < MIN_VOICED_MS or (end_sample < self._not_before and not is_idle):
            return
        if voiced_ms <= utterance.requested_voiced_ms:
            return  # a pause: there are no new words
        policy = self._asr.partial_policy
        if not policy.partials_for_unwatched and not self._sink.has_viewers:
            return
        utterance.requested_voiced_ms = voiced_ms
        interval_s = self._spec.partial_interval_s * policy.interval_factor
        self._not_before = end_sample + int(interval_s * SAMPLE_RATE_HZ)
        undecoded_s = (end_sample - utterance.decoded_sample) / SAMPLE_RATE_HZ
        kind = TicketKind.COMMIT if undecoded_s > COMMIT_SHARE * policy.window_s else TicketKind.PARTIAL
        self._decoding = asyncio.create_task(self._decode(utterance, kind))

    def withdraw(self, utterance: OpenUtterance, end_sample: int, reason: str) -> None:
        """Remove the partial of an utterance without words from the screen, by an empty one that says why."""
        if utterance.is_shown:
            self._send(utterance, end_sample, (), (), withdrawn=reason)

    async def _decode(self, utterance: OpenUtterance, kind: TicketKind) -> None:
        window: _Window | None = None

        def bind() -> AsrRequest | None:
            nonlocal window
            if self._open is not utterance:
                return None
            window = self._newest_window(utterance)
            return AsrRequest(
                session=self._spec.meeting_id,
                kind="partial",
                samples=window.samples,
                language=self._language.requested,
                detected_language=self._language.detected,
                hotwords=self._spec.hotwords,
                prefix=utterance.prefix_for(window.start),
            )

        try:
            decoded = await self._asr.decode(kind, self._spec.meeting_id, bind)
        except EngineError:
            return
        if decoded is None or window is None or self._open is not utterance:
            return
        cost_samples = int(COST_FACTOR * decoded.seconds * SAMPLE_RATE_HZ)
        self._not_before = max(self._not_before, window.end + cost_samples)
        utterance.decoded_sample = window.end
        self._estimate_speaker(utterance, window.samples)
        self._show(utterance, decoded.result, window)

    def _newest_window(self, utterance: OpenUtterance) -> _Window:
        end = self._audio.end_sample
        start = utterance.window_start(end, self._asr.partial_policy.window_s)
        return _Window(start, end, to_mono(to_waveform(self._audio.read(start, end))))

    def _estimate_speaker(self, utterance: OpenUtterance, samples: Waveform) -> None:
        """Update the likely speaker in a task; the next partial shows it."""
        if self._voiced_ms - utterance.labelled_voiced_ms < LABEL_EVERY_MS:
            return
        utterance.labelled_voiced_ms = self._voiced_ms

        async def label() -> None:
            utterance.speaker = await self._labels.label_partial(samples)

        self._labelling = asyncio.create_task(label())

    def _show(self, utterance: OpenUtterance, result: AsrResult, window: _Window) -> None:
        text = result.text.strip()
        duration_ms = samples_to_ms(window.end - window.start)
        reason = reject_text(text, voiced_ms=self._voiced_ms, duration_ms=duration_ms, result=result)
        if reason is not None:
            obs.suppressed_hypotheses_total.labels(reason).inc()
            return
        result = without_end_loop(result)
        text_now = utterance.stabiliser.update(
            split_words(result.text),
            is_cut=window.start > utterance.start_sample,
            probabilities=result.word_probabilities,
        )
        utterance.agreed_window_sample = window.start
        self._send(utterance, window.end, text_now.stable, text_now.unstable)

    def _send(
        self,
        utterance: OpenUtterance,
        end_sample: int,
        stable: tuple[str, ...],
        unstable: tuple[str, ...],
        *,
        withdrawn: str | None = None,
    ) -> None:
        utterance.is_shown = utterance.is_shown or bool(stable or unstable)
        self._sink.send_partial(
            PartialTranscript(
                utterance=utterance.id,
                start_ms=samples_to_ms(utterance.start_sample),
                end_ms=samples_to_ms(end_sample),
                speaker=utterance.speaker,
                stable=" ".join(stable),
                unstable=" ".join(unstable),
                lag_ms=samples_to_ms(max(0, self._sink.received_sample() - end_sample)),
                withdrawn=withdrawn,
            )
        )
