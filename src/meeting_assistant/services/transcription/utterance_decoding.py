"""Decoding of a finished utterance: its words, and the speaker of each of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace

import numpy as np

from meeting_assistant.domain.audio import Samples, samples_to_ms, to_waveform
from meeting_assistant.domain.ports import AsrRequest, AsrResult
from meeting_assistant.net.blocking import run_blocking
from meeting_assistant.services.asr.asr_service import AsrService
from meeting_assistant.services.asr.batching import TicketKind
from meeting_assistant.services.asr.channel_speech import channel_spans
from meeting_assistant.services.asr.endpointing import FRAME_MS, EndpointOptions, SpeechEnded
from meeting_assistant.services.asr.hallucination_filters import reject_audio, without_end_loop
from meeting_assistant.services.asr.temperature_fallback import decode_with_temperature_fallback
from meeting_assistant.services.diarization.attribution import split_words
from meeting_assistant.services.diarization.change_detection import VoiceSegment
from meeting_assistant.services.diarization.speaker_embedding import SpeakerEmbeddingService
from meeting_assistant.services.transcription.echo_detection import find_echo
from meeting_assistant.services.transcription.echo_removal import Loudness, with_echoes, without_echo
from meeting_assistant.services.transcription.echo_splitting import SpanPart, split_at_echo
from meeting_assistant.services.transcription.session_types import SpeakerSegment, UtteranceSound

MIN_OVERLAP_MS = 250
"""Overlap below this is disagreement between the voice activity of two channels about edges."""


@dataclass(frozen=True, slots=True)
class UtteranceDecoder:
    """Decodes the finished utterances of one session."""

    asr: AsrService
    embeddings: SpeakerEmbeddingService | None
    """None when speakers are not told apart."""
    threads: Executor
    """Run what is computed from the sound of both channels."""
    kind: TicketKind
    endpointing: EndpointOptions

    async def decode(
        self, ended: SpeechEnded, sound: UtteranceSound, request: AsrRequest
    ) -> list[SpeakerSegment]:
        """Return the segments of the utterance in the order of time. Raises EngineError.

        `sound` is that of `ended`; the samples of `request` are ignored.
        """
        samples = sound.samples
        if samples.ndim == 1:
            return await self._decode_voices(ended, samples, request, None)
        parts, is_related = await run_blocking(self.threads, self._channel_parts, ended, sound)
        tasks = [
            asyncio.create_task(self._decode_part(ended, samples, request, channel, part))
            for channel, part in parts
        ]
        try:
            decoded = [await task for task in tasks]
        finally:
            for task in tasks:
                task.cancel()
        segments = [
            s for (_, part), found in zip(parts, decoded, strict=True) if not part.is_echo for s in found
        ]
        echoes = [s for (_, part), found in zip(parts, decoded, strict=True) if part.is_echo for s in found]
        segments = with_echoes(segments, echoes)
        if is_related:
            segments = without_echo(segments, Loudness.of(ended.start_sample, samples))
        return sorted(mark_overlap(segments), key=lambda segment: segment.span.start_sample)

    def _channel_parts(
        self, ended: SpeechEnded, sound: UtteranceSound
    ) -> tuple[list[tuple[int, SpanPart]], bool]:
        """Return what to decode, with its channel, and whether the channels have anything in common."""
        both = np.concatenate([sound.before, sound.samples])
        echo = find_echo(both, len(sound.before))
        parts = [
            (channel, part)
            for channel, spans in enumerate(channel_spans(ended, sound.probabilities, self.endpointing))
            for span in spans
            for part in split_at_echo(
                span, ended.start_sample, sound.samples[:, channel], echo.frames[:, channel]
            )
        ]
        return parts, echo.is_related

    async def _decode_part(
        self, ended: SpeechEnded, samples: Samples, request: AsrRequest, channel: int, part: SpanPart
    ) -> list[SpeakerSegment]:
        start = part.span.start_sample - ended.start_sample
        spoken = samples[start : start + part.span.end_sample - part.span.start_sample, channel]
        if reject_audio(spoken) is not None:
            return []
        if not part.is_echo:
            return await self._decode_voices(part.span, spoken, request, channel)
        result = await self._decode(replace(request, samples=to_waveform(spoken)))
        return [SpeakerSegment(part.span, result, channel)]

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
        return without_end_loop(decoded.result) if decoded else AsrResult(text="")


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
