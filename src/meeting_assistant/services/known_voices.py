"""Who spoke before a session was taken up: heard again in the stored sound, for voices themselves are not stored."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable

from meeting_assistant.domain.audio import BYTES_PER_SAMPLE, ms_to_samples, pcm_to_samples, to_waveform
from meeting_assistant.domain.errors import MeetingAssistantError
from meeting_assistant.domain.transcript import Transcript, Utterance
from meeting_assistant.services.diarization_service import DiarizationService
from meeting_assistant.services.voices import KnownVoice

UTTERANCES_PER_SPEAKER = 12
"""The longest ones: a mean of so many is close to that of all."""
SILENCE_AROUND_MS = 600
"""Of an utterance's length this is silence before and after it, as a rule."""


async def voices_heard_before(
    said: Transcript, read: Callable[[int, int], Awaitable[bytes]], diarization: DiarizationService
) -> list[KnownVoice]:
    """In the order in which they were first heard. `read(offset, length)` gives canonical PCM.

    Without the sound, or where it cannot be read, there are none; labels then go on with new numbers.
    """
    known: list[KnownVoice] = []
    try:
        for label, utterances in _longest(said).items():
            for utterance in utterances:
                start, end = ms_to_samples(utterance.start_ms), ms_to_samples(utterance.end_ms)
                pcm = await read(start * BYTES_PER_SAMPLE, (end - start) * BYTES_PER_SAMPLE)
                vector = await diarization.voice_of(to_waveform(pcm_to_samples(pcm)))
                if vector is not None:
                    spoken_ms = utterance.end_ms - utterance.start_ms - SILENCE_AROUND_MS
                    known.append(KnownVoice(label, vector, spoken_ms))
    except MeetingAssistantError:
        return known
    return known


def _longest(said: Transcript) -> dict[str, list[Utterance]]:
    by_label: dict[str, list[Utterance]] = defaultdict(list)
    for utterance in said.utterances:
        if utterance.speaker is not None:
            by_label[utterance.speaker].append(utterance)
    return {
        label: sorted(utterances, key=lambda u: u.start_ms - u.end_ms)[:UTTERANCES_PER_SPEAKER]
        for label, utterances in by_label.items()
    }
