"""Signed webhooks to programs of one's own, as Standard Webhooks describes them (standardwebhooks.com, version 1).

`webhook-id` is the delivery's id and the same in every attempt: a receiver that remembers it acts once. The signature
is HMAC-SHA256 over `id.timestamp.body`; with several secrets there is one for each, so that they can be changed
without a pause. A receiver that answers 410 is not asked again.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from urllib.parse import urlsplit

from pydantic import JsonValue, SecretStr, field_validator

from meeting_assistant.domain.errors import DeliveryError
from meeting_assistant.domain.minutes import ActionItem, Item
from meeting_assistant.domain.workflows import Action, Delivery, Description, MeetingOutcome, Receipt
from meeting_assistant.integrations.delivery.http import HttpTarget
from meeting_assistant.integrations.options import IntegrationOptions, SecretAddresses, Secrets
from meeting_assistant.net.signatures import key_of, signature

MAX_BYTES = 20_000
"""What the specification recommends at most. Beyond it quotes are left out, then the items."""


class WebhookOptions(IntegrationOptions):
    """Each address is told of each meeting."""

    urls: SecretAddresses
    """Addresses, comma separated."""
    secrets: Secrets
    """For the signature, comma separated: `whsec_` and 24 to 64 bytes in base64. The newest first."""

    @field_validator("secrets")
    @classmethod
    def _are_keys(cls, secrets: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        for secret in secrets:
            key_of(secret.get_secret_value())
        return secrets


class WebhookIntegration:
    """Implements `Integration`."""

    name = "webhook"
    Options = WebhookOptions

    def __init__(self, options: WebhookOptions, now: Callable[[], float] = time.time) -> None:
        self._urls = {_digest(url.get_secret_value()): url.get_secret_value() for url in options.urls}
        self._keys = [key_of(secret.get_secret_value()) for secret in options.secrets]
        self._now = now
        self._http = HttpTarget("The webhook's receiver")

    def describe(self) -> Description:
        """Hosts only: the rest of an address may be secret."""
        hosts = ", ".join(sorted({urlsplit(url).netloc.rpartition("@")[2] for url in self._urls.values()}))
        return Description("Webhook", hosts, is_exactly_once=True, parallel=4)

    def plan(self, outcome: MeetingOutcome) -> list[Action]:
        """Plan one event for each address."""
        event = event_of(outcome)
        return [
            Action(
                key=f"event-{digest}",
                title=f"Signed event to {urlsplit(url).netloc.rpartition('@')[2]}",
                payload=event,
            )
            for digest, url in self._urls.items()
        ]

    async def deliver(self, delivery: Delivery) -> Receipt:
        """Any 2xx is a yes."""
        url = self._urls.get(delivery.action.key.removeprefix("event-"))
        if url is None:
            raise DeliveryError(
                "This address is not among WORKFLOWS__WEBHOOK__URLS any more.",
                "Put it back and try again, or dismiss this.",
                code="delivery_missing",
            )
        await self._post(url, delivery.id, delivery.action.payload)
        return Receipt()

    async def test(self) -> str:
        """Sends an event of the type `meeting_assistant.test` to each address."""
        for url in self._urls.values():
            await self._post(url, f"test-{int(self._now() * 1000)}", _event("meeting_assistant.test", {}))
        return f"A test event was taken by {len(self._urls)} of {len(self._urls)} addresses."

    async def close(self) -> None:
        """Close all connections; idempotent."""
        await self._http.close()

    async def _post(self, url: str, event_id: str, event: dict[str, JsonValue]) -> None:
        content = json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()
        stamp = str(int(self._now()))
        headers = {
            "content-type": "application/json",
            "webhook-id": event_id,
            "webhook-timestamp": stamp,
            "webhook-signature": signature(self._keys, event_id, stamp, content),
        }
        await self._http.send("POST", url, content=content, headers=headers)


def event_of(outcome: MeetingOutcome) -> dict[str, JsonValue]:
    """`meeting.finished`, as long as `MAX_BYTES` allow: `truncated` says that something was left out."""
    full = _finished(outcome, has_items=True, has_quotes=True)
    if len(json.dumps(full, ensure_ascii=False).encode()) <= MAX_BYTES:
        return full
    shorter = _finished(outcome, has_items=True, has_quotes=False)
    if len(json.dumps(shorter, ensure_ascii=False).encode()) <= MAX_BYTES:
        return shorter
    return _finished(outcome, has_items=False, has_quotes=False)


def _finished(outcome: MeetingOutcome, *, has_items: bool, has_quotes: bool) -> dict[str, JsonValue]:
    meeting, minutes = outcome.meeting, outcome.minutes
    data: dict[str, JsonValue] = {
        "meeting_id": meeting.id,
        "title": outcome.title,
        "link": outcome.link,
        "began_at": datetime.fromtimestamp(meeting.began_at_ms / 1000, tz=UTC).isoformat(),
        "duration_ms": meeting.duration_ms,
        "speakers": [outcome.transcript.speaker_name(s.label) for s in outcome.transcript.speakers],
        "truncated": not has_quotes,
        "minutes": None,
    }
    if minutes is not None and has_items:
        kinds = ("summary", "decisions", "action_items", "open_questions", "risks")
        data["minutes"] = {
            kind: [_item(outcome, item, has_quotes=has_quotes) for item in getattr(minutes, kind)]
            for kind in kinds
        }
    return _event("meeting.finished", data, outcome.meeting.began_at_ms + outcome.meeting.duration_ms)


def _item(outcome: MeetingOutcome, item: Item, *, has_quotes: bool) -> JsonValue:
    document: dict[str, JsonValue] = {"id": item.id, "text": item.text, "link": outcome.link_to(item)}
    if isinstance(item, ActionItem):
        document |= {
            "owner": outcome.owner_name(item),
            "due": item.due.isoformat() if item.due else None,
            "due_phrase": item.due_phrase,
        }
    if has_quotes:
        document["evidence"] = [{"utterance": e.utterance, "quote": e.quote} for e in item.evidence]
    return document


def _event(kind: str, data: dict[str, JsonValue], at_ms: int | None = None) -> dict[str, JsonValue]:
    at = datetime.fromtimestamp(at_ms / 1000, tz=UTC) if at_ms is not None else datetime.now(tz=UTC)
    return {"type": kind, "timestamp": at.isoformat(), "data": data}


def _digest(url: str) -> str:
    return hashlib.sha256(url.encode()).hexdigest()[:16]
