"""From what is asked for and what is stored to how a meeting is run."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import uuid_utils

from meeting_assistant.domain.errors import (
    InputError,
    NotYetError,
)
from meeting_assistant.domain.meeting import Meeting, MeetingOptions, MeetingState, ResumePoint
from meeting_assistant.domain.transcript import Transcript
from meeting_assistant.services.audio_session import SessionSpec, SpeechTools
from meeting_assistant.services.endpointing import EndpointOptions
from meeting_assistant.services.voices import KnownVoice

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LiveOptions:
    """How live meetings are run; from the settings."""

    max_sessions: int | None = None
    """None: as many as the machine was measured to hold."""
    max_sessions_per_owner: int | None = None
    max_bytes: int = 8 * 3600 * 32_000
    check_space: Callable[[], None] = lambda: None
    """Raises StorageError when there is too little room for anything new."""
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
            "created_at_ms": int(time.time() * 1000),
            "utc_offset_minutes": utc_offset_minutes,
            "language": options.language,
            "vocabulary": options.vocabulary,
            "attendees": options.attendees,
            "llm_provider": options.llm_provider,
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
) -> SessionSpec:
    """Where to begin and how, from what is stored."""
    return SessionSpec(
        meeting_id=meeting.id,
        resume=resume,
        committed_sample=meeting.committed_sample,
        known_voices=tuple(known_voices),
        next_utterance=max((u.utterance for u in said.utterances), default=0) + 1,
        taken_labels=tuple(speaker.label for speaker in said.speakers),
        language=meeting.language or options.default_language,
        hotwords=(*meeting.vocabulary, *meeting.attendees),
        is_live=is_live,
        partial_interval_s=options.partial_interval_s,
        has_speakers=options.has_speakers,
        endpointing=options.endpointing,
    )


def check_language(language: str | None, tools: SpeechTools) -> None:
    """Raises InputError when the engine does not know the language."""
    info = tools.asr.info
    if language is None or not info.languages or language.partition("-")[0].lower() in info.languages:
        return
    raise InputError(
        f"The speech engine {info.model} does not know the language {language!r}.",
        f"Use one of: {', '.join(info.languages)}; or leave the language out.",
        code="language_unsupported",
    )


def two_channels() -> NotYetError:
    return NotYetError("Two channels are not in this version.", "Mix them to one and send `channels: 1`.")
