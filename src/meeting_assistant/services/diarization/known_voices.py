"""Who spoke before a session was taken up: heard again in the stored sound, for voices themselves are not stored."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable

from meeting_assistant.domain.audio import BYTES_PER_SAMPLE, ms_to_samples, pcm_to_samples, to_waveform
from meeting_assistant.domain.errors import MeetingAssistantError
from meeting_assistant.domain.meeting import YOU
from meeting_assistant.domain.transcript import PROVISIONAL, Transcript, Utterance
from meeting_assistant.services.diarization.diarization_service import DiarizationService
from meeting_assistant.services.diarization.speaker_clustering import LabelledVoice

UTTERANCES_PER_SPEAKER = 40
"""The longest ones: a mean of so many is close to that of all."""
MIN_SPOKEN_MS = 500
"""Shorter speech was heard with the silence around it."""


async def reembed_known_speakers(
    said: Transcript,
    read: Callable[[int, int], Awaitable[bytes]],
    diarization: DiarizationService,
    *,
    channels: int = 1,
) -> list[LabelledVoice]:
    """In the order in which they were first heard. `read(offset, length)` gives canonical PCM.

    Without the sound, or where it cannot be read, there are none; labels then go on with new numbers.
    """
    known: list[LabelledVoice] = []
    frame_bytes = BYTES_PER_SAMPLE * channels
    try:
        for label, utterances in _longest(said).items():
            if channels > 1 and label == YOU:
                continue
            for utterance in utterances:
                start_ms, end_ms = _spoken(utterance)
                start, end = ms_to_samples(start_ms), ms_to_samples(end_ms)
                pcm = await read(start * frame_bytes, (end - start) * frame_bytes)
                sound = to_waveform(pcm_to_samples(pcm, channels))
                # The first channel is one person, whom nobody has to tell from the others.
                vector = await diarization.embed(sound if channels == 1 else sound[:, 1])
                if vector is not None:
                    known.append(LabelledVoice(utterance.utterance, label, vector, end_ms - start_ms))
    except MeetingAssistantError:
        return known
    return known


def _spoken(utterance: Utterance) -> tuple[int, int]:
    """From the first word to the last, as its voice was heard the first time."""
    if utterance.words:
        start_ms, end_ms = utterance.words[0].start_ms, utterance.words[-1].end_ms
        if end_ms - start_ms >= MIN_SPOKEN_MS:
            return start_ms, end_ms
    return utterance.start_ms, utterance.end_ms


def _longest(said: Transcript) -> dict[str, list[Utterance]]:
    by_label: dict[str, list[Utterance]] = defaultdict(list)
    for utterance in said.utterances:
        if utterance.speaker is not None:
            by_label[utterance.speaker].append(utterance)
    return {
        # Who is not told yet is told by what comes: all of those.
        label: sorted(utterances, key=lambda u: u.start_ms - u.end_ms)[
            : None if label == PROVISIONAL else UTTERANCES_PER_SPEAKER
        ]
        for label, utterances in by_label.items()
    }
