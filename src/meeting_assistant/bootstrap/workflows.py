"""Which integrations are configured, and what they are told of a meeting."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

from meeting_assistant.config import Settings
from meeting_assistant.domain.errors import ConfigurationError
from meeting_assistant.domain.ports import DeliveryStore, Integration, MeetingStore
from meeting_assistant.domain.workflows import Delivery, MeetingOutcome
from meeting_assistant.integrations import registry
from meeting_assistant.integrations.dispatcher import Dispatcher
from meeting_assistant.integrations.targets.audit_log import AuditLogIntegration
from meeting_assistant.integrations.workflows import ReadOutcome, Workflows
from meeting_assistant.services.meetings.exports import export

_EVERYWHERE = frozenset({"0.0.0.0", "::"})  # noqa: S104 - addresses to replace, not to listen on


def build_integrations(settings: Settings) -> dict[str, Integration]:
    """Those for which there are options. Raises ConfigurationError."""
    known = registry.names()
    unknown = [name for name in settings.workflow_auto_approve if name not in known]
    if unknown:
        raise ConfigurationError(
            f"WORKFLOW_AUTO_APPROVE names {', '.join(unknown)}, which is no integration.",
            f"There are: {', '.join(known)}.",
        )
    return registry.build(_configured(settings))


def build_workflows(
    settings: Settings, meetings: MeetingStore, deliveries: DeliveryStore
) -> tuple[Workflows, Dispatcher]:
    """Raises ConfigurationError."""
    integrations = build_integrations(settings)
    dispatcher = Dispatcher(integrations, deliveries, on_terminal=_audit(integrations.get("log")))
    workflows = Workflows(
        integrations,
        meetings=meetings,
        deliveries=deliveries,
        dispatcher=dispatcher,
        read_outcome=outcome_reader(meetings, page_address(settings)),
        approved=settings.workflow_auto_approve,
    )
    return workflows, dispatcher


def outcome_reader(meetings: MeetingStore, address: str) -> ReadOutcome:
    """What there is to know of a meeting, read anew each time; `address` is that of the web app."""
    from meeting_assistant.adapters.minutes_rules.next_meeting import find_next_meetings

    async def read(meeting_id: str, *, has_markdown: bool = True) -> MeetingOutcome:
        meeting = await meetings.get(meeting_id)
        transcript = await meetings.transcript(meeting_id)
        minutes = await meetings.minutes(meeting_id)
        outcome = MeetingOutcome(
            meeting=meeting, transcript=transcript, minutes=minutes, link=f"{address}/#/meetings/{meeting_id}"
        )

        def complete() -> MeetingOutcome:
            return replace(
                outcome,
                next_meetings=find_next_meetings(transcript, outcome.began.date()),
                markdown=export(meeting, transcript, minutes, "md").text if has_markdown else "",
            )

        # For a long meeting that takes longer than the event loop may stand still.
        return await asyncio.to_thread(complete)

    return read


def page_address(settings: Settings) -> str:
    """Where people open the web app: the first of ALLOWED_ORIGINS, else where the server listens."""
    if settings.allowed_origins:
        return settings.allowed_origins[0].rstrip("/")
    host = "127.0.0.1" if settings.http_host in _EVERYWHERE else settings.http_host
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.http_port}"


def _configured(settings: Settings) -> dict[str, Mapping[str, str]]:
    configured: dict[str, Mapping[str, str]] = {
        name: {option: value.get_secret_value() for option, value in options.items()}
        for name, options in settings.workflows.items()
    }
    if settings.meeting_slack_webhook_url is not None:
        configured.setdefault("slack", {"webhook_url": settings.meeting_slack_webhook_url.get_secret_value()})
    if settings.meeting_log_path is not None:
        configured.setdefault("log", {"path": str(settings.meeting_log_path)})
    return configured


def _audit(log: Integration | None) -> Callable[[Delivery], Awaitable[None]] | None:
    """Take down what became of each delivery, where there is an audit log."""
    if not isinstance(log, AuditLogIntegration):
        return None

    async def note(delivery: Delivery) -> None:
        # DeliveryError is a MeetingAssistantError: the dispatcher logs it and goes on.
        await log.note(delivery)

    return note
