"""Where sessions run: here, or on the machines of a fleet."""

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
"""From what is stored now: where the session begins, and how."""


class SessionRunner(Protocol):
    """Runs sessions until their sound is sealed and everything said in it is committed to the sink."""

    @property
    def info(self) -> EngineInfo:
        """Of the recogniser."""
        ...

    @property
    def level(self) -> Level:
        """How far captions are stepped down now."""
        ...

    def on_level(self, listener: Callable[[Level], None]) -> None:
        """Be told when that changes."""
        ...

    def capacity(self, *, live: int, partial_interval_s: float, max_meetings: int | None) -> Capacity:
        """How many meetings fit, `live` of them being there."""
        ...

    async def run(
        self,
        kind: JobKind,
        meeting: Meeting,
        make_spec: MakeSpec,
        buffer: SecureAudioBuffer,
        sink: SessionSink,
    ) -> None:
        """Raises what the sink raises, and MeetingAssistantError when the meeting cannot be heard out."""
        ...


class LocalSessions:
    """In this process: implements `SessionRunner`."""

    def __init__(self, tools: SpeechServices) -> None:
        self._tools = tools

    @property
    def info(self) -> EngineInfo:
        """Of the engine here."""
        return self._tools.asr.info

    @property
    def level(self) -> Level:
        """Of the engine here."""
        return self._tools.asr.level

    def on_level(self, listener: Callable[[Level], None]) -> None:
        """Of the engine here."""
        self._tools.asr.on_level(listener)

    def capacity(self, *, live: int, partial_interval_s: float, max_meetings: int | None) -> Capacity:
        """By what decoding was measured to take here."""
        return self._tools.asr.capacity(
            live=live, partial_interval_s=partial_interval_s, max_meetings=max_meetings
        )

    async def run(
        self,
        kind: JobKind,
        meeting: Meeting,
        make_spec: MakeSpec,
        buffer: SecureAudioBuffer,
        sink: SessionSink,
    ) -> None:
        """At once."""
        spec = await make_spec()
        start = spec.resume.start_sample * meeting.frame_bytes
        await process_audio_session(spec, buffer.follow(start), sink, self._tools)
