"""The second half of a session: finished utterances are decoded together and committed in the order of time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from meeting_assistant import observability as obs
from meeting_assistant import tracing
from meeting_assistant.domain.audio import samples_to_ms
from meeting_assistant.domain.errors import EngineError
from meeting_assistant.domain.meeting import YOU
from meeting_assistant.domain.ports import AsrRequest, AsrResult
from meeting_assistant.domain.transcript import Gap, Utterance, Word
from meeting_assistant.services.asr.batching import TicketKind
from meeting_assistant.services.asr.endpointing import SpeechEnded
from meeting_assistant.services.asr.hallucination_filters import RejectReason, reject_text
from meeting_assistant.services.asr.language_detection import LanguageDetection
from meeting_assistant.services.asr.stabiliser import split_words
from meeting_assistant.services.asr.word_timing import estimate_word_times
from meeting_assistant.services.diarization.live_labels import LiveLabels
from meeting_assistant.services.transcription.partials import OpenUtterance, PartialCaptions
from meeting_assistant.services.transcription.session_types import (
    CommitPoint,
    SessionSink,
    SessionSpec,
    SpeakerSegment,
    SpeechServices,
    UtteranceSound,
)
from meeting_assistant.services.transcription.utterance_decoding import UtteranceDecoder

logger = logging.getLogger(__name__)

MAX_PENDING = 8
"""Finished utterances that may wait for their decode before the intake waits too."""
NO_SAMPLES = np.zeros(0, dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Silence:
    """A stretch without speech, up to the commit point."""

    commit_point: CommitPoint


@dataclass(frozen=True, slots=True)
class NoWords:
    """An utterance that is rejected before its decode."""

    commit_point: CommitPoint
    utterance: OpenUtterance
    reason: str


@dataclass(frozen=True, slots=True)
class Decoding:
    """An utterance whose decode is running."""

    commit_point: CommitPoint
    utterance: OpenUtterance
    ended: SpeechEnded
    sound: UtteranceSound
    """Of `ended`."""
    decode: asyncio.Task[list[SpeakerSegment]]


Pending = Silence | NoWords | Decoding


class OrderedCommit:
    """Finished utterances of one session; all methods on the event loop."""

    def __init__(
        self,
        spec: SessionSpec,
        services: SpeechServices,
        sink: SessionSink,
        captions: PartialCaptions,
        language: LanguageDetection,
        labels: LiveLabels,
    ) -> None:
        """`captions`, `language` and `labels` are shared with the other parts of the session."""
        self._spec = spec
        self._sink = sink
        self._captions = captions
        self._language = language
        self._labels = labels
        self._engine = services.asr.info.name
        self._request = AsrRequest(
            session=spec.meeting_id,
            kind="final",
            samples=NO_SAMPLES,
            language=language.requested,
            hotwords=spec.hotwords,
        )
        self._decoder = UtteranceDecoder(
            asr=services.asr,
            embeddings=services.diarization.live if spec.has_speakers else None,
            threads=services.vad_threads,
            kind=TicketKind.FINAL if spec.is_live else TicketKind.FILE,
            endpointing=spec.endpointing,
        )
        self._next_number = spec.next_utterance
        self._pending: asyncio.Queue[Pending | None] = asyncio.Queue(MAX_PENDING)
        self._decodes: set[asyncio.Task[list[SpeakerSegment]]] = set()

    def next_number(self) -> int:
        """Return the number of the next utterance."""
        self._next_number += 1
        return self._next_number - 1

    def start_decode(
        self, commit_point: CommitPoint, utterance: OpenUtterance, ended: SpeechEnded, sound: UtteranceSound
    ) -> Decoding:
        """Decode a finished utterance in a task. `sound` is that of `ended`."""
        # Without the language of the meeting: how many of the utterances before are committed depends on the load.
        decode = asyncio.create_task(self._decode(utterance.id, ended, sound, self._request))
        self._decodes.add(decode)
        decode.add_done_callback(self._decodes.discard)
        return Decoding(commit_point, utterance, ended, sound, decode)

    async def put(self, pending: Pending) -> None:
        """Queue what comes next in the order of time; waits while too many utterances are pending."""
        await self._pending.put(pending)

    async def close(self) -> None:
        """Make `run` return after it has committed what is queued."""
        await self._pending.put(None)

    async def run(self) -> None:
        """Commit what is queued, in order, until `close`."""
        while (pending := await self._pending.get()) is not None:
            match pending:
                case Silence(commit_point):
                    await self._sink.commit_silence(self._resumable(commit_point))
                case NoWords(commit_point, utterance, reason):
                    await self._commit_no_words(utterance, commit_point, reason)
                case Decoding(commit_point, utterance, ended):
                    try:
                        segments = await self._in_language_of_meeting(pending)
                    except EngineError as error:
                        await self._record_gap(ended, commit_point, error)
                    else:
                        await self._commit(utterance, commit_point, segments)

    async def finish_labels(self) -> None:
        """Assign the final labels of the session; what is still provisional becomes unknown."""
        await self._correct_labels(is_last=True)

    def cancel_decodes(self) -> None:
        """Cancel decodes whose results are not needed any more."""
        for decode in list(self._decodes):
            decode.cancel()

    async def _in_language_of_meeting(self, decoding: Decoding) -> list[SpeakerSegment]:
        """Return the segments; decoded again if the engine guessed another language without being sure.

        Raises EngineError.
        """
        segments = await decoding.decode
        if not any(self._language.is_doubtful(segment.result) for segment in segments):
            return segments
        request = replace(self._request, detected_language=self._language.detected)
        return await self._decode(decoding.utterance.id, decoding.ended, decoding.sound, request)

    async def _decode(
        self, number: int, ended: SpeechEnded, sound: UtteranceSound, request: AsrRequest
    ) -> list[SpeakerSegment]:
        seconds = samples_to_ms(ended.end_sample - ended.start_sample) / 1000
        with tracing.span(
            "utterance",
            meeting=self._spec.meeting_id,
            utterance=number,
            seconds=seconds,
            engine=self._engine,
        ) as span:
            segments = await self._decoder.decode(ended, sound, request)
            span.set(parts=len(segments))
            return segments

    async def _commit(
        self, utterance: OpenUtterance, commit_point: CommitPoint, segments: Sequence[SpeakerSegment]
    ) -> None:
        finished: list[Utterance] = []
        reason = "no_words" if segments else "echo"
        for segment in segments:
            rejected = self._reject(segment)
            if rejected is not None:
                reason = rejected
            elif segment.result.text.strip():
                number = self.next_number() if finished else utterance.id
                finished.append(self._utterance(number, segment))
        if not finished:
            await self._commit_no_words(utterance, commit_point, reason)
            return
        text = " ".join(final.text for final in finished)
        takes_back = not utterance.stabiliser.is_kept_by(split_words(text))
        await self._sink.commit_utterances(finished, self._resumable(commit_point), takes_back=takes_back)
        await self._correct_labels()

    async def _commit_no_words(
        self, utterance: OpenUtterance, commit_point: CommitPoint, reason: str
    ) -> None:
        self._captions.withdraw(utterance, commit_point.committed_sample, reason)
        await self._sink.commit_silence(self._resumable(commit_point))

    def _reject(self, segment: SpeakerSegment) -> RejectReason | None:
        """Return why the text of a segment must not be committed."""
        span, result = segment.span, segment.result
        duration_ms = samples_to_ms(span.end_sample) - samples_to_ms(span.start_sample)
        reason = reject_text(
            result.text.strip(), voiced_ms=span.voiced_ms, duration_ms=duration_ms, result=result
        )
        if reason is not None:
            obs.suppressed_hypotheses_total.labels(reason).inc()
        return reason

    def _utterance(self, number: int, segment: SpeakerSegment) -> Utterance:
        """Return the utterance to commit."""
        span, result = segment.span, segment.result
        start_ms, end_ms = samples_to_ms(span.start_sample), samples_to_ms(span.end_sample)
        self._language.observe(result.language, result.language_probability, (end_ms - start_ms) / 1000)
        label = YOU if segment.channel == 0 else None
        if label is None:
            label = self._labels.label_for(number, segment.voice, segment.spoken_ms)
        return Utterance(
            utterance=number,
            start_ms=start_ms,
            end_ms=end_ms,
            speaker=label,
            overlap=segment.overlap,
            echo=segment.echo,
            text=result.text.strip(),
            words=_words(result, span, start_ms, end_ms),
            timing="estimated" if result.words is None else "engine",
        )

    async def _record_gap(self, ended: SpeechEnded, commit_point: CommitPoint, error: EngineError) -> None:
        logger.warning(
            "Failed to transcribe an utterance; it becomes a gap.",
            extra=obs.log_fields(meeting=self._spec.meeting_id, code=error.code),
        )
        gap = Gap(
            start_ms=samples_to_ms(ended.start_sample),
            end_ms=samples_to_ms(ended.end_sample),
            reason="engine_failed",
        )
        obs.gaps_total.labels(gap.reason).inc()
        await self._sink.record_gap(gap, self._resumable(commit_point))

    def _resumable(self, commit_point: CommitPoint) -> CommitPoint:
        """Return the commit point with the language after what is committed by it."""
        resume = commit_point.resume.model_copy(update={"language": self._language.state})
        return replace(commit_point, resume=resume)

    async def _correct_labels(self, *, is_last: bool = False) -> None:
        await self._labels.recluster(self._sink.relabel, is_last=is_last)
        for label, name in self._labels.identified().items():
            await self._sink.name_speaker(label, name)


def _words(result: AsrResult, ended: SpeechEnded, start_ms: int, end_ms: int) -> list[Word]:
    """Return the words with times in the meeting: the engine's, or estimated ones."""
    if result.words is None:
        return estimate_word_times(
            split_words(result.text), start_ms=start_ms, end_ms=end_ms, voiced=ended.voiced
        )
    return [
        word.model_copy(update={"start_ms": start_ms + word.start_ms, "end_ms": start_ms + word.end_ms})
        for word in result.words
    ]
