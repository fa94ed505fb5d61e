"""Edits of speakers by users: names, assignments, merges, splits, and enrolled voices."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import numpy as np
import uuid_utils

from meeting_assistant import observability as obs
from meeting_assistant.domain.audio import ms_to_samples, pcm_to_samples, to_waveform
from meeting_assistant.domain.errors import ConflictError, InputError, NotFoundError
from meeting_assistant.domain.meeting import YOU, Meeting
from meeting_assistant.domain.ports import (
    AudioJournal,
    MeetingStore,
    StoredEvent,
    VoiceProfile,
    VoiceProfileStore,
)
from meeting_assistant.domain.steps import REWRITE
from meeting_assistant.domain.transcript import PROVISIONAL, Transcript, Utterance
from meeting_assistant.services.diarization.speaker_embedding import SpeakerEmbeddingService
from meeting_assistant.services.events.meeting_channel import Channels

logger = logging.getLogger(__name__)

MIN_PROFILE_MS = 5000
"""With less speech, a voice is not recognised reliably."""
MAX_PROFILE_UTTERANCES = 20
NEW = "new"
"""Stands for a label: a speaker whom the engine did not tell apart."""


class SpeakerEdits:
    """Applies edits, and publishes each to the watchers of the meeting."""

    def __init__(
        self,
        store: MeetingStore,
        channels: Channels,
        profiles: VoiceProfileStore,
        embeddings: SpeakerEmbeddingService,
        open_recording: Callable[[str], Awaitable[AudioJournal]],
    ) -> None:
        """`open_recording` raises NotFoundError or ConflictError when there is no recording to read."""
        self._store = store
        self._channels = channels
        self._profiles = profiles
        self._embeddings = embeddings
        self._open_sound = open_recording

    async def rename(self, meeting_id: str, label: str, name: str | None) -> None:
        """Name a speaker, or remove the name. Raises NotFoundError."""
        cleaned = " ".join((name or "").split()) or None
        await self._publish(meeting_id, partial(self._store.rename_speaker, meeting_id, label, cleaned))

    async def merge(self, meeting_id: str, label: str, into: str) -> None:
        """Replace one label by another, of the same person. Raises NotFoundError, ConflictError."""
        await self._publish(meeting_id, partial(self._store.merge_speakers, meeting_id, label, into))

    async def split(self, meeting_id: str, utterance: int, word: int) -> None:
        """Split an utterance of two speakers before this word, counted from 0.

        Raises NotFoundError, InputError; ConflictError while the meeting is not over or its minutes are being written.
        """
        await self._publish(
            meeting_id,
            partial(self._store.cut_utterance, meeting_id, utterance, word, not_during=REWRITE),
        )

    async def assign(
        self, meeting_id: str, utterances: Sequence[int], speaker: str | None, *, name: str | None = None
    ) -> None:
        """Assign these utterances to a speaker; engines do not relabel them from then on.

        `speaker` is a label of the meeting, `new` for another speaker (who may get a `name`), or None for unknown.
        Raises NotFoundError, InputError.
        """
        transcript = await self._store.transcript(meeting_id)
        missing = set(utterances) - {utterance.utterance for utterance in transcript.utterances}
        if missing or not utterances:
            raise NotFoundError(
                "There are no such utterances in this meeting.",
                "Read its transcript again for their numbers.",
            )
        label = speaker
        if speaker == NEW:
            label = await self._store.add_speaker(meeting_id, " ".join((name or "").split()) or None)
        elif speaker is not None and speaker not in {known.label for known in transcript.speakers}:
            raise InputError(
                f"Nobody in this meeting is called {speaker}.", f"Use a label of the transcript, or `{NEW}`."
            )
        elif name:
            raise InputError("Only a new speaker can be named here.", "Rename the speaker instead.")
        speakers = dict.fromkeys(utterances, label)
        await self._publish(meeting_id, partial(self._store.relabel, meeting_id, speakers, by_person=True))

    async def _publish(self, meeting_id: str, write: Callable[[], Awaitable[list[StoredEvent]]]) -> None:
        channel = await self._channels.get(meeting_id)
        try:
            await channel.publish(write)
        finally:
            self._channels.release(meeting_id)

    # --- enrolled voices

    async def voices(self, owner: str) -> list[VoiceProfile]:
        """Return the enrolled voices of an owner, oldest first."""
        return await self._profiles.voices(owner)

    async def enrol(self, meeting_id: str, label: str, name: str, owner: str) -> VoiceProfile:
        """Enrol a voice, to recognise it in later meetings. Raises NotFoundError, ConflictError, InputError."""
        cleaned = " ".join(name.split())
        if not cleaned:
            raise InputError("A voice needs a name.", "Say whose voice it is.")
        if not self._embeddings.is_available:
            raise ConflictError(
                "Voices cannot be enrolled: this server has no engine for them.",
                "Set DIARIZATION_ENGINE to a value other than `off`; /health names what else is missing.",
                code="no_voices",
            )
        meeting = await self._store.get(meeting_id)
        spoken = _longest(await self._store.transcript(meeting_id), label)
        if not spoken:
            raise NotFoundError(
                f"Nobody in this meeting is called {label}.", "Use a label of the transcript."
            )
        total, spoken_ms = await self._embed(meeting, spoken, channel=0 if label == YOU else 1)
        if spoken_ms < MIN_PROFILE_MS:
            raise ConflictError(
                "Too little of this voice was recorded to recognise it again.",
                f"At least {MIN_PROFILE_MS // 1000} seconds are needed; enrol it from another meeting.",
            )
        profile = VoiceProfile(
            id=str(uuid_utils.uuid7()),
            owner=owner,
            name=cleaned,
            vector=(total / max(float(np.linalg.norm(total)), 1e-9)).astype("<f4").tobytes(),
            spoken_ms=spoken_ms,
            created_at_ms=int(time.time() * 1000),
        )
        await self._profiles.save_voice(profile)
        logger.info("Voice enrolled.", extra=obs.log_fields(meeting=meeting_id))
        return profile

    async def _embed(
        self, meeting: Meeting, spoken: Sequence[Utterance], *, channel: int
    ) -> tuple[np.ndarray[tuple[int], np.dtype[np.float32]], int]:
        journal = await self._open_sound(meeting.id)
        total, spoken_ms = np.zeros(1, np.float32), 0
        try:
            for utterance in spoken:
                start, end = (
                    ms_to_samples(ms) * meeting.frame_bytes for ms in (utterance.start_ms, utterance.end_ms)
                )
                pcm = await asyncio.to_thread(journal.read, start, end - start)
                sound = to_waveform(pcm_to_samples(pcm, meeting.channels))
                vector = await self._embeddings.embed(sound if meeting.channels == 1 else sound[:, channel])
                if vector is not None:
                    length_ms = utterance.end_ms - utterance.start_ms
                    total = total + vector * np.float32(length_ms / 1000)
                    spoken_ms += length_ms
        finally:
            journal.close()
        return total, spoken_ms

    async def delete_voice(self, owner: str, profile_id: str) -> None:
        """Delete an enrolled voice for good; names in meetings stay. Raises NotFoundError."""
        await self._profiles.delete_voice(owner, profile_id)


def _longest(transcript: Transcript, label: str) -> list[Utterance]:
    of_speaker = [
        u for u in transcript.utterances if u.speaker == label and label != PROVISIONAL and not u.overlap
    ]
    return sorted(of_speaker, key=lambda u: u.start_ms - u.end_ms)[:MAX_PROFILE_UTTERANCES]
