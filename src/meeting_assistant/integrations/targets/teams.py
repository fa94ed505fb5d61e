"""Microsoft Teams: an Adaptive Card in a channel, by the webhook of a workflow.

The text stands in `TextRun`s, which Teams shows as they are: no Markdown, and no mention without an entity that
we do not send. A message may have 28 KB. A webhook has no idempotency key: an attempt that is cut short may be
posted twice.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from pydantic import JsonValue

from meeting_assistant.domain.workflows import Action, Delivery, Description, MeetingOutcome, Receipt
from meeting_assistant.integrations.delivery.http import HttpTarget
from meeting_assistant.integrations.delivery.texts import headline, sections_of, split
from meeting_assistant.integrations.options import IntegrationOptions, SecretAddress

MAX_BYTES = 24_000
"""Of the elements of one card; the rest of the 28 KB is for what stands around them."""
MAX_PIECE = 1000
"""Characters of one element; an item that is longer becomes several."""


class TeamsOptions(IntegrationOptions):
    """Options of the workflow "When a Teams webhook request is received"."""

    webhook_url: SecretAddress
    """Its address."""


class TeamsIntegration:
    """Implements `Integration`."""

    name = "teams"
    Options = TeamsOptions

    def __init__(self, options: TeamsOptions) -> None:
        self._url = options.webhook_url.get_secret_value()
        self._http = HttpTarget("Microsoft Teams")

    def describe(self) -> Description:
        """The channel is known to Teams only."""
        return Description("Microsoft Teams", "the channel of the webhook")

    def plan(self, outcome: MeetingOutcome) -> list[Action]:
        """Plan one card, or several when it is too long for one."""
        if not outcome.has_something_to_tell:
            return []
        pages = _pages(_elements(outcome))
        return [
            Action(
                key="minutes" if number == 1 else f"minutes-{number}",
                title="Minutes to the channel" + (f" ({number} of {len(pages)})" if len(pages) > 1 else ""),
                payload=_message(page, outcome.link),
            )
            for number, page in enumerate(pages, start=1)
        ]

    async def deliver(self, delivery: Delivery) -> Receipt:
        """Teams answers 202 and nothing more."""
        await self._post(delivery.action.payload)
        return Receipt()

    async def test(self) -> str:
        """Posts a card."""
        await self._post(_message([_block("Meeting Assistant can post here.")], None))
        return "A card was posted to the channel."

    async def close(self) -> None:
        """Close all connections; idempotent."""
        await self._http.close()

    async def _post(self, message: dict[str, JsonValue]) -> None:
        answer = await self._http.send("POST", self._url, body=message)
        if answer.text.lstrip().startswith("<"):  # a page to sign in on, with status 200
            raise self._http.bad_answer("a web page")


def _elements(outcome: MeetingOutcome) -> list[JsonValue]:
    elements = [
        *(_block(piece, weight="Bolder", size="Large") for piece in split(outcome.title, MAX_PIECE)),
        _block(headline(outcome)),
    ]
    for part in sections_of(outcome):
        elements.append(_block(part.title, weight="Bolder"))
        for line in part.lines:
            detail = f" — {line.detail}" if line.detail else ""
            elements += [_block(piece) for piece in split(f"• {line.text}{detail}", MAX_PIECE)]
    return elements


def _block(text: str, **looks: str) -> JsonValue:
    run: dict[str, JsonValue] = {"type": "TextRun", "text": text, **looks}
    return {"type": "RichTextBlock", "inlines": [run]}


def _pages(elements: Sequence[JsonValue]) -> list[list[JsonValue]]:
    pages: list[list[JsonValue]] = [[]]
    size = 0
    for element in elements:
        length = len(json.dumps(element))
        if pages[-1] and size + length > MAX_BYTES:
            pages.append([])
            size = 0
        pages[-1].append(element)
        size += length
    return pages


def _message(elements: Sequence[JsonValue], link: str | None) -> dict[str, JsonValue]:
    actions: list[JsonValue] = (
        [{"type": "Action.OpenUrl", "title": "Transcript and evidence", "url": link}] if link else []
    )
    card: dict[str, JsonValue] = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "msteams": {"width": "Full"},
        "body": list(elements),
        "actions": actions,
    }
    attachment: dict[str, JsonValue] = {
        "contentType": "application/vnd.microsoft.card.adaptive",
        "contentUrl": None,
        "content": card,
    }
    return {"type": "message", "attachments": [attachment]}
