"""GitHub Issues: one issue for each action item.

GitHub has no idempotency key, so each issue carries the delivery's id in a comment that nobody sees, and an attempt
that may have arrived looks for it among all issues since the delivery was planned before another one is made. Not by
our label: GitHub leaves labels out without a word when the token's owner may not set them. GitHub asks for one
request at a time.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

from pydantic import Field, JsonValue, SecretStr

from meeting_assistant.domain.workflows import (
    Action,
    Delivery,
    Description,
    MeetingOutcome,
    Receipt,
    delivery_id,
)
from meeting_assistant.integrations.delivery.http import HttpTarget, code_in, https_or_none
from meeting_assistant.integrations.delivery.texts import markdown
from meeting_assistant.integrations.delivery.tracker_issues import (
    TrackerIssue,
    facts_of,
    headline_of,
    tracker_issues,
)
from meeting_assistant.integrations.options import Address, IntegrationOptions, People
from meeting_assistant.net.responses import HttpResponse

VERSION = "2022-11-28"
PAGE_ISSUES = 100
MAX_PAGES = 50
CLOCKS_APART = timedelta(days=1)
"""How much GitHub's clock and ours may differ."""


class GitHubOptions(IntegrationOptions):
    """A repository and a token for it."""

    repository: str = Field(pattern=r"^[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+$")
    """`owner/name`"""
    token: SecretStr
    """Fine-grained, with read and write access to the repository's issues."""
    assignees: People = Field(default_factory=dict)
    """Who is who: `Ben=ben-on-github, Ana Lopez=ana`."""
    label: str = Field(default="meeting", max_length=50)
    """Put on every issue."""
    api_url: Address = "https://api.github.com"
    """Of GitHub Enterprise Server: `https://github.example.org/api/v3`."""


class GitHubIntegration:
    """Implements `Integration`."""

    name = "github"
    Options = GitHubOptions

    def __init__(self, options: GitHubOptions) -> None:
        self._options = options
        self._url = f"{options.api_url}/repos/{options.repository}"
        headers = {
            "Accept": "application/vnd.github+json",
            "X-GitHub-Api-Version": VERSION,
            "Authorization": f"Bearer {options.token.get_secret_value()}",
        }
        self._http = HttpTarget("GitHub", headers, explain=_fields)

    def describe(self) -> Description:
        """Return a description that names the repository."""
        return Description("GitHub Issues", self._options.repository, is_exactly_once=True, dedup_delay_s=10)

    def plan(self, outcome: MeetingOutcome) -> list[Action]:
        """Plan one issue for each action item."""
        return [
            Action(
                key=ticket.key,
                title=headline_of(ticket),
                payload=self._issue(ticket, delivery_id(outcome.meeting.id, self.name, ticket.key)),
            )
            for ticket in tracker_issues(outcome, self._options.assignees)
        ]

    async def deliver(self, delivery: Delivery) -> Receipt:
        """Makes the issue, unless it is there."""
        if delivery.is_uncertain and (found := await self._find(delivery)) is not None:
            return found
        issue, mark = delivery.action.payload, _mark(delivery.id)
        if mark not in str(issue["body"]):  # planned by a version that put it in here
            issue = {**issue, "body": f"{issue['body']}\n\n{mark}"}
        answer = await self._http.send("POST", f"{self._url}/issues", body=issue)
        return self._receipt(answer.dig("number"), answer.dig("html_url"))

    async def test(self) -> str:
        """Looks at the repository."""
        answer = await self._http.send("GET", self._url)
        if answer.dig("has_issues") is False:
            raise self._http.bad_answer("issues are switched off in this repository")
        return f"Issues can be made in {self._options.repository}."

    async def close(self) -> None:
        """Close all connections; idempotent."""
        await self._http.close()

    def _issue(self, ticket: TrackerIssue, marked: str) -> dict[str, JsonValue]:
        assignees: list[JsonValue] = [ticket.assignee] if ticket.assignee else []
        return {
            "title": ticket.title,
            "body": f"{_body(ticket)}\n\n{_mark(marked)}",
            "labels": [self._options.label],
            "assignees": assignees,
        }

    async def _find(self, delivery: Delivery) -> Receipt | None:
        since = datetime.fromtimestamp(delivery.created_at_ms / 1000, tz=UTC) - CLOCKS_APART
        query = urlencode({"state": "all", "since": f"{since:%Y-%m-%dT%H:%M:%SZ}", "per_page": PAGE_ISSUES})
        for page in range(1, MAX_PAGES + 1):
            answer = await self._http.send("GET", f"{self._url}/issues?{query}&page={page}")
            issues = answer.json()
            if not isinstance(issues, list):
                raise self._http.bad_answer("no list of issues")
            for issue in issues:
                if isinstance(issue, dict) and _mark(delivery.id) in str(issue.get("body")):
                    return self._receipt(issue.get("number"), issue.get("html_url"))
            if len(issues) < PAGE_ISSUES:
                return None
        raise self._http.bad_answer("more issues than can be searched")

    def _receipt(self, number: object, url: object) -> Receipt:
        if not isinstance(number, int):
            raise self._http.bad_answer("no number of an issue")
        return Receipt(reference=f"{self._options.repository}#{number}", url=https_or_none(url))


def _mark(delivery_id: str) -> str:
    return f"<!-- meeting-assistant {delivery_id} -->"


def _body(ticket: TrackerIssue) -> str:
    facts = [f"**{label}:** {markdown(value)}" for label, value in facts_of(ticket)]
    quotes = [f"> {markdown(quote)}" for quote in ticket.quotes]
    return "\n\n".join([*quotes, "  \n".join(facts), f"[Hear it in the meeting]({ticket.link})"])


def _fields(answer: HttpResponse) -> str:
    """Names of the fields that it did not like."""
    errors = answer.dig("errors")
    listed = errors if isinstance(errors, list) else []
    named = (code_in(error.get("field")) for error in listed if isinstance(error, dict))
    return ", ".join(filter(None, named))
