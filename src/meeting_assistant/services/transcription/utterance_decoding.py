"""Decoding of a finished utterance: its words, and the speaker of each of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace

from meeting_assistant.domain.audio import Samples, samples_to_ms, to_waveform
from meeting_assistant.domain.ports import AsrRequest, AsrResult, Vad
from meeting_assistant.net.blocking import run_blocking
from meeting_assistant.services.asr.asr_service import AsrService
from meeting_assistant.services.asr.batching import TicketKind
from meeting_assistant.services.asr.endpointing import FRAME_MS, Endpointer, EndpointOptions, SpeechEnded
from meeting_assistant.services.asr.hallucination_filters import reject_audio
from meeting_assistant.services.asr.temperature_fallback import decode_with_temperature_fallback
from meeting_assistant.services.diarization.attribution import split_words
from meeting_assistant.services.diarization.change_detection import VoiceSegment
from meeting_assistant.services.diarization.speaker_embedding import SpeakerEmbeddingService
from meeting_assistant.services.transcription.echo_removal import Loudness, without_echo
from meeting_assistant.services.transcription.session_types import SpeakerSegment

MIN_OVERLAP_MS = 250
"""Overlap below this is disagreement between the voice activity of two channels about edges."""


@dataclass(frozen=True, slots=True)
class UtteranceDecoder:
    """Decodes the finished utterances of one session."""

    asr: AsrService
    embeddings: SpeakerEmbeddingService | None
    """None when speakers are not told apart."""
    vad: Vad
    vad_threads: Executor
    kind: TicketKind
    endpointing: EndpointOptions

    async def decode(self, ended: SpeechEnded, sound: Samples, request: AsrRequest) -> list[SpeakerSegment]:
        """Return the segments of the utterance in the order of time. Raises EngineError.

        `sound`, shape `(n,)` or `(n, channels)`, is that of `ended`; the samples of `request` are ignored.
        """
        if sound.ndim == 1:
            return await self._decode_voices(ended, sound, request, None)
        tasks = [
            asyncio.create_task(self._decode_channel(ended, sound[:, channel], request, channel))
            for channel in range(sound.shape[1])
        ]
        try:
            segments = [segment for task in tasks for segment in await task]
        finally:
            for task in tasks:
                task.cancel()
        cleaned = without_echo(segments, Loudness.of(ended.start_sample, sound))
        return sorted(mark_overlap(cleaned), key=lambda segment: segment.span.start_sample)

    async def _decode_channel(
        self, ended: SpeechEnded, sound: Samples, request: AsrRequest, channel: int
    ) -> list[SpeakerSegment]:
        spans = await run_blocking(self.vad_threads, self._spans, ended.start_sample, sound)
        segments: list[SpeakerSegment] = []
        for span in spans:
            start = span.start_sample - ended.start_sample
            spoken = sound[start : start + span.end_sample - span.start_sample]
            if reject_audio(spoken) is None:
                segments += await self._decode_voices(span, spoken, request, channel)
        return segments

    def _spans(self, start_sample: int, sound: Samples) -> list[SpeechEnded]:
        """Return the stretches of speech on one channel."""
        endpointer = Endpointer(self.endpointing, start_sample=start_sample)
        events = [
            *endpointer.push(self.vad.open().feed(sound).tolist()),
            *endpointer.flush(start_sample + len(sound)),
        ]
        return [event for event in events if isinstance(event, SpeechEnded)]

    async def _decode_voices(
        self, span: SpeechEnded, sound: Samples, request: AsrRequest, channel: int | None
    ) -> list[SpeakerSegment]:
        samples = to_waveform(sound)
        decode = asyncio.create_task(self._decode(replace(request, samples=samples)))
        try:
            voices: Sequence[VoiceSegment] = ()
            if self.embeddings is not None and channel != 0:
                voices = await self.embeddings.segment(samples, span.voiced)
            result = await decode
        finally:
            decode.cancel()
        if len(voices) < 2:
            vector, spoken_ms = (voices[0].vector, voices[0].spoken_ms) if voices else (None, 0)
            return [SpeakerSegment(span, result, channel, voice=vector, spoken_ms=spoken_ms)]
        if result.words is not None:
            results = split_words(result, voices)
        else:
            # Estimated word times are too coarse to split a sentence: the audio is split and decoded part by part.
            results = [
                await self._decode(replace(request, samples=samples[voice.start : voice.end]))
                for voice in voices
            ]
        return [
            SpeakerSegment(
                span.sub_span(voice.start, voice.end),
                words,
                channel,
                voice=voice.vector,
                spoken_ms=voice.spoken_ms,
            )
            for words, voice in zip(results, voices, strict=True)
        ]

    async def _decode(self, request: AsrRequest) -> AsrResult:
        decoded = await decode_with_temperature_fallback(self.asr, self.kind, request)
        return decoded.result if decoded else AsrResult(text="")


def mark_overlap(segments: Sequence[SpeakerSegment]) -> list[SpeakerSegment]:
    """Mark segments of two channels that are spoken at the same time.

    Voiced frames decide, since spans reach into the silence around the speech.
    """
    voiced = [_voiced_ms(segment) for segment in segments]
    return [
        replace(
            segment,
            overlap=any(
                other.channel != segment.channel and _shared_ms(mine, theirs) >= MIN_OVERLAP_MS
                for other, theirs in zip(segments, voiced, strict=True)
            ),
        )
        for segment, mine in zip(segments, voiced, strict=True)
    ]


def _voiced_ms(segment: SpeakerSegment) -> list[tuple[int, int]]:
    """Return the half-open intervals, in milliseconds of the meeting, in which there is speech."""
    start_ms, end_ms = samples_to_ms(segment.span.start_sample), samples_to_ms(segment.span.end_sample)
    intervals: list[tuple[int, int]] = []
    for frame, is_voiced in enumerate(segment.span.voiced):
        begin, end = start_ms + frame * FRAME_MS, min(end_ms, start_ms + (frame + 1) * FRAME_MS)
        if not is_voiced or begin >= end:
            continue
        if intervals and intervals[-1][1] == begin:
            intervals[-1] = (intervals[-1][0], end)
        else:
            intervals.append((begin, end))
    return intervals


def _shared_ms(one: Sequence[tuple[int, int]], other: Sequence[tuple[int, int]]) -> int:
    """Return how many milliseconds two lists of intervals have in common."""
    return sum(
        max(0, min(end, other_end) - max(begin, other_begin))
        for begin, end in one
        for other_begin, other_end in other
    )
