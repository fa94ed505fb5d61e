"""What the routes need; put on the app by `create_app`, taken from it by the routes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from starlette.requests import HTTPConnection

from meeting_assistant.services.meeting_service import MeetingService


@dataclass(slots=True)
class ServerInfo:
    """What the server says about itself."""

    version: str
    engines: Mapping[str, str]
    engine_reason: str
    """Why this speech engine was chosen."""
    storage: str
    max_upload_bytes: int
    max_meeting_hours: float
    notes: Sequence[str] = ()
    """Things an operator should know: a fallback, a generated key."""


@dataclass(slots=True)
class WebContext:
    """One per app."""

    meetings: MeetingService
    info: ServerInfo
    waiting_for: set[str] = field(default_factory=set)
    """Parts that are still loading; empty when the server is ready."""
    is_closing: bool = False


def context_of(connection: HTTPConnection) -> WebContext:
    """The context of the app that serves this request or socket."""
    context = connection.app.state.context
    assert isinstance(context, WebContext)
    return context
