"""Builds the server from the settings: each part in a module of its own, and here all of them together.

Commands that repair or inspect one part (`keys`, `backup`, `workflows`) build that part alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from meeting_assistant.bootstrap.fleet import build_relay
from meeting_assistant.bootstrap.meetings import build_meetings
from meeting_assistant.bootstrap.minutes import build_minutes
from meeting_assistant.bootstrap.speech import SpeechEngines, build_speech
from meeting_assistant.bootstrap.storage import StorageParts, build_storage
from meeting_assistant.bootstrap.web import build_access, build_server_info
from meeting_assistant.bootstrap.workflows import OutboxParts, build_outbox
from meeting_assistant.config import Settings
from meeting_assistant.domain.jobs import JobKind
from meeting_assistant.services.admin.access_service import AccessService
from meeting_assistant.services.events.event_relay import EventRelay
from meeting_assistant.services.jobs.orchestrator import Orchestrator
from meeting_assistant.services.jobs.resumable_steps import (
    ResumableStep,
    ResumableSteps,
    submit_incomplete,
)
from meeting_assistant.services.meetings.parts import MeetingParts
from meeting_assistant.services.minutes.parts import MinutesParts
from meeting_assistant.web.context import ServerInfo


@dataclass(frozen=True, slots=True)
class Services:
    """The parts of a server, wired together and not yet started."""

    settings: Settings
    storage: StorageParts
    speech: SpeechEngines
    outbox: OutboxParts
    minutes: MinutesParts
    meetings: MeetingParts
    orchestrator: Orchestrator
    resumable: ResumableSteps
    relay: EventRelay | None
    access: AccessService
    info: ServerInfo


def build(settings: Settings) -> Services:
    """Build every part that the settings name. Raises ConfigurationError, StorageError."""
    storage = build_storage(settings)
    speech = build_speech(settings)
    outbox = build_outbox(settings, storage)
    # Jobs that need the audio or send events run here; what a fleet does for them goes through `speech.runner`.
    orchestrator = Orchestrator(settings.inference_workers, is_single_process=not storage.database.is_shared)
    minutes = build_minutes(settings, storage, speech.parts, orchestrator, outbox.workflows.run_again)
    meetings = build_meetings(settings, storage, speech.parts, minutes, outbox.workflows, orchestrator)
    return Services(
        settings=settings,
        storage=storage,
        speech=speech,
        outbox=outbox,
        minutes=minutes,
        meetings=meetings,
        orchestrator=orchestrator,
        resumable=_resumable_steps(orchestrator, outbox, minutes, meetings),
        relay=build_relay(settings, storage.channels),
        access=build_access(settings, storage),
        info=build_server_info(settings, storage, speech),
    )


def _resumable_steps(
    orchestrator: Orchestrator, outbox: OutboxParts, minutes: MinutesParts, meetings: MeetingParts
) -> ResumableSteps:
    find_unplanned = outbox.workflows.incomplete_steps
    return ResumableSteps(
        [
            ResumableStep("meetings", meetings.recovery.resume_unfinished, is_before_ready=True),
            ResumableStep(
                "workflows", partial(submit_incomplete, orchestrator, JobKind.WORKFLOWS, find_unplanned)
            ),
            ResumableStep("speakers", meetings.offline_diarization.resume_incomplete),
            # After that: a rewrite may wait for a language model, and nothing else has to wait for it.
            ResumableStep("minutes", minutes.editor.resume_incomplete),
            ResumableStep("redaction", meetings.redaction.resume_incomplete),
        ]
    )
