"""`process_audio_session`: the one function that turns a session's sound into its events.

Live it follows the stream as it comes; for an upload, or after a crash, it reads what is stored; on another machine
it runs the same way. It holds no more sound than the open utterance and the few that wait for their decode:
when decoding falls behind, reading falls behind with it and the sound waits in the journal.
"""

from __future__ import annotations

import asyncio
import base64
import logging
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

import numpy as np

from meeting_assistant import observability as obs
from meeting_assistant import tracing
from meeting_assistant.domain.audio import (
    SAMPLE_RATE_HZ,
    Samples,
    pcm_to_samples,
    samples_to_ms,
)
from meeting_assistant.domain.errors import EngineError
from meeting_assistant.domain.meeting import YOU, ResumePoint
from meeting_assistant.domain.ports import VAD_FRAME_SAMPLES, AsrRequest, AsrResult
from meeting_assistant.domain.transcript import Gap, Utterance, Word
from meeting_assistant.net.blocking import run_blocking
from meeting_assistant.services.asr.batching import TicketKind
from meeting_assistant.services.asr.endpointing import (
    Endpointer,
    EndpointEvent,
    SpeechEnded,
    SpeechStarted,
)
from meeting_assistant.services.asr.language_detection import LanguageDetection
from meeting_assistant.services.asr.multichannel_vad import MultichannelVad
from meeting_assistant.services.asr.stabiliser import reject_audio, reject_text, split_words
from meeting_assistant.services.asr.word_timing import estimate_word_times
from meeting_assistant.services.diarization.live_labels import LiveLabels
from meeting_assistant.services.recording.idle_timeout import with_idle_timeout
from meeting_assistant.services.recording.rolling_audio import RollingAudio
from meeting_assistant.services.transcription.partials import Captions, OpenUtterance
from meeting_assistant.services.transcription.session_types import (
    CommitPoint,
    SessionSink,
    SessionSpec,
    SpeechServices,
)
from meeting_assistant.services.transcription.speaker_segment import SpeakerSegment
from meeting_assistant.services.transcription.utterance_decoding import UtteranceDecoder

logger = logging.getLogger(__name__)

MAX_WAITING_FINALS = 8
"""Finished utterances that may wait for their decode before reading waits too."""
EMPTY = np.zeros(0, dtype=np.float32)
SETTLE_EVERY_SAMPLES = 5 * SAMPLE_RATE_HZ
"""Silence is recorded as listened to in steps of this length."""


async def process_audio_session(
    spec: SessionSpec, audio: AsyncIterator[bytes], sink: SessionSink, tools: SpeechServices
) -> None:
    """Transcribe canonical PCM until `audio` ends; every utterance is committed when this returns.

    Raises what the sink raises. A window on which the engine fails becomes a gap; the session goes on.
    """
    session = _Session(spec, sink, tools)
    try:
        async with asyncio.TaskGroup() as group:
            committer = group.create_task(session.commit_in_order())
            try:
                async for piece in with_idle_timeout(audio, spec.idle_timeout_s if spec.is_live else None):
                    if piece is None:
                        await session.rest()
                    else:
                        await session.hear(pcm_to_samples(piece, spec.channels))
                await session.rest(is_over=True)
                await session.settle(final=True)
            finally:
                session.stop_captions()
            await session.end()
            await committer
            await session.settle_speakers()
    except BaseExceptionGroup as group_error:
        raise _first(group_error) from group_error
    finally:
        session.drop_decodes()
        tools.asr.cancel(spec.meeting_id)
        await asyncio.shield(tools.asr.close_session(spec.meeting_id))


class _Session:
    """State of one running session; all methods on the event loop."""

    def __init__(self, spec: SessionSpec, sink: SessionSink, tools: SpeechServices) -> None:
        self._spec = spec
        self._sink = sink
        self._tools = tools
        begin = spec.resume
        self._vad = MultichannelVad(tools.vad, spec.channels, base64.b64decode(begin.vad_state))
        # Frames lie on the grid of the session that was cut short.
        self._warm_up_frames = (begin.resume_sample - begin.start_sample) // VAD_FRAME_SAMPLES
        """Frames that are only heard for the state of the detector."""
        self._endpointer = Endpointer(
            spec.endpointing,
            start_sample=begin.start_sample + self._warm_up_frames * VAD_FRAME_SAMPLES,
            floor=begin.resume_sample,
        )
        self._resume_sample = begin.resume_sample
        self._states = deque([(begin.start_sample, self._vad.state())])
        """The detector's states at some samples, from the newest one that is not after `_resume_sample` on."""
        self._speakers = LiveLabels(
            tools.diarization.live if spec.has_speakers else None,
            taken_labels=spec.taken_labels,
            known=spec.known_voices,
            enrolled=spec.enrolled_speakers,
        )
        self._listener = UtteranceDecoder(
            asr=tools.asr,
            embeddings=tools.diarization.live if spec.has_speakers else None,
            vad=tools.vad,
            vad_threads=tools.vad_threads,
            kind=TicketKind.FINAL if spec.is_live else TicketKind.FILE,
            endpointing=spec.endpointing,
        )
        self._kept = RollingAudio(spec.resume.start_sample)
        self._next_utterance = spec.next_utterance
        self._open: OpenUtterance | None = None
        self._settled = spec.committed_sample
        self._waiting: asyncio.Queue[_Waiting | None] = asyncio.Queue(MAX_WAITING_FINALS)
        self._decodes: set[asyncio.Task[list[SpeakerSegment]]] = set()
        self._language = LanguageDetection(spec.language)
        self._captions = Captions(
            session=spec.meeting_id,
            asr=tools.asr,
            sink=sink,
            kept=self._kept,
            language=self._language,
            interval_s=spec.partial_interval_s,
            hotwords=spec.hotwords,
            guess=self._speakers.label_partial,
        )

    # --- sound comes in

    async def hear(self, samples: Samples) -> None:
        self._kept.append(samples)
        probabilities = await run_blocking(self._tools.vad_threads, self._vad.feed, samples)
        known = min(self._warm_up_frames, len(probabilities))
        self._warm_up_frames -= known
        await self._follow(self._endpointer.push(probabilities[known:].tolist()))
        if self._warm_up_frames == 0:
            self._states.append((self._endpointer.position, self._vad.state()))
        self._kept.evict_before(self._endpointer.decided_until - VAD_FRAME_SAMPLES)
        if self._open is not None and self._spec.is_live:
            self._captions.voiced_ms = self._endpointer.voiced_ms
            self._captions.renew()
        await self.settle()

    async def rest(self, *, is_over: bool = False) -> None:
        """No more sound for now: finish what is open, align anew. A client that is gone may be in a sentence."""
        if self._spec.is_live and not is_over and not self._sink.has_client:
            return
        end = self._kept.end_sample
        if not self._endpointer.is_open and self._endpointer.position == end:
            return
        await self._follow(self._endpointer.flush(end))
        self._endpointer.restart(end)
        self._vad = MultichannelVad(self._tools.vad, self._spec.channels)
        self._states.append((end, self._vad.state()))

    async def settle(self, *, final: bool = False) -> None:
        """Record silence as listened to: now and then, and all of it once nothing more can come."""
        if self._endpointer.is_open and not final:
            return
        settled = self._kept.end_sample if final else self._endpointer.decided_until
        if settled - self._settled >= (1 if final else SETTLE_EVERY_SAMPLES):
            self._settled = self._resume_sample = settled
            await self._waiting.put(_Waiting(self._reached(settled)))

    def _reached(self, committed_sample: int) -> CommitPoint:
        while len(self._states) > 1 and self._states[1][0] <= self._resume_sample:
            self._states.popleft()
        start, state = self._states[0]
        point = ResumePoint(
            start_sample=start,
            resume_sample=self._resume_sample,
            vad_state=base64.b64encode(state).decode(),
        )
        return CommitPoint(committed_sample, point)

    async def end(self) -> None:
        await self._waiting.put(None)

    async def _follow(self, events: Sequence[EndpointEvent]) -> None:
        for event, following in zip_longest(events, events[1:]):
            if isinstance(event, SpeechStarted):
                if event.start_sample >= self._spec.committed_sample:
                    self._begin_utterance(event.start_sample)
                continue
            if not isinstance(following, SpeechStarted) or following.start_sample != event.end_sample:
                # Not in the middle of speech that goes on: whoever takes over can begin here.
                self._resume_sample = event.end_sample
            committed = self._spec.committed_sample
            if event.end_sample > committed:
                ended = _from(event, committed)
                await self._finish_utterance(self._open or self._begin_utterance(ended.start_sample), ended)
            self._open = None

    def _begin_utterance(self, start_sample: int) -> OpenUtterance:
        self._open = OpenUtterance(self._number(), start_sample)
        self._captions.open(self._open)
        return self._open

    # --- finished utterances

    async def _finish_utterance(self, utterance: OpenUtterance, ended: SpeechEnded) -> None:
        self._captions.close()
        self._settled = ended.end_sample
        sound = self._kept.read(ended.start_sample, ended.end_sample)
        guard = reject_audio(sound)
        if guard is not None:
            obs.suppressed_hypotheses_total.labels(guard).inc()
            await self._waiting.put(_Waiting(self._reached(ended.end_sample), utterance))
            return
        request = AsrRequest(
            session=self._spec.meeting_id,
            kind="final",
            samples=EMPTY,
            language=self._language.requested,
            detected_language=self._language.detected,
            hotwords=self._spec.hotwords,
        )
        decode = asyncio.create_task(self._hear_out(utterance.id, ended, sound, request))
        self._decodes.add(decode)
        decode.add_done_callback(self._decodes.discard)
        await self._waiting.put(_Waiting(self._reached(ended.end_sample), utterance, ended, decode))

    async def _hear_out(
        self, number: int, ended: SpeechEnded, sound: Samples, request: AsrRequest
    ) -> list[SpeakerSegment]:
        seconds = samples_to_ms(ended.end_sample - ended.start_sample) / 1000
        engine = self._tools.asr.info.name
        with tracing.span(
            "utterance", meeting=self._spec.meeting_id, utterance=number, seconds=seconds, engine=engine
        ) as span:
            heard = await self._listener.hear_out(ended, sound, request)
            span.set(parts=len(heard))
            return heard

    async def commit_in_order(self) -> None:
        """Take decodes in the order of speech and make them durable."""
        while (waiting := await self._waiting.get()) is not None:
            if waiting.utterance is None or waiting.ended is None or waiting.decode is None:
                if waiting.utterance is not None:
                    self._captions.take_back(waiting.utterance, waiting.commit_point.committed_sample)
                await self._sink.commit_silence(waiting.commit_point)
                continue
            try:
                heard = await waiting.decode
            except EngineError as error:
                await self._record_gap(waiting.ended, waiting.commit_point, error)
                continue
            await self._commit(waiting.utterance, waiting.ended, waiting.commit_point, heard)

    async def _commit(
        self,
        utterance: OpenUtterance,
        ended: SpeechEnded,
        commit_point: CommitPoint,
        heard: Sequence[SpeakerSegment],
    ) -> None:
        finished: list[Utterance] = []
        for part in heard:
            number = self._number() if finished else utterance.id
            said = self._utterance(number, part)
            if said is not None:
                finished.append(said)
        if not finished:
            self._captions.take_back(utterance, ended.end_sample)
            await self._sink.commit_silence(commit_point)
            return
        text = " ".join(said.text for said in finished)
        takes_back = not utterance.stabiliser.is_kept_by(split_words(text))
        await self._sink.commit_utterances(finished, commit_point, takes_back=takes_back)
        await self._repair_speakers()

    def _utterance(self, number: int, part: SpeakerSegment) -> Utterance | None:
        """None when the guards find that nothing was said."""
        span, result = part.span, part.result
        start_ms, end_ms = samples_to_ms(span.start_sample), samples_to_ms(span.end_sample)
        text = result.text.strip()
        guard = reject_text(text, voiced_ms=span.voiced_ms, duration_ms=end_ms - start_ms, result=result)
        if guard is not None:
            obs.suppressed_hypotheses_total.labels(guard).inc()
        if guard is not None or not text:
            return None
        self._language.observe(result.language, result.language_probability, (end_ms - start_ms) / 1000)
        words, is_aligned = _words(result, span, start_ms, end_ms)
        return Utterance(
            utterance=number,
            start_ms=start_ms,
            end_ms=end_ms,
            speaker=YOU
            if part.channel == 0
            else self._speakers.label_for(number, part.voice, part.spoken_ms),
            overlap=part.overlap,
            echo=part.echo,
            text=text,
            words=words,
            timing="engine" if is_aligned else "estimated",
        )

    def _number(self) -> int:
        self._next_utterance += 1
        return self._next_utterance - 1

    async def _record_gap(self, ended: SpeechEnded, commit_point: CommitPoint, error: EngineError) -> None:
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
        await self._sink.record_gap(gap, commit_point)

    async def settle_speakers(self) -> None:
        """All is said: what was provisional is told, or stays unknown."""
        await self._repair_speakers(is_last=True)

    async def _repair_speakers(self, *, is_last: bool = False) -> None:
        await self._speakers.recluster(self._sink.relabel, is_last=is_last)
        for label, name in self._speakers.identified().items():
            await self._sink.name_speaker(label, name)

    def stop_captions(self) -> None:
        self._captions.stop()

    def drop_decodes(self) -> None:
        """After a failure or a cancellation nobody waits for them any more."""
        for decode in list(self._decodes):
            decode.cancel()


@dataclass(frozen=True, slots=True)
class _Waiting:
    """Something to make durable, in the order of speech."""

    commit_point: CommitPoint
    utterance: OpenUtterance | None = None
    ended: SpeechEnded | None = None
    decode: asyncio.Task[list[SpeakerSegment]] | None = None


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


def _from(ended: SpeechEnded, sample: int) -> SpeechEnded:
    """Without what lies before `sample`, which is in the transcript already."""
    if ended.start_sample >= sample:
        return ended
    frames = (sample - ended.start_sample) // VAD_FRAME_SAMPLES
    return replace(ended, start_sample=sample, voiced=ended.voiced[frames:])


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    first = group.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
