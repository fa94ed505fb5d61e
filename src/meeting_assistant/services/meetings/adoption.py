"""Adoption: making meetings of recordings and uploaded files whose records are gone.

A recording holds its sound, its meeting's id (which holds the time) and, wrapped by the operator's key, its data key.
Title, owner, transcript and minutes were in the database. An adopted meeting is transcribed like one that a crash
interrupted after its end.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from meeting_assistant.domain.audio import BYTES_PER_SECOND, pcm_to_samples
from meeting_assistant.domain.errors import MeetingAssistantError
from meeting_assistant.domain.meeting import Meeting, MeetingState, Source
from meeting_assistant.domain.ports import AudioJournal, AudioStore, MeetingRecords

LOOKED_AT_BYTES = 1 << 18
"""How much of a recording is looked at in one place: 8 s."""
PLACES = 16
MIN_ADVANTAGE = 0.1
"""How much more alike samples two apart must be than neighbours, as a share of the power. In one channel of speech at
16 kHz they are less alike."""
MAX_RATIO = 0.8
"""Of the mean squares of odd and even steps; 1 in one channel."""


@dataclass(frozen=True, slots=True)
class Adopted:
    """What became of one recording or file."""

    meeting_id: str
    source: Source
    channels: int = 1
    seconds: float | None = None
    """Length of a recording; None for a file, which is not read yet."""
    problem: str | None = None
    """Why no meeting was made of it; it was left as it is."""


class Adoption:
    """Finds what no meeting knows, and makes meetings of it."""

    def __init__(self, records: MeetingRecords, audio: AudioStore | None) -> None:
        """`audio` is None when there is no key that could open recordings."""
        self._records = records
        self._audio = audio

    async def orphans(self, meeting_ids: Collection[str]) -> list[str]:
        """Return those ids that no meeting has, oldest first. Raises StorageError."""
        return sorted(set(meeting_ids) - await self._records.known(meeting_ids))

    def inspect(self, meeting_id: str, *, channels: int | None = None) -> Adopted:
        """Open a recording and look at it, also at the number of its channels if that is not given. Blocks."""
        if self._audio is None:
            return Adopted(meeting_id, "live", problem="No key is configured that could open it.")
        try:
            journal = self._audio.open(meeting_id)
            try:
                found = channels or count_channels(journal)
                seconds = journal.durable_bytes / BYTES_PER_SECOND / found
            finally:
                journal.close()
        except MeetingAssistantError as error:
            return Adopted(meeting_id, "live", problem=str(error))
        if not seconds:
            return Adopted(meeting_id, "live", problem="It is empty.")
        return Adopted(meeting_id, "live", found, seconds)

    async def adopt(self, found: Adopted, *, owner: str = "") -> Meeting:
        """Store a meeting that the next start of the server transcribes. Raises StorageError."""
        began_at_ms = time_of(found.meeting_id)
        began = datetime.fromtimestamp(began_at_ms / 1000, tz=UTC)
        meeting = Meeting(
            id=found.meeting_id,
            title=f"Recovered meeting of {began:%d %B %Y, %H:%M} UTC",
            state=MeetingState.PROCESSING,
            source=found.source,
            channels=found.channels,
            created_at_ms=began_at_ms,
            received_bytes=round((found.seconds or 0.0) * BYTES_PER_SECOND * found.channels),
            owner=owner,
        )
        await self._records.create(meeting)
        return meeting


def time_of(meeting_id: str) -> int:
    """Return the Unix time in milliseconds at which a UUIDv7 was made (RFC 9562, section 5.7)."""
    return uuid.UUID(meeting_id).int >> 80


def count_channels(journal: AudioJournal) -> int:
    """Return 2 when the sound of a recording looks like two interleaved channels, else 1. Raises as `read`."""
    step = max(LOOKED_AT_BYTES, journal.durable_bytes // PLACES // 4 * 4)
    places = range(0, journal.durable_bytes, step)
    pcm = b"".join(journal.read(start, LOOKED_AT_BYTES) for start in places)
    return 2 if looks_interleaved(pcm[: len(pcm) // 4 * 4]) else 1


def looks_interleaved(pcm: bytes) -> bool:
    """Return whether samples of two channels take turns in this sound.

    In one channel neighbours are more alike than samples two apart, and every pair of neighbours is as unlike as the
    next one. With two channels the neighbour belongs to the other channel: it is less alike, or, where both channels
    hold the same, every other pair is more alike than the rest.
    """
    sound = pcm_to_samples(pcm).astype(np.float64)
    power = float(np.mean(sound**2)) if len(sound) else 0.0
    if not power:
        return False
    near = float(np.mean(sound[:-1] * sound[1:])) / power
    far = float(np.mean(sound[:-2] * sound[2:])) / power
    steps = np.diff(sound) ** 2
    smaller, larger = sorted((float(np.mean(steps[::2])), float(np.mean(steps[1::2]))))
    return far - near > MIN_ADVANTAGE or smaller < MAX_RATIO * larger
