"""The objects that the routes need; put on the app by `create_app`, taken from it by the routes."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field

from starlette.requests import HTTPConnection

from meeting_assistant.domain.access import Principal
from meeting_assistant.integrations.workflows import Workflows
from meeting_assistant.services.admin.access_service import AccessService
from meeting_assistant.services.fleet.messages import WorkerMessage, WorkerState
from meeting_assistant.services.meetings.parts import MeetingParts
from meeting_assistant.services.minutes.parts import MinutesParts
from meeting_assistant.web.rate_limit import MessageLimiter, OwnerBudgets
from meeting_assistant.web.recent_ids import RecentIds


@dataclass(slots=True)
class ServerInfo:
    """The description that the server gives of itself."""

    version: str
    engines: dict[str, str]
    """The engine in use, for each kind."""
    engine_reason: str
    """Why this speech engine was chosen."""
    storage: str
    max_upload_bytes: int
    max_meeting_hours: float
    notes: list[str] = field(default_factory=list)
    """For the operator to know: a fallback, a generated key."""
    problems: list[str] = field(default_factory=list)
    """For the operator to mend; `/health` says `degraded` while there are any."""
    current_problems: Callable[[], Sequence[str]] = tuple
    """Return the problems that come and go."""


@dataclass(slots=True)
class Readiness:
    """The parts that are still loading or have failed; `/ready` answers 200 when there are neither."""

    loading: set[str] = field(default_factory=set)
    failures: dict[str, str] = field(default_factory=dict)
    """What went wrong, by part."""
    checks: Mapping[str, Callable[[], Exception | None]] = field(default_factory=dict)
    """Return what is wrong now with a part that works as far as it can, by part."""

    @property
    def is_ready(self) -> bool:
        """True when every part is loaded."""
        return not self.loading and not self.failures

    def ready(self, part: str) -> None:
        """The part is loaded."""
        self.loading.discard(part)

    def fail(self, part: str, error: Exception) -> None:
        """The part cannot be loaded, and with it none of those that are still loading."""
        self.loading.clear()
        self.failures[part] = str(error)

    @property
    def problems(self) -> list[str]:
        """A line for each part that failed, or that something is wrong with."""
        found = {part: str(error) for part, check in self.checks.items() if (error := check()) is not None}
        return sorted(f"{part}: {failure}" for part, failure in {**found, **self.failures}.items())

    @property
    def waiting_for(self) -> list[str]:
        """The reasons why `/ready` does not answer 200: parts that load, and failures."""
        return sorted([*self.loading, *self.problems])


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits on one connection."""

    max_live_speed: float
    """How fast a client may send audio, as a multiple of real time."""
    idle_s: float
    """How long a connection may be silent."""


@dataclass(frozen=True, slots=True)
class FleetEntrance:
    """The entrance for results that workers post."""

    keys: Sequence[bytes]
    """One of them signs each message."""
    open: Callable[[str], str]
    """Return the text of a sealed message. Raises JobError with the code `not_authentic`."""
    on_message: Callable[[WorkerMessage], None]
    recent: RecentIds
    """The signed messages that were taken a moment ago."""


@dataclass(slots=True)
class WebContext:
    """The parts that routes and sockets work with; one per app."""

    meetings: MeetingParts
    minutes: MinutesParts
    workflows: Workflows
    access: AccessService
    info: ServerInfo
    limits: Limits
    fleet_entrance: FleetEntrance | None = None
    """None: results of workers come through Redis only."""
    workers: Callable[[], Sequence[WorkerState]] | None = None
    """Return the live workers of the fleet; None where this server transcribes itself."""
    owner_budgets: OwnerBudgets = field(default_factory=OwnerBudgets)
    """What each owner may send, over all of its connections."""
    readiness: Readiness = field(default_factory=Readiness)
    is_closing: bool = False


def message_limiter(context: WebContext, caller: Principal, now: float) -> MessageLimiter:
    """Return the budget of a new connection."""
    # Without tokens everybody is one caller: a budget of all of them would let one slow the others.
    shared = None if context.access.is_open else context.owner_budgets.of(budget_owner(caller), now)
    return MessageLimiter(shared, now)


def budget_owner(caller: Principal) -> Hashable:
    """Return whose budget a caller uses: that of the name of its token, or of all who have the same links."""
    return caller.owner if caller.scopes else caller.shared


def context_of(connection: HTTPConnection) -> WebContext:
    """Return the context of the app that serves this request or socket."""
    context = connection.app.state.context
    assert isinstance(context, WebContext)
    return context
