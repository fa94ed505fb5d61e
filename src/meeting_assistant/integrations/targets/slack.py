"""Slack: a message in a channel, by an incoming webhook, in Block Kit.

Limits of Slack: 50 blocks in a message, 150 characters in a header, 3000 in a section. What was said cannot call
anybody: of `& < >`, which alone make a mention or a link in Slack's markup, each is escaped, and `verbatim` keeps
Slack from finding more. A webhook has no idempotency key: an attempt that is cut short may be posted twice.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import JsonValue

from meeting_assistant.domain.text import one_line
from meeting_assistant.domain.workflows import Action, Delivery, Description, MeetingOutcome, Receipt
from meeting_assistant.integrations.delivery.http import HttpTarget, code_in
from meeting_assistant.integrations.delivery.texts import Line, cut, headline, packed, sections_of, split
from meeting_assistant.integrations.options import IntegrationOptions, SecretAddress
from meeting_assistant.net.responses import HttpResponse

MAX_BLOCKS = 50
MAX_HEADER = 150
MAX_SECTION = 3000
MAX_PIECE = 400
"""Of what was said; five times as many characters when all of them are escaped, which a section still holds."""


class SlackOptions(IntegrationOptions):
    """`MEETING_SLACK_WEBHOOK_URL` says the same in one variable."""

    webhook_url: SecretAddress
    """Slack's incoming webhook; it belongs to one channel."""


class SlackIntegration:
    """Implements `Integration`."""

    name = "slack"
    Options = SlackOptions

    def __init__(self, options: SlackOptions) -> None:
        self._url = options.webhook_url.get_secret_value()
        self._http = HttpTarget("Slack", explain=_code)

    def describe(self) -> Description:
        """The channel is known to Slack only."""
        return Description("Slack", "the channel of the webhook")

    def plan(self, outcome: MeetingOutcome) -> list[Action]:
        """Plan one message, or several when it is too long for one."""
        if not outcome.has_something_to_tell:
            return []
        messages = _messages(outcome)
        return [
            Action(
                key="minutes" if number == 1 else f"minutes-{number}",
                title="Minutes to the channel"
                + (f" ({number} of {len(messages)})" if len(messages) > 1 else ""),
                payload=message,
            )
            for number, message in enumerate(messages, start=1)
        ]

    async def deliver(self, delivery: Delivery) -> Receipt:
        """Slack answers `ok` and nothing more."""
        await self._post(delivery.action.payload)
        return Receipt()

    async def test(self) -> str:
        """Posts a line."""
        text = "Meeting Assistant can post here."
        await self._post({"text": text, "blocks": [_section(text)]})
        return "A line was posted to the channel."

    async def close(self) -> None:
        """Close all connections; idempotent."""
        await self._http.close()

    async def _post(self, message: dict[str, JsonValue]) -> None:
        answer = await self._http.send("POST", self._url, body=message)
        if answer.text.strip() != "ok":
            raise self._http.bad_answer("not `ok`")


def escaped(text: str) -> str:
    """Escape `&`, `<` and `>`, and no other characters, as Slack asks for; return one line."""
    return one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _messages(outcome: MeetingOutcome) -> list[dict[str, JsonValue]]:
    blocks: list[JsonValue] = [
        {
            "type": "header",
            "text": {"type": "plain_text", "text": cut(outcome.title, MAX_HEADER), "emoji": False},
        },
        {
            "type": "context",
            "elements": [_text(f"{headline(outcome)} · <{outcome.link}|Transcript and evidence>")],
        },
    ]
    if len(outcome.title) > MAX_HEADER:
        blocks += [_section(escaped(piece)) for piece in split(outcome.title, MAX_PIECE)]
    for part in sections_of(outcome):
        lines = [piece for line in part.lines for piece in _pieces(line)]
        texts = list(packed([f"*{escaped(part.title)}*", *lines], MAX_SECTION))
        blocks += [_section(text) for text in texts]
    pages = [blocks[start : start + MAX_BLOCKS] for start in range(0, len(blocks), MAX_BLOCKS)]
    fallback = escaped(f"Minutes of {cut(outcome.title, MAX_HEADER)}")
    return [_message(fallback, page) for page in pages]


def _message(fallback: str, blocks: Sequence[JsonValue]) -> dict[str, JsonValue]:
    return {"text": fallback, "blocks": list(blocks), "unfurl_links": False, "unfurl_media": False}


def _pieces(line: Line) -> list[str]:
    # Split before it is escaped: half an entity would be shown as it stands.
    texts = [escaped(piece) for piece in split(line.text, MAX_PIECE)]
    details = [f"*{escaped(piece)}*" for piece in split(line.detail, MAX_PIECE) if piece]
    pieces = [f"• {texts[0]}", *texts[1:]]
    if details and len(pieces[-1]) + len(details[0]) < MAX_SECTION // 2:
        pieces[-1] += f" — {details.pop(0)}"
    pieces += details
    pieces[-1] += f" <{line.link}|▸>"
    return pieces


def _section(text: str) -> dict[str, JsonValue]:
    return {"type": "section", "text": _text(text)}


def _text(text: str) -> dict[str, JsonValue]:
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def _code(answer: HttpResponse) -> str:
    return code_in(answer.text)
