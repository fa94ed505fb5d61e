"""Jira: one issue for each action item, in Jira Cloud and in Jira Data Center or Server.

Cloud is spoken to by version 3 of its interface (rich text as a document, people by account id), the others by version
2 (wiki text, people by user name). Jira has no idempotency key, so each issue carries a label with the delivery's
id, and an attempt that may have arrived looks for it first. Jira's search lags behind by some seconds, hence
`dedup_delay_s`.
"""

from __future__ import annotations

import base64
from typing import Literal
from urllib.parse import urlencode, urlsplit

from pydantic import Field, JsonValue, SecretStr

from meeting_assistant.domain.workflows import (
    Action,
    Delivery,
    Description,
    MeetingOutcome,
    Receipt,
    delivery_id,
)
from meeting_assistant.integrations.delivery.http import HttpTarget, codes_in
from meeting_assistant.integrations.delivery.tracker_issues import (
    TrackerIssue,
    facts_of,
    headline_of,
    tracker_issues,
)
from meeting_assistant.integrations.options import Address, IntegrationOptions, People
from meeting_assistant.net.responses import HttpResponse

SETTLE_S = 60.0
_WIKI = str.maketrans({mark: f"\\{mark}" for mark in "\\{}[]*_-+^~?!|#@"})


class JiraOptions(IntegrationOptions):
    """A project, and who we are in it."""

    url: Address
    """`https://example.atlassian.net`, or of your own server."""
    project: str = Field(pattern=r"^[A-Z][A-Z0-9_]{1,30}$")
    """Key of the project: `OPS`."""
    email: str = Field(default="", max_length=200)
    """Of the account that the token belongs to; in Jira Cloud only."""
    token: SecretStr
    """API token (Cloud) or personal access token (Data Center, Server)."""
    issue_type: str = Field(default="Task", max_length=100)
    """Name of the kind of issue."""
    label: str = Field(default="meeting", pattern=r"^\S{1,100}$")
    """Put on every issue."""
    assignees: People = Field(default_factory=dict)
    """Who is who: `Ben=5b10a2844c20165700ede21g` (account id in Cloud, user name elsewhere)."""
    flavour: Literal["auto", "cloud", "server"] = "auto"
    """`auto`: Cloud for addresses under atlassian.net or jira.com."""


class JiraIntegration:
    """Implements `Integration`."""

    name = "jira"
    Options = JiraOptions

    def __init__(self, options: JiraOptions) -> None:
        self._options = options
        host = urlsplit(options.url).hostname or ""
        is_at_atlassian = host.endswith((".atlassian.net", ".jira.com"))
        self._is_cloud = options.flavour == "cloud" or (options.flavour == "auto" and is_at_atlassian)
        self._api = f"{options.url}/rest/api/{3 if self._is_cloud else 2}"
        token = options.token.get_secret_value()
        basic = base64.b64encode(f"{options.email}:{token}".encode()).decode()
        headers = {
            "Accept": "application/json",
            "Authorization": f"Basic {basic}" if self._is_cloud else f"Bearer {token}",
            "X-Atlassian-Token": "no-check",
        }
        self._http = HttpTarget("Jira", headers, explain=_fields)

    def describe(self) -> Description:
        """Project and host."""
        target = f"project {self._options.project} at {urlsplit(self._options.url).netloc}"
        return Description("Jira", target, is_exactly_once=True, dedup_delay_s=SETTLE_S, parallel=4)

    def plan(self, outcome: MeetingOutcome) -> list[Action]:
        """Plan one issue for each action item."""
        return [
            Action(
                key=ticket.key,
                title=headline_of(ticket),
                payload={
                    "fields": self._fields(ticket, delivery_id(outcome.meeting.id, self.name, ticket.key))
                },
            )
            for ticket in tracker_issues(outcome, self._options.assignees)
        ]

    async def deliver(self, delivery: Delivery) -> Receipt:
        """Makes the issue, unless it is there."""
        if delivery.is_uncertain and (found := await self._find(delivery.id)) is not None:
            return found
        fields, mark = delivery.action.payload["fields"], _mark(delivery.id)
        assert isinstance(fields, dict)
        labels = fields["labels"]
        assert isinstance(labels, list)
        if mark not in labels:  # planned by a version that put it in here
            fields = {**fields, "labels": [*labels, mark]}
        answer = await self._http.send("POST", f"{self._api}/issue", body={"fields": fields})
        return self._receipt(answer.dig("key"))

    async def test(self) -> str:
        """Looks at the project."""
        answer = await self._http.send("GET", f"{self._api}/project/{self._options.project}")
        if answer.dig("key") != self._options.project:
            raise self._http.bad_answer("no such project")
        return f"Project {self._options.project} can be seen; a test makes no issue."

    async def close(self) -> None:
        """Close all connections; idempotent."""
        await self._http.close()

    async def _find(self, delivery_id: str) -> Receipt | None:
        query = urlencode({"jql": f'labels = "{_mark(delivery_id)}"', "fields": "key", "maxResults": 1})
        search = "search/jql" if self._is_cloud else "search"
        answer = await self._http.send("GET", f"{self._api}/{search}?{query}")
        key = answer.dig("issues", 0, "key")
        return self._receipt(key) if key is not None else None

    def _receipt(self, key: object) -> Receipt:
        if not isinstance(key, str):
            raise self._http.bad_answer("no key of an issue")
        return Receipt(reference=key, url=f"{self._options.url}/browse/{key}")

    def _fields(self, ticket: TrackerIssue, marked: str) -> dict[str, JsonValue]:
        fields: dict[str, JsonValue] = {
            "project": {"key": self._options.project},
            "issuetype": {"name": self._options.issue_type},
            "summary": ticket.title,
            "description": _document(ticket) if self._is_cloud else _wiki(ticket),
            "labels": [self._options.label, _mark(marked)],
        }
        if ticket.due is not None:
            fields["duedate"] = ticket.due.isoformat()
        if ticket.assignee is not None:
            fields["assignee"] = {"accountId" if self._is_cloud else "name": ticket.assignee}
        return fields


def _mark(delivery_id: str) -> str:
    return f"meeting-assistant-{delivery_id}"


def _document(ticket: TrackerIssue) -> JsonValue:
    """Atlassian Document Format: text in it is text, whatever it looks like."""
    quotes: list[JsonValue] = [
        {"type": "blockquote", "content": [_paragraph(_text(quote))]} for quote in ticket.quotes
    ]
    facts = [_paragraph(_text(f"{label}: {value}")) for label, value in facts_of(ticket)]
    link: JsonValue = {
        "type": "text",
        "text": "Hear it in the meeting",
        "marks": [{"type": "link", "attrs": {"href": ticket.link}}],
    }
    return {"type": "doc", "version": 1, "content": [*quotes, *facts, _paragraph(link)]}


def _paragraph(content: JsonValue) -> JsonValue:
    return {"type": "paragraph", "content": [content]}


def _text(text: str) -> JsonValue:
    return {"type": "text", "text": text}


def _wiki(ticket: TrackerIssue) -> str:
    quotes = [f"bq. {quote.translate(_WIKI)}" for quote in ticket.quotes]
    facts = [f"{label}: {value.translate(_WIKI)}" for label, value in facts_of(ticket)]
    return "\n\n".join([*quotes, "\n".join(facts), f"[Hear it in the meeting|{ticket.link}]"])


def _fields(answer: HttpResponse) -> str:
    """Names of the fields that it did not like; not what it says about them, which repeats their contents."""
    errors = answer.dig("errors")
    return codes_in(list(errors)) if isinstance(errors, dict) else ""
