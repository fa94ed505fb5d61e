"""How a live meeting is heard, from what is stored of it now."""

from __future__ import annotations

from meeting_assistant.domain.ports import MeetingStore
from meeting_assistant.services.diarization.diarization_service import DiarizationService
from meeting_assistant.services.diarization.known_voices import reembed_known_speakers
from meeting_assistant.services.live.session_plan import EnrolledSpeakersOf, LiveOptions, session_spec
from meeting_assistant.services.recording.audio_buffer import SecureAudioBuffer
from meeting_assistant.services.transcription.session_types import SessionSpec


class LiveSpecs:
    """Of all live meetings."""

    def __init__(
        self,
        store: MeetingStore,
        diarization: DiarizationService,
        enrolled_speakers: EnrolledSpeakersOf,
        options: LiveOptions,
        *,
        has_sound: bool,
    ) -> None:
        """`has_sound`: recordings are kept, so that voices of before can be heard again."""
        self._store = store
        self._diarization = diarization
        self._people_of = enrolled_speakers
        self._options = options
        self._has_sound = has_sound

    async def of(self, meeting_id: str, buffer: SecureAudioBuffer) -> SessionSpec:
        """Where it begins, and whose voices are known. Raises NotFoundError, StorageError."""
        meeting = await self._store.get(meeting_id)
        resume = await self._store.resume_point(meeting_id)
        said = await self._store.transcript(meeting_id)
        known = (
            await reembed_known_speakers(said, buffer.read, self._diarization, channels=meeting.channels)
            if self._has_sound and self._options.has_speakers
            else ()
        )
        people = await self._people_of(meeting.owner) if self._options.has_speakers else ()
        return session_spec(
            meeting, said, resume, self._options, is_live=True, known_voices=known, known_people=people
        )
