"""`SessionRunner`: runs sessions in this process, or on the workers of a fleet."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from meeting_assistant.domain.jobs import JobKind
from meeting_assistant.domain.meeting import Meeting
from meeting_assistant.domain.ports import EngineInfo
from meeting_assistant.services.asr.capacity import Capacity
from meeting_assistant.services.asr.degradation import Level
from meeting_assistant.services.recording.audio_buffer import SecureAudioBuffer
from meeting_assistant.services.transcription.audio_session import process_audio_session
from meeting_assistant.services.transcription.session_types import SessionSink, SessionSpec, SpeechServices

MakeSpec = Callable[[], Awaitable[SessionSpec]]
"""Returns where the session begins now, and how, from what is stored."""


class SessionRunner(Protocol):
    """Runs sessions until their audio is sealed and every utterance in it is committed to the sink."""

    @property
    def info(self) -> EngineInfo:
        """The speech engine that transcribes."""
        ...

    @property
    def level(self) -> Level:
        """The current level of the degradation ladder."""
        ...

    def on_level(self, listener: Callable[[Level], None]) -> None:
        """Call `listener` when the level changes."""
        ...

    def capacity(self, *, live: int, partial_interval_s: float, max_meetings: int | None) -> Capacity:
        """Return how many meetings fit, `live` of them being there already."""
        ...

    def is_decoding(self, meeting_id: str) -> bool:
        """Return True while speech of this meeting waits for a decode in this process, or is decoded."""
        ...

    async def run(
        self,
        kind: JobKind,
        meeting: Meeting,
        make_spec: MakeSpec,
        buffer: SecureAudioBuffer,
        sink: SessionSink,
    ) -> None:
        """Transcribe a meeting to its end.

        Raises what the sink raises, and MeetingAssistantError when the meeting cannot be transcribed.
        """
        ...


class LocalSessions:
    """Runs sessions in this process; implements `SessionRunner`."""

    def __init__(self, speech: SpeechServices) -> None:
        self._speech = speech

    @property
    def info(self) -> EngineInfo:
        """The speech engine of this process."""
        return self._speech.asr.info

    @property
    def level(self) -> Level:
        """The degradation level of this process."""
        return self._speech.asr.level

    def on_level(self, listener: Callable[[Level], None]) -> None:
        """Call `listener` when that level changes."""
        self._speech.asr.on_level(listener)

    def capacity(self, *, live: int, partial_interval_s: float, max_meetings: int | None) -> Capacity:
        """Return how many meetings fit by the measured cost of decoding."""
        return self._speech.asr.capacity(
            live=live, partial_interval_s=partial_interval_s, max_meetings=max_meetings
        )

    def is_decoding(self, meeting_id: str) -> bool:
        """Return True while the engine has a window of this meeting to decode."""
        return self._speech.asr.is_decoding(meeting_id)

    async def run(
        self,
        kind: JobKind,
        meeting: Meeting,
        make_spec: MakeSpec,
        buffer: SecureAudioBuffer,
        sink: SessionSink,
    ) -> None:
        """Transcribe at once; see `SessionRunner.run`."""
        spec = await make_spec()
        start = spec.resume.start_sample * meeting.frame_bytes
        await process_audio_session(spec, buffer.follow(start), sink, self._speech)
