"""Reading the whole recording of a finished meeting, for offline diarization."""

from __future__ import annotations

import numpy as np

from meeting_assistant.domain.audio import SAMPLE_RATE_HZ, Samples, pcm_to_samples
from meeting_assistant.domain.errors import EngineError
from meeting_assistant.domain.meeting import Meeting
from meeting_assistant.domain.ports import AudioStore
from meeting_assistant.services.events.meeting_io import MeetingIo

CHUNK_S = 60


async def read_recording(io: MeetingIo, meeting: Meeting) -> Samples:
    """Return all samples (n,) of a meeting; of two channels, those of the second one.

    Raises EngineError when no audio is stored, and StorageError.
    """
    if (await io.store.get(meeting.id)).sound_deleted_at_ms is not None:
        raise EngineError(
            "Speaker labels: the audio was deleted before it was diarized.",
            "The live labels were kept. AUDIO_RETENTION sets how long audio is kept.",
            code="no_sound",
        )
    if io.audio is None:
        raise EngineError(
            "Speaker labels: no audio is stored to diarize (AUDIO_STORAGE=memory).",
            "Use AUDIO_STORAGE=journal for labels by this engine; the live labels were kept.",
            code="no_sound",
        )
    return await io.on_disk(_read, io.audio, meeting)


def _read(audio: AudioStore, meeting: Meeting) -> Samples:
    journal = audio.open(meeting.id)
    try:
        chunk_bytes, chunks, offset = CHUNK_S * SAMPLE_RATE_HZ * meeting.frame_bytes, [], 0
        while pcm := journal.read(offset, chunk_bytes):
            offset += len(pcm)
            samples = pcm_to_samples(pcm[: len(pcm) - len(pcm) % meeting.frame_bytes], meeting.channels)
            chunks.append(samples if meeting.channels == 1 else samples[:, 1])
        return np.concatenate(chunks) if chunks else np.zeros(0, np.int16)
    finally:
        journal.close()
