"""From what is asked for and what is stored to how a meeting is run."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import uuid_utils

from meeting_assistant.domain.errors import InputError
from meeting_assistant.domain.meeting import YOU, Meeting, MeetingOptions, MeetingState, ResumePoint
from meeting_assistant.domain.ports import EngineInfo
from meeting_assistant.domain.transcript import Transcript
from meeting_assistant.services.asr.endpointing import EndpointOptions
from meeting_assistant.services.diarization.live_labels import EnrolledSpeaker
from meeting_assistant.services.diarization.speaker_clustering import KnownVoice
from meeting_assistant.services.transcription.session_types import SessionSpec

logger = logging.getLogger(__name__)


EnrolledSpeakersOf = Callable[[str], Awaitable[Sequence[EnrolledSpeaker]]]
"""The voices that an owner asked to be known again."""


@dataclass(frozen=True, slots=True)
class LiveOptions:
    """How live meetings are run; from the settings."""

    max_sessions: int | None = None
    """None: as many as the machine was measured to hold."""
    max_sessions_per_owner: int | None = None
    max_bytes: int = 8 * 3600 * 32_000
    check_space: Callable[[], None] = lambda: None
    """Raises StorageError when there is too little room for anything new."""
    check_options: Callable[[MeetingOptions], None] = lambda options: None
    """Raises InputError for wishes that nobody can fulfil."""
    grace_s: float = 600.0
    partial_interval_s: float = 0.5
    default_language: str | None = None
    has_speakers: bool = True
    endpointing: EndpointOptions = field(default_factory=EndpointOptions)


def new_meeting(
    options: MeetingOptions,
    *,
    source: str,
    utc_offset_minutes: int,
    engines: Mapping[str, str],
    owner: str = "",
    channels: int = 1,
) -> Meeting:
    """A record for a meeting that begins now."""
    now = datetime.now(tz=UTC)
    local = now + timedelta(minutes=utc_offset_minutes)
    return Meeting.model_validate(
        {
            "id": str(uuid_utils.uuid7()),
            "title": options.title.strip() or f"Meeting of {local:%d %B %Y, %H:%M}",
            "state": MeetingState.RECORDING if source == "live" else MeetingState.PROCESSING,
            "source": source,
            "channels": channels,
            "created_at_ms": int(time.time() * 1000),
            "utc_offset_minutes": utc_offset_minutes,
            "language": options.language,
            "vocabulary": options.vocabulary,
            "attendees": options.attendees,
            "llm_provider": options.llm_provider,
            "local_only": options.local_only,
            "template": options.template,
            "minutes_language": options.minutes_language,
            "workflows": options.workflows,
            "owner": owner,
            "engines": dict(engines),
        }
    )


def session_spec(
    meeting: Meeting,
    said: Transcript,
    resume: ResumePoint,
    options: LiveOptions,
    *,
    is_live: bool,
    known_voices: Sequence[KnownVoice] = (),
    known_people: Sequence[EnrolledSpeaker] = (),
) -> SessionSpec:
    """Where to begin and how, from what is stored."""
    return SessionSpec(
        meeting_id=meeting.id,
        resume=resume,
        committed_sample=meeting.committed_sample,
        known_voices=tuple(known_voices),
        known_people=tuple(known_people),
        next_utterance=max((u.utterance for u in said.utterances), default=0) + 1,
        # The first label belongs to the first channel, who may not have spoken yet.
        taken_labels=(*(s.label for s in said.speakers), *((YOU,) if meeting.channels > 1 else ())),
        channels=meeting.channels,
        language=meeting.language or options.default_language,
        hotwords=(*meeting.vocabulary, *meeting.attendees),
        is_live=is_live,
        partial_interval_s=options.partial_interval_s,
        has_speakers=options.has_speakers,
        endpointing=options.endpointing,
    )


def check_language(language: str | None, info: EngineInfo) -> None:
    """Raises InputError when the engine does not know the language."""
    if language is None or not info.languages or language.partition("-")[0].lower() in info.languages:
        return
    raise InputError(
        f"The speech engine {info.model} does not know the language {language!r}.",
        f"Use one of: {', '.join(info.languages)}; or leave the language out.",
        code="language_unsupported",
    )
