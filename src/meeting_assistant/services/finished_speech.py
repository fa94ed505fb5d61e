"""An utterance that ended: the words in it, and whose voice says which of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace

import numpy as np
from rapidfuzz import fuzz

from meeting_assistant.domain.audio import SAMPLE_RATE_HZ, Samples, to_waveform
from meeting_assistant.domain.ports import VAD_FRAME_SAMPLES, AsrRequest, AsrResult, Vad, VoiceVector
from meeting_assistant.services.asr_service import AsrService
from meeting_assistant.services.batching import TicketKind
from meeting_assistant.services.commit_policy import guard_sound
from meeting_assistant.services.diarization_service import DiarizationService, SpokenPart
from meeting_assistant.services.endpointing import Endpointer, EndpointOptions, SpeechEnded
from meeting_assistant.services.final_decoding import decode_final
from meeting_assistant.services.speaker_attribution import words_of_parts

ECHO_WITHIN_SAMPLES = SAMPLE_RATE_HZ
"""Later than this, the same words are said again and no echo."""
ECHO_LIKENESS = 85.0
"""Per cent of the letters: a microphone hears a loudspeaker less well than the line does."""
MIN_ECHO_LETTERS = 8
"""Two people may say "Yes" to the same question."""


@dataclass(frozen=True, slots=True)
class SaidPart:
    """What one voice says in an utterance."""

    span: SpeechEnded
    """In samples of the meeting."""
    result: AsrResult
    """Word times from the start of `span`."""
    channel: int | None = None
    """None when there is only one."""
    voice: VoiceVector | None = None
    spoken_ms: int = 0
    overlap: bool = False
    echo: str | None = None


@dataclass(frozen=True, slots=True)
class SpeechListener:
    """What hears utterances out for one session."""

    asr: AsrService
    diarization: DiarizationService | None
    """None when nobody is told apart."""
    vad: Vad
    vad_threads: Executor
    kind: TicketKind
    endpointing: EndpointOptions

    async def hear_out(self, ended: SpeechEnded, sound: Samples, request: AsrRequest) -> list[SaidPart]:
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
        energy = np.square(to_waveform(sound)).mean(axis=0)
        return sorted(mark_overlap(without_echo(heard, energy)), key=lambda part: part.span.start_sample)

    async def _hear_channel(
        self, ended: SpeechEnded, sound: Samples, request: AsrRequest, channel: int
    ) -> list[SaidPart]:
        spans = await asyncio.get_running_loop().run_in_executor(
            self.vad_threads, self._spans, ended.start_sample, sound
        )
        heard: list[SaidPart] = []
        for span in spans:
            start = span.start_sample - ended.start_sample
            piece = sound[start : start + span.end_sample - span.start_sample]
            if guard_sound(piece) is None:
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
    ) -> list[SaidPart]:
        samples = to_waveform(sound)
        is_you = channel == 0
        decode = asyncio.create_task(self._decode(replace(request, samples=samples)))
        try:
            voices: Sequence[SpokenPart] = ()
            if self.diarization is not None and not is_you:
                voices = await self.diarization.listen(samples, span.voiced)
            result = await decode
        finally:
            decode.cancel()
        if len(voices) < 2:
            known = voices[0] if voices else None
            return [
                SaidPart(
                    span,
                    result,
                    channel,
                    voice=known.vector if known else None,
                    spoken_ms=known.spoken_ms if known else 0,
                )
            ]
        spans = [_part_of(span, voice) for voice in voices]
        if result.words is not None:
            results = words_of_parts(result, voices)
        else:
            # Estimated word times are too coarse to cut a sentence by: the sound is cut, each part decoded alone.
            results = [
                await self._decode(replace(request, samples=samples[voice.start : voice.end]))
                for voice in voices
            ]
        return [
            SaidPart(part, words, channel, voice=voice.vector, spoken_ms=voice.spoken_ms)
            for part, words, voice in zip(spans, results, voices, strict=True)
        ]

    async def _decode(self, request: AsrRequest) -> AsrResult:
        decoded = await decode_final(self.asr, self.kind, request)
        return decoded.result if decoded else AsrResult(text="")


def _part_of(span: SpeechEnded, voice: SpokenPart) -> SpeechEnded:
    first, last = voice.start // VAD_FRAME_SAMPLES, -(-voice.end // VAD_FRAME_SAMPLES)
    return replace(
        span,
        start_sample=span.start_sample + voice.start,
        end_sample=span.start_sample + voice.end,
        voiced=span.voiced[first:last],
    )


def without_echo(parts: Sequence[SaidPart], energy: Sequence[float]) -> list[SaidPart]:
    """Of the same words on two channels within a second only those of the louder channel, which remember the others.

    `energy`: mean square of each channel in the utterance.
    """
    kept = list(parts)
    for part in parts:
        for other in parts:
            if (
                part in kept
                and other in kept
                and part.channel != other.channel
                and energy[other.channel or 0] <= energy[part.channel or 0]
                and abs(part.span.start_sample - other.span.start_sample) <= ECHO_WITHIN_SAMPLES
                and _is_echo(part.result.text, other.result.text)
            ):
                kept[kept.index(part)] = replace(part, echo=other.result.text.strip())
                kept.remove(other)
                break
    return kept


def _is_echo(said: str, repeated: str) -> bool:
    plain, heard = ("".join(c for c in text.casefold() if c.isalnum()) for text in (said, repeated))
    if min(len(plain), len(heard)) < MIN_ECHO_LETTERS:
        return False
    return fuzz.ratio(plain, heard) >= ECHO_LIKENESS


def mark_overlap(parts: Sequence[SaidPart]) -> list[SaidPart]:
    """Parts of two channels at the same time."""
    return [
        replace(
            part,
            overlap=any(
                other.channel != part.channel
                and other.span.start_sample < part.span.end_sample
                and part.span.start_sample < other.span.end_sample
                for other in parts
            ),
        )
        for part in parts
    ]
