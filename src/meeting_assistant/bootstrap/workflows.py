"""The outbox: which integrations are configured, and what they are given of a meeting."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from meeting_assistant.bootstrap.storage import StorageParts
from meeting_assistant.config import Settings
from meeting_assistant.domain.errors import ConfigurationError
from meeting_assistant.domain.meeting import Meeting
from meeting_assistant.domain.minutes import Minutes
from meeting_assistant.domain.ports import DeliveryStore, Integration
from meeting_assistant.domain.transcript import Transcript
from meeting_assistant.integrations import registry
from meeting_assistant.integrations.dispatcher import Dispatcher, DispatchPolicy
from meeting_assistant.integrations.outcome import OutcomeReader
from meeting_assistant.integrations.targets.audit_log import AuditLogIntegration
from meeting_assistant.integrations.workflows import Workflows
from meeting_assistant.services.meetings.exports import export

_EVERYWHERE = frozenset({"0.0.0.0", "::"})  # noqa: S104 - addresses to replace, not to listen on


def build_integrations(settings: Settings) -> dict[str, Integration]:
    """Build the integrations for which there are options. Raises ConfigurationError."""
    known = registry.names()
    unknown = [name for name in settings.workflow_auto_approve if name not in known]
    if unknown:
        raise ConfigurationError(
            f"WORKFLOW_AUTO_APPROVE names {', '.join(unknown)}, which is not an integration.",
            f"Available: {', '.join(known)}.",
        )
    return registry.build(configured_integrations(settings))


@dataclass(frozen=True, slots=True)
class OutboxParts:
    """The plans of deliveries, and the task that carries them out."""

    workflows: Workflows
    dispatcher: Dispatcher
    deliveries: DeliveryStore


def build_outbox(settings: Settings, storage: StorageParts) -> OutboxParts:
    """Build the outbox with the integrations that are configured. Raises ConfigurationError."""
    return connect_outbox(
        build_integrations(settings),
        storage,
        page_address=page_address(settings),
        approved=settings.workflow_auto_approve,
    )


def connect_outbox(
    integrations: Mapping[str, Integration],
    storage: StorageParts,
    *,
    page_address: str,
    approved: Collection[str],
    policy: DispatchPolicy | None = None,
    now_ms: Callable[[], int] = lambda: int(time.time() * 1000),
) -> OutboxParts:
    """Connect integrations with the outbox in the database. `approved` names those that need no click."""
    from meeting_assistant.adapters.minutes_rules.next_meeting import find_next_meetings
    from meeting_assistant.adapters.storage.sql.deliveries import SqlDeliveryStore

    deliveries = SqlDeliveryStore(storage.database)
    log = integrations.get("log")
    dispatcher = Dispatcher(
        integrations,
        deliveries,
        policy=policy,
        on_terminal=log.note if isinstance(log, AuditLogIntegration) else None,
        now_ms=now_ms,
    )
    workflows = Workflows(
        integrations,
        meetings=storage.store,
        deliveries=deliveries,
        dispatcher=dispatcher,
        read_outcome=OutcomeReader(
            storage.store,
            page_address,
            find_next_meetings=find_next_meetings,
            write_note=_write_note,
        ),
        approved=approved,
        now_ms=now_ms,
    )
    return OutboxParts(workflows, dispatcher, deliveries)


def _write_note(meeting: Meeting, transcript: Transcript, minutes: Minutes | None) -> str:
    return export(meeting, transcript, minutes, "md").text


def page_address(settings: Settings) -> str:
    """Return where people open the web app: the first of ALLOWED_ORIGINS, else where the server listens."""
    if settings.allowed_origins:
        return settings.allowed_origins[0].rstrip("/")
    host = "127.0.0.1" if settings.http_host in _EVERYWHERE else settings.http_host
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.http_port}"


def configured_integrations(settings: Settings) -> dict[str, Mapping[str, str]]:
    """Return the options of each integration that is configured, as they were given."""
    configured: dict[str, Mapping[str, str]] = {
        name: {option: value.get_secret_value() for option, value in options.items()}
        for name, options in settings.workflows.items()
    }
    if settings.meeting_slack_webhook_url is not None:
        configured.setdefault("slack", {"webhook_url": settings.meeting_slack_webhook_url.get_secret_value()})
    if settings.meeting_log_path is not None:
        configured.setdefault("log", {"path": str(settings.meeting_log_path)})
    return configured
