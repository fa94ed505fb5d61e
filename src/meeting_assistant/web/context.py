"""What the routes need; put on the app by `create_app`, taken from it by the routes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from starlette.requests import HTTPConnection

from meeting_assistant.domain.ports import FleetEvent, LlmCallLog, PreferenceStore, WorkerState
from meeting_assistant.integrations.workflows import Workflows
from meeting_assistant.services.admin.access_service import AccessService
from meeting_assistant.services.meetings.meeting_service import MeetingService
from meeting_assistant.services.meetings.retention import Upkeep
from meeting_assistant.services.meetings.speaker_edits import Speakers
from meeting_assistant.services.minutes.editor import MinutesEditor
from meeting_assistant.services.minutes.minutes_service import MinutesService
from meeting_assistant.services.minutes.questions.ask_service import AskService


@dataclass(slots=True)
class ServerInfo:
    """What the server says about itself."""

    version: str
    engines: dict[str, str]
    """What is in use, for each kind."""
    engine_reason: str
    """Why this speech engine was chosen."""
    storage: str
    max_upload_bytes: int
    max_meeting_hours: float
    notes: Sequence[str] = ()
    """Things an operator should know: a fallback, a generated key."""
    problems: Sequence[str] = ()
    """Things an operator should mend; `/health` says `degraded` while there are any."""
    ask_for_problems: Callable[[], Sequence[str]] = tuple
    """Those that come and go."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one connection may do."""

    max_live_speed: float
    """Times the pace of speech."""
    idle_s: float


@dataclass(frozen=True, slots=True)
class FleetEntrance:
    """Where workers bring results."""

    keys: Sequence[bytes]
    """One of them signs each message."""
    hear: Callable[[FleetEvent], None]


@dataclass(slots=True)
class WebContext:
    """One per app."""

    meetings: MeetingService
    access: AccessService
    upkeep: Upkeep
    minutes: MinutesService
    editor: MinutesEditor
    ask: AskService
    calls: LlmCallLog
    preferences: PreferenceStore
    workflows: Workflows
    speakers: Speakers
    info: ServerInfo
    limits: Limits
    fleet_entrance: FleetEntrance | None = None
    """None: results of workers come through Redis only."""
    ask_for_workers: Callable[[], Sequence[WorkerState]] | None = None
    """Those that hear meetings for this server; None where it hears them itself."""
    waiting_for: set[str] = field(default_factory=set)
    """Parts that are still loading; empty when the server is ready."""
    is_closing: bool = False


def context_of(connection: HTTPConnection) -> WebContext:
    """The context of the app that serves this request or socket."""
    context = connection.app.state.context
    assert isinstance(context, WebContext)
    return context
