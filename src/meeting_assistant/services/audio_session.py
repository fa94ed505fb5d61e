"""`process_audio_session`: the one function that turns a session's sound into its events.

Live it follows the stream as it comes; for an upload, or after a crash, it reads what is stored; on another machine
it runs the same way. It holds no more sound than the open utterance and the few that wait for their decode:
when decoding falls behind, reading falls behind with it and the sound waits in the journal.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Protocol

from meeting_assistant import observability as obs
from meeting_assistant.domain.audio import (
    SAMPLE_RATE_HZ,
    Samples,
    Waveform,
    pcm_to_samples,
    samples_to_ms,
    to_waveform,
)
from meeting_assistant.domain.errors import EngineError
from meeting_assistant.domain.events import PartialTranscript
from meeting_assistant.domain.ports import VAD_FRAME_SAMPLES, AsrRequest, AsrResult, Vad
from meeting_assistant.domain.transcript import Gap, Utterance, Word
from meeting_assistant.services.asr_service import AsrService, Decoded
from meeting_assistant.services.batching import TicketKind
from meeting_assistant.services.commit_policy import (
    Stabiliser,
    guard_sound,
    guard_text,
    split_words,
)
from meeting_assistant.services.endpointing import (
    Endpointer,
    EndpointEvent,
    EndpointOptions,
    SpeechEnded,
    SpeechStarted,
)
from meeting_assistant.services.kept_sound import KeptSound
from meeting_assistant.services.patience import with_patience
from meeting_assistant.services.speaker_attribution import SpeakerLabels
from meeting_assistant.services.word_timing import estimate_word_times

logger = logging.getLogger(__name__)

MAX_WAITING_FINALS = 8
"""Finished utterances that may wait for their decode before reading waits too."""
SETTLE_EVERY_SAMPLES = 5 * SAMPLE_RATE_HZ
"""Silence is recorded as listened to in steps of this length."""
MIN_VOICED_FOR_PARTIAL_MS = 300
"""The engine invents words for less."""
PARTIAL_COST_FACTOR = 3.0
"""The next partial waits at least this many times what the last one took: partials cannot eat the machine."""


@dataclass(frozen=True, slots=True)
class SessionSpec:
    """What a session is told; small and JSON-safe, so that it can travel."""

    meeting_id: str
    start_sample: int = 0
    """Where to begin: everything before it is committed."""
    next_utterance: int = 1
    taken_labels: tuple[str, ...] = ()
    language: str | None = None
    hotwords: tuple[str, ...] = ()
    is_live: bool = True
    """Live sessions show partials and close an utterance when the sound stays away."""
    partial_interval_s: float = 0.5
    has_speakers: bool = True
    endpointing: EndpointOptions = field(default_factory=EndpointOptions)
    patience_s: float = 1.5
    """Live: with no sound for so long, the open utterance is finished."""


class SessionSink(Protocol):
    """Where a session's results go; here the meeting's channel, on a worker the way back to the gateway."""

    def received_sample(self) -> int:
        """Sound received so far, for the lag."""
        ...

    def show_partial(self, partial: PartialTranscript) -> None:
        """Passing: may be dropped."""
        ...

    async def commit_utterance(self, utterance: Utterance, committed_sample: int) -> None:
        """Durable when it returns; called in order."""
        ...

    async def commit_silence(self, committed_sample: int) -> None:
        """Durable when it returns: nothing was said up to here."""
        ...

    async def record_gap(self, gap: Gap, committed_sample: int) -> None:
        """Durable when it returns: this stretch could not be transcribed."""
        ...


@dataclass(frozen=True, slots=True)
class SpeechTools:
    """The shared machinery that sessions borrow."""

    asr: AsrService
    vad: Vad
    vad_threads: Executor
    """Runs voice activity, off the event loop."""


async def process_audio_session(
    spec: SessionSpec, audio: AsyncIterator[bytes], sink: SessionSink, tools: SpeechTools
) -> None:
    """Transcribe canonical PCM until `audio` ends; every utterance is committed when this returns.

    Raises what the sink raises. A window on which the engine fails becomes a gap; the session goes on.
    """
    session = _Session(spec, sink, tools)
    try:
        async with asyncio.TaskGroup() as group:
            committer = group.create_task(session.commit_in_order())
            try:
                async for piece in with_patience(audio, spec.patience_s if spec.is_live else None):
                    if piece is None:
                        await session.rest()
                    else:
                        await session.hear(pcm_to_samples(piece))
                await session.rest()
                await session.settle(final=True)
            finally:
                session.stop_partials()
            await session.end()
            await committer
    except BaseExceptionGroup as group_error:
        raise _first(group_error) from group_error
    finally:
        session.drop_decodes()
        tools.asr.cancel(spec.meeting_id)
        await asyncio.shield(tools.asr.close_session(spec.meeting_id))


class _Session:
    """State of one running session; all methods on the event loop."""

    def __init__(self, spec: SessionSpec, sink: SessionSink, tools: SpeechTools) -> None:
        self._spec = spec
        self._sink = sink
        self._tools = tools
        self._vad = tools.vad.open()
        self._endpointer = Endpointer(spec.endpointing, start_sample=spec.start_sample)
        self._labels = SpeakerLabels(spec.taken_labels)
        self._kept = KeptSound(spec.start_sample)
        self._next_utterance = spec.next_utterance
        self._open: _OpenUtterance | None = None
        self._settled = spec.start_sample
        self._waiting: asyncio.Queue[_Waiting | None] = asyncio.Queue(MAX_WAITING_FINALS)
        self._decodes: set[asyncio.Task[Decoded | None]] = set()
        self._partial: asyncio.Task[None] | None = None
        self._partial_not_before = spec.start_sample

    # --- sound comes in

    async def hear(self, samples: Samples) -> None:
        self._kept.append(samples)
        loop = asyncio.get_running_loop()
        probabilities = await loop.run_in_executor(self._tools.vad_threads, self._vad.feed, samples)
        await self._follow(self._endpointer.push(probabilities.tolist()))
        self._kept.forget_before(self._endpointer.settled_sample - VAD_FRAME_SAMPLES)
        self._maybe_show_partial()
        await self.settle()

    async def rest(self) -> None:
        """No more sound for now: finish what is open, align anew."""
        end = self._kept.end_sample
        if not self._endpointer.is_open and self._endpointer.position == end:
            return
        await self._follow(self._endpointer.flush(end))
        self._endpointer.restart(end)
        self._vad = self._tools.vad.open()

    async def settle(self, *, final: bool = False) -> None:
        """Record silence as listened to: now and then, and all of it once nothing more can come."""
        settled = self._kept.end_sample if final else self._endpointer.settled_sample
        if settled - self._settled >= (1 if final else SETTLE_EVERY_SAMPLES):
            self._settled = settled
            await self._waiting.put(_Waiting(settled))

    async def end(self) -> None:
        await self._waiting.put(None)

    async def _follow(self, events: Sequence[EndpointEvent]) -> None:
        for event in events:
            if isinstance(event, SpeechStarted):
                self._open = _OpenUtterance(self._next_utterance, event.start_sample)
                self._next_utterance += 1
                self._partial_not_before = event.start_sample
            elif self._open is not None:
                await self._finish_utterance(self._open, event)
                self._open = None

    # --- finished utterances

    async def _finish_utterance(self, utterance: _OpenUtterance, ended: SpeechEnded) -> None:
        self._tools.asr.cancel(self._spec.meeting_id)
        self._settled = ended.end_sample
        sound = self._kept.read(ended.start_sample, ended.end_sample)
        guard = guard_sound(sound)
        if guard is not None:
            obs.suppressed_hypotheses_total.labels(guard).inc()
            await self._waiting.put(_Waiting(ended.end_sample, utterance))
            return
        kind = TicketKind.FINAL if self._spec.is_live else TicketKind.FILE
        decode = asyncio.create_task(self._decode_final(kind, sound))
        self._decodes.add(decode)
        decode.add_done_callback(self._decodes.discard)
        await self._waiting.put(_Waiting(ended.end_sample, utterance, ended, decode))

    async def _decode_final(self, kind: TicketKind, sound: Samples) -> Decoded | None:
        waveform = to_waveform(sound)
        request = self._request("final", lambda: waveform)
        try:
            return await self._tools.asr.decode(kind, self._spec.meeting_id, request)
        except EngineError:
            # Once more, alone: a passing fault (memory, a device that resets) must not cost words.
            return await self._tools.asr.decode(kind, self._spec.meeting_id, request)

    async def commit_in_order(self) -> None:
        """Take decodes in the order of speech and make them durable."""
        while (waiting := await self._waiting.get()) is not None:
            if waiting.utterance is None or waiting.ended is None or waiting.decode is None:
                self._take_back(waiting.utterance, waiting.committed_sample)
                await self._sink.commit_silence(waiting.committed_sample)
                continue
            try:
                decoded = await waiting.decode
            except EngineError as error:
                await self._record_gap(waiting.ended, error)
                continue
            await self._commit(waiting.utterance, waiting.ended, decoded)

    async def _commit(self, utterance: _OpenUtterance, ended: SpeechEnded, decoded: Decoded | None) -> None:
        start_ms, end_ms = samples_to_ms(ended.start_sample), samples_to_ms(ended.end_sample)
        text = decoded.result.text.strip() if decoded else ""
        guard = guard_text(text, voiced_ms=ended.voiced_ms, duration_ms=end_ms - start_ms)
        if guard is not None:
            obs.suppressed_hypotheses_total.labels(guard).inc()
        if decoded is None or guard is not None or not text:
            self._take_back(utterance, ended.end_sample)
            await self._sink.commit_silence(ended.end_sample)
            return
        words, is_aligned = _words(decoded.result, ended, start_ms, end_ms)
        voice = decoded.result.speaker_index if self._spec.has_speakers else None
        finished = Utterance(
            utterance=utterance.id,
            start_ms=start_ms,
            end_ms=end_ms,
            speaker=self._labels.label(voice),
            text=text,
            words=words,
            timing="engine" if is_aligned else "estimated",
        )
        await self._sink.commit_utterance(finished, ended.end_sample)

    async def _record_gap(self, ended: SpeechEnded, error: EngineError) -> None:
        logger.warning(
            "A stretch of sound could not be transcribed.",
            extra=obs.log_fields(meeting=self._spec.meeting_id, code=error.code),
        )
        gap = Gap(
            start_ms=samples_to_ms(ended.start_sample),
            end_ms=samples_to_ms(ended.end_sample),
            reason="engine_failed",
        )
        obs.gaps_total.labels(gap.reason).inc()
        await self._sink.record_gap(gap, ended.end_sample)

    # --- captions of the open utterance

    def _maybe_show_partial(self) -> None:
        utterance = self._open
        if not self._spec.is_live or utterance is None:
            return
        if self._partial is not None and not self._partial.done():
            return
        heard = self._kept.end_sample
        if heard < self._partial_not_before or self._endpointer.voiced_ms < MIN_VOICED_FOR_PARTIAL_MS:
            return
        self._partial_not_before = heard + int(self._spec.partial_interval_s * SAMPLE_RATE_HZ)
        self._partial = asyncio.create_task(self._show_partial(utterance))

    async def _show_partial(self, utterance: _OpenUtterance) -> None:
        window_end = utterance.start_sample

        def window() -> Waveform:
            nonlocal window_end
            window_end = self._kept.end_sample
            return to_waveform(self._kept.read(utterance.start_sample, window_end))

        bind = self._request("partial", window, only_while=lambda: self._open is utterance)
        try:
            decoded = await self._tools.asr.decode(TicketKind.PARTIAL, self._spec.meeting_id, bind)
        except EngineError:
            return  # cosmetic: the finished utterance is decoded anew and reports its own failure
        if decoded is None or self._open is not utterance:
            return
        cost_samples = int(PARTIAL_COST_FACTOR * decoded.seconds * SAMPLE_RATE_HZ)
        self._partial_not_before = max(self._partial_not_before, window_end + cost_samples)
        duration_ms = samples_to_ms(window_end - utterance.start_sample)
        text = decoded.result.text.strip()
        guard = guard_text(text, voiced_ms=self._endpointer.voiced_ms, duration_ms=duration_ms)
        if guard is not None:
            obs.suppressed_hypotheses_total.labels(guard).inc()
            return
        shown = utterance.stabiliser.update(split_words(text))
        self._show(utterance, window_end, " ".join(shown.stable), " ".join(shown.unstable))

    def _show(self, utterance: _OpenUtterance, end_sample: int, stable: str, unstable: str) -> None:
        lag = max(0, self._sink.received_sample() - end_sample)
        obs.caption_lag_seconds.observe(lag / SAMPLE_RATE_HZ)
        utterance.is_shown = utterance.is_shown or bool(stable or unstable)
        self._sink.show_partial(
            PartialTranscript(
                utterance=utterance.id,
                start_ms=samples_to_ms(utterance.start_sample),
                end_ms=samples_to_ms(end_sample),
                stable=stable,
                unstable=unstable,
                lag_ms=samples_to_ms(lag),
            )
        )

    def _take_back(self, utterance: _OpenUtterance | None, end_sample: int) -> None:
        """An utterance that was shown turned out to hold no words: an empty partial removes it."""
        if utterance is not None and utterance.is_shown:
            self._show(utterance, end_sample, "", "")

    def drop_decodes(self) -> None:
        """After a failure or a cancellation nobody waits for them any more."""
        for decode in list(self._decodes):
            decode.cancel()

    def stop_partials(self) -> None:
        if self._partial is not None:
            self._partial.cancel()

    def _request(
        self,
        kind: str,
        window: Callable[[], Waveform],
        only_while: Callable[[], bool] = lambda: True,
    ) -> Callable[[], AsrRequest | None]:
        def bind() -> AsrRequest | None:
            if not only_while():
                return None
            return AsrRequest(
                session=self._spec.meeting_id,
                kind="final" if kind == "final" else "partial",
                samples=window(),
                language=self._spec.language,
                hotwords=self._spec.hotwords,
            )

        return bind


@dataclass(slots=True)
class _OpenUtterance:
    id: int
    start_sample: int
    stabiliser: Stabiliser = field(default_factory=Stabiliser)
    is_shown: bool = False


@dataclass(frozen=True, slots=True)
class _Waiting:
    """Something to make durable, in the order of speech."""

    committed_sample: int
    utterance: _OpenUtterance | None = None
    ended: SpeechEnded | None = None
    decode: asyncio.Task[Decoded | None] | None = None


def _words(result: AsrResult, ended: SpeechEnded, start_ms: int, end_ms: int) -> tuple[list[Word], bool]:
    if result.words is None:
        estimated = estimate_word_times(
            split_words(result.text), start_ms=start_ms, end_ms=end_ms, voiced=ended.voiced
        )
        return estimated, False
    shifted = [
        word.model_copy(update={"start_ms": start_ms + word.start_ms, "end_ms": start_ms + word.end_ms})
        for word in result.words
    ]
    return shifted, True


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    first = group.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
