"""An utterance that ended: the words in it, and whose voice says which of them."""

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
from meeting_assistant.services.asr.stabiliser import reject_audio
from meeting_assistant.services.asr.temperature_fallback import decode_with_temperature_fallback
from meeting_assistant.services.diarization.attribution import split_words
from meeting_assistant.services.diarization.change_detection import VoiceSegment
from meeting_assistant.services.diarization.speaker_embedding import SpeakerEmbeddingService
from meeting_assistant.services.transcription.echo_removal import Loudness, without_echo
from meeting_assistant.services.transcription.speaker_segment import SpeakerSegment, part_of

MIN_OVERLAP_MS = 250
"""Detectors of two channels disagree by less than that about who stopped when."""


@dataclass(frozen=True, slots=True)
class UtteranceDecoder:
    """What hears utterances out for one session."""

    asr: AsrService
    embeddings: SpeakerEmbeddingService | None
    """None when nobody is told apart."""
    vad: Vad
    vad_threads: Executor
    kind: TicketKind
    endpointing: EndpointOptions

    async def hear_out(self, ended: SpeechEnded, sound: Samples, request: AsrRequest) -> list[SpeakerSegment]:
        """In the order of time. `sound`, shape `(n,)` or `(n, channels)`, is that of `ended`; of `request` everything
        is taken but the sound. Raises EngineError."""
        if sound.ndim == 1:
            return await self._hear_voices(ended, sound, request, None)
        tasks = [
            asyncio.create_task(self._hear_channel(ended, sound[:, channel], request, channel))
            for channel in range(sound.shape[1])
        ]
        try:
            heard = [part for task in tasks for part in await task]
        finally:
            for task in tasks:
                task.cancel()
        said = without_echo(heard, Loudness.of(ended.start_sample, sound))
        return sorted(mark_overlap(said), key=lambda part: part.span.start_sample)

    async def _hear_channel(
        self, ended: SpeechEnded, sound: Samples, request: AsrRequest, channel: int
    ) -> list[SpeakerSegment]:
        spans = await run_blocking(self.vad_threads, self._spans, ended.start_sample, sound)
        heard: list[SpeakerSegment] = []
        for span in spans:
            start = span.start_sample - ended.start_sample
            piece = sound[start : start + span.end_sample - span.start_sample]
            if reject_audio(piece) is None:
                heard += await self._hear_voices(span, piece, request, channel)
        return heard

    def _spans(self, start_sample: int, sound: Samples) -> list[SpeechEnded]:
        """Where somebody speaks on this channel."""
        endpointer = Endpointer(self.endpointing, start_sample=start_sample)
        events = [
            *endpointer.push(self.vad.open().feed(sound).tolist()),
            *endpointer.flush(start_sample + len(sound)),
        ]
        return [event for event in events if isinstance(event, SpeechEnded)]

    async def _hear_voices(
        self, span: SpeechEnded, sound: Samples, request: AsrRequest, channel: int | None
    ) -> list[SpeakerSegment]:
        samples = to_waveform(sound)
        is_you = channel == 0
        decode = asyncio.create_task(self._decode(replace(request, samples=samples)))
        try:
            voices: Sequence[VoiceSegment] = ()
            if self.embeddings is not None and not is_you:
                voices = await self.embeddings.segment(samples, span.voiced)
            result = await decode
        finally:
            decode.cancel()
        if len(voices) < 2:
            known = voices[0] if voices else None
            return [
                SpeakerSegment(
                    span,
                    result,
                    channel,
                    voice=known.vector if known else None,
                    spoken_ms=known.spoken_ms if known else 0,
                )
            ]
        spans = [part_of(span, voice.start, voice.end) for voice in voices]
        if result.words is not None:
            results = split_words(result, voices)
        else:
            # Estimated word times are too coarse to cut a sentence by: the sound is cut, each part decoded alone.
            results = [
                await self._decode(replace(request, samples=samples[voice.start : voice.end]))
                for voice in voices
            ]
        return [
            SpeakerSegment(part, words, channel, voice=voice.vector, spoken_ms=voice.spoken_ms)
            for part, words, voice in zip(spans, results, voices, strict=True)
        ]

    async def _decode(self, request: AsrRequest) -> AsrResult:
        decoded = await decode_with_temperature_fallback(self.asr, self.kind, request)
        return decoded.result if decoded else AsrResult(text="")


def mark_overlap(parts: Sequence[SpeakerSegment]) -> list[SpeakerSegment]:
    """Parts of two channels that speak at the same time, as their voiced frames say: spans reach further."""
    voiced = [_voiced_ms(part) for part in parts]
    return [
        replace(
            part,
            overlap=any(
                other.channel != part.channel and len(mine & theirs) >= MIN_OVERLAP_MS
                for other, theirs in zip(parts, voiced, strict=True)
            ),
        )
        for part, mine in zip(parts, voiced, strict=True)
    ]


def _voiced_ms(part: SpeakerSegment) -> set[int]:
    """Each millisecond in which it is spoken."""
    start_ms, end_ms = samples_to_ms(part.span.start_sample), samples_to_ms(part.span.end_sample)
    return {
        ms
        for frame, is_voiced in enumerate(part.span.voiced)
        if is_voiced
        for ms in range(start_ms + frame * FRAME_MS, min(end_ms, start_ms + (frame + 1) * FRAME_MS))
    }
