"""Plan meetings and sessions: new records from what users ask for, session specs from what is stored."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import uuid_utils

from meeting_assistant.domain.meeting import YOU, Meeting, MeetingOptions, MeetingState, ResumePoint
from meeting_assistant.domain.meeting_start import MeetingStart
from meeting_assistant.domain.ports import MeetingRecords, TranscriptStore
from meeting_assistant.domain.transcript import Transcript
from meeting_assistant.services.asr.endpointing import EndpointOptions
from meeting_assistant.services.diarization.live_labels import EnrolledSpeaker, reembed_known_speakers
from meeting_assistant.services.diarization.speaker_clustering import LabelledVoice
from meeting_assistant.services.diarization.speaker_embedding import SpeakerEmbeddingService
from meeting_assistant.services.transcription.session_types import SessionSpec

EnrolledSpeakersOf = Callable[[str], Awaitable[Sequence[EnrolledSpeaker]]]
"""Return the voices that an owner has enrolled."""

ReadAudio = Callable[[int, int], Awaitable[bytes]]
"""Return canonical PCM from a byte offset, up to a length in bytes."""


@dataclass(frozen=True, slots=True)
class LiveOptions:
    """Options for recording and transcribing meetings; from the settings."""

    max_sessions: int | None = None
    """None: as many as the machine was measured to hold."""
    max_sessions_per_owner: int | None = None
    max_bytes: int = 8 * 3600 * 32_000
    """Longest recording, in bytes of one channel."""
    check_space: Callable[[int], None] = lambda needed_bytes: None
    """Raises StorageError when the disk has too little room for a new recording of so many bytes (0 when unknown)."""
    check_options: Callable[[MeetingOptions], None] = lambda options: None
    """Raises InputError for options that this server cannot fulfil."""
    grace_s: float = 600.0
    """How long a meeting waits for its client to come back before it ends."""
    partial_interval_s: float = 0.5
    default_language: str | None = None
    has_speakers: bool = True
    endpointing: EndpointOptions = field(default_factory=EndpointOptions)


class MeetingHistory(MeetingRecords, TranscriptStore, Protocol):
    """The data that a session is planned from: the record of its meeting, and the transcript so far."""


class SessionPlanner:
    """Makes the records of new meetings, and the spec with which a session begins or resumes."""

    def __init__(
        self,
        store: MeetingHistory,
        embeddings: SpeakerEmbeddingService,
        enrolled_speakers: EnrolledSpeakersOf,
        engines: Mapping[str, str],
        options: LiveOptions,
    ) -> None:
        """`engines` names the engines that run now; every new meeting records them."""
        self.options = options
        self._store = store
        self._embeddings = embeddings
        self._enrolled_speakers = enrolled_speakers
        self._engines = engines

    def new_meeting(
        self,
        options: MeetingOptions,
        *,
        source: str,
        start: MeetingStart,
        owner: str = "",
        channels: int = 1,
    ) -> Meeting:
        """Return the record of a new meeting; nothing is stored."""
        return Meeting.model_validate(
            {
                "id": str(uuid_utils.uuid7()),
                "title": options.title.strip() or f"Meeting of {start.local:%d %B %Y, %H:%M}",
                "state": MeetingState.RECORDING if source == "live" else MeetingState.PROCESSING,
                "source": source,
                "channels": channels,
                "created_at_ms": int(time.time() * 1000),
                "began_at_ms": start.at_ms,
                "began_at_source": start.source,
                "utc_offset_minutes": start.utc_offset_minutes,
                "language": options.language,
                "vocabulary": options.vocabulary,
                "attendees": options.attendees,
                "llm_provider": options.llm_provider,
                "local_only": options.local_only,
                "template": options.template,
                "minutes_language": options.minutes_language,
                "workflows": options.workflows,
                "owner": owner,
                "engines": dict(self._engines),
            }
        )

    async def make_spec(
        self, meeting_id: str, *, is_live: bool, read_audio: ReadAudio | None = None
    ) -> SessionSpec:
        """Return where the session begins now, and how, from what is stored.

        With `read_audio` the voices of an interrupted session are embedded again, so that their labels go on.
        Raises NotFoundError, StorageError.
        """
        meeting = await self._store.get(meeting_id)
        resume = await self._store.resume_point(meeting_id)
        transcript = await self._store.transcript(meeting_id)
        voices: Sequence[LabelledVoice] = ()
        speakers: Sequence[EnrolledSpeaker] = ()
        if self.options.has_speakers:
            if read_audio is not None:
                voices = await reembed_known_speakers(
                    transcript, read_audio, self._embeddings, channels=meeting.channels
                )
            speakers = await self._enrolled_speakers(meeting.owner)
        return session_spec(
            meeting,
            transcript,
            resume,
            self.options,
            is_live=is_live,
            known_voices=voices,
            enrolled_speakers=speakers,
        )


def session_spec(
    meeting: Meeting,
    transcript: Transcript,
    resume: ResumePoint,
    options: LiveOptions,
    *,
    is_live: bool,
    known_voices: Sequence[LabelledVoice] = (),
    enrolled_speakers: Sequence[EnrolledSpeaker] = (),
) -> SessionSpec:
    """Return the spec of a session that goes on from these records. Pure."""
    return SessionSpec(
        meeting_id=meeting.id,
        resume=resume,
        committed_sample=meeting.committed_sample,
        known_voices=tuple(known_voices),
        enrolled_speakers=tuple(enrolled_speakers),
        next_utterance=max((u.utterance for u in transcript.utterances), default=0) + 1,
        # The first label belongs to the first channel, whose speaker may not have spoken yet.
        taken_labels=(*(s.label for s in transcript.speakers), *((YOU,) if meeting.channels > 1 else ())),
        channels=meeting.channels,
        language=meeting.language or options.default_language,
        hotwords=(*meeting.vocabulary, *meeting.attendees),
        is_live=is_live,
        partial_interval_s=options.partial_interval_s,
        has_speakers=options.has_speakers,
        endpointing=options.endpointing,
    )
