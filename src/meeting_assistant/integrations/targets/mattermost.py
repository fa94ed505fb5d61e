"""Mattermost: a post in a channel, by an incoming webhook.

A post may have 16383 characters of Markdown; what was said is escaped, and a zero-width space behind each @ keeps
it from calling anybody. A webhook has no idempotency key: an attempt that is cut short may be posted twice.
"""

from __future__ import annotations

from pydantic import JsonValue

from meeting_assistant.domain.workflows import Action, Delivery, Description, MeetingOutcome, Receipt
from meeting_assistant.integrations.delivery.http import HttpTarget
from meeting_assistant.integrations.delivery.texts import headline, markdown, packed, sections_of, split
from meeting_assistant.integrations.options import IntegrationOptions, SecretAddress

MAX_TEXT = 16_000
MAX_PIECE = 2000
"""Of what was said; twice as many characters when all of them are escaped."""


class MattermostOptions(IntegrationOptions):
    """Options of an incoming webhook."""

    webhook_url: SecretAddress
    """Its address."""


class MattermostIntegration:
    """Implements `Integration`."""

    name = "mattermost"
    Options = MattermostOptions

    def __init__(self, options: MattermostOptions) -> None:
        self._url = options.webhook_url.get_secret_value()
        self._http = HttpTarget("Mattermost")

    def describe(self) -> Description:
        """The channel is known to Mattermost only."""
        return Description("Mattermost", "the channel of the webhook")

    def plan(self, outcome: MeetingOutcome) -> list[Action]:
        """Plan one post, or several when it is too long for one."""
        if not outcome.has_something_to_tell:
            return []
        texts = list(packed(_lines(outcome), MAX_TEXT))
        return [
            Action(
                key="minutes" if number == 1 else f"minutes-{number}",
                title="Minutes to the channel" + (f" ({number} of {len(texts)})" if len(texts) > 1 else ""),
                payload={"text": text},
            )
            for number, text in enumerate(texts, start=1)
        ]

    async def deliver(self, delivery: Delivery) -> Receipt:
        """Mattermost answers `ok` and nothing more."""
        await self._post(delivery.action.payload)
        return Receipt()

    async def test(self) -> str:
        """Posts a line."""
        await self._post({"text": "Meeting Assistant can post here."})
        return "A line was posted to the channel."

    async def close(self) -> None:
        """Close all connections; idempotent."""
        await self._http.close()

    async def _post(self, post: dict[str, JsonValue]) -> None:
        answer = await self._http.send("POST", self._url, body=post)
        if answer.text.strip() != "ok":
            raise self._http.bad_answer("not `ok`")


def _lines(outcome: MeetingOutcome) -> list[str]:
    lines = [
        *(f"#### {markdown(piece)}" for piece in split(outcome.title, MAX_PIECE)),
        f"{markdown(headline(outcome))} · [Transcript and evidence]({outcome.link})",
    ]
    for part in sections_of(outcome):
        lines.append(f"\n**{markdown(part.title)}**")
        for line in part.lines:
            pieces = [markdown(piece) for piece in split(line.text, MAX_PIECE)]
            details = [markdown(piece) for piece in split(line.detail, MAX_PIECE) if piece]
            pieces[-1] += "".join(f" — **{piece}**" for piece in details[:1])
            pieces += [f"**{piece}**" for piece in details[1:]]
            pieces[-1] += f" [▸]({line.link})"
            lines += [f"* {pieces[0]}", *(f"  {piece}" for piece in pieces[1:])]
    return lines
