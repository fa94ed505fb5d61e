"""Linear: one issue for each action item.

Linear takes an id from the client for what is made, a UUID of version 4: ours comes from the delivery's id, so that
the same issue is never made twice. What is planned, and shown, names team and assignee by key and e-mail address;
their ids at Linear are looked up when it is delivered.
"""

from __future__ import annotations

from uuid import UUID

from pydantic import Field, JsonValue, SecretStr

from meeting_assistant.domain.errors import DeliveryError
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

_TEAM = "query Team($key: String!) { teams(filter: { key: { eq: $key } }) { nodes { id name } } }"
_USER = "query User($email: String!) { users(filter: { email: { eq: $email } }) { nodes { id } } }"
_ISSUE = "query Issue($id: String!) { issue(id: $id) { identifier url } }"
_CREATE = (
    "mutation Create($input: IssueCreateInput!) "
    "{ issueCreate(input: $input) { success issue { identifier url } } }"
)


class LinearOptions(IntegrationOptions):
    """A team and a key."""

    api_key: SecretStr
    """Personal API key."""
    team: str = Field(pattern=r"^[A-Z0-9]{1,20}$")
    """Key of the team, as its issues begin: `ENG`."""
    assignees: People = Field(default_factory=dict)
    """Who is who, by e-mail address: `Ben=ben@example.org`."""
    api_url: Address = "https://api.linear.app/graphql"
    """Address of the interface."""


class LinearIntegration:
    """Implements `Integration`."""

    name = "linear"
    Options = LinearOptions

    def __init__(self, options: LinearOptions) -> None:
        self._options = options
        headers = {"Authorization": options.api_key.get_secret_value()}
        self._http = HttpTarget("Linear", headers, explain=lambda answer: ", ".join(_codes(answer)))

    def describe(self) -> Description:
        """Return a description that names the team."""
        return Description("Linear", f"team {self._options.team}", is_exactly_once=True, parallel=4)

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
        issue_id = issue_id_of(delivery.id)
        if delivery.is_uncertain and (found := await self._find(issue_id)) is not None:
            return found
        planned = delivery.action.payload
        issue: dict[str, JsonValue] = {
            "id": issue_id,
            "teamId": await self._team_id(),
            "title": planned["title"],
            "description": planned["description"],
        }
        if planned.get("dueDate"):
            issue["dueDate"] = planned["dueDate"]
        if planned.get("assignee") and (user := await self._user_id(str(planned["assignee"]))):
            issue["assigneeId"] = user
        try:
            answer = await self._ask(_CREATE, {"input": issue})
        except DeliveryError as error:
            # Refused because of the id that it has already? Then it is done.
            if error.code == "delivery_rejected" and (found := await self._find(issue_id)) is not None:
                return found
            raise
        if answer.dig("data", "issueCreate", "success") is not True:
            raise self._http.bad_answer("no success")
        return _receipt(answer.dig("data", "issueCreate", "issue"))

    async def test(self) -> str:
        """Looks for the team."""
        await self._team_id()
        return f"Team {self._options.team} can be seen; a test makes no issue."

    async def close(self) -> None:
        """Close all connections; idempotent."""
        await self._http.close()

    def _issue(self, ticket: TrackerIssue, marked: str) -> dict[str, JsonValue]:
        return {
            "id": issue_id_of(marked),
            "team": self._options.team,
            "title": ticket.title,
            "description": _description(ticket),
            "dueDate": ticket.due.isoformat() if ticket.due else None,
            "assignee": ticket.assignee,
        }

    async def _team_id(self) -> str:
        answer = await self._ask(_TEAM, {"key": self._options.team})
        found = answer.dig("data", "teams", "nodes", 0, "id")
        if not isinstance(found, str):
            raise DeliveryError(
                f"Linear knows no team {self._options.team} that this key may see.",
                "Set WORKFLOWS__LINEAR__TEAM to the key of a team of this workspace.",
                code="delivery_missing",
            )
        return found

    async def _user_id(self, email: str) -> str | None:
        found = (await self._ask(_USER, {"email": email})).dig("data", "users", "nodes", 0, "id")
        return found if isinstance(found, str) else None

    async def _find(self, issue_id: str) -> Receipt | None:
        try:
            answer = await self._ask(_ISSUE, {"id": issue_id})
        except DeliveryError as error:
            if error.code == "delivery_rejected":
                return None  # it says so by an error
            raise
        issue = answer.dig("data", "issue")
        return _receipt(issue) if issue is not None else None

    async def _ask(self, query: str, variables: dict[str, JsonValue]) -> HttpResponse:
        """GraphQL: errors come with any status, also with 200. Raises DeliveryError."""
        body: JsonValue = {"query": query, "variables": variables}
        answer = await self._http.send("POST", self._options.api_url, body=body, accept=frozenset({400}))
        if answer.dig("errors"):
            codes = _codes(answer)
            status = 429 if "RATELIMITED" in codes else 401 if "AUTHENTICATION_ERROR" in codes else 400
            raise self._http.refusal(HttpResponse(status, answer.headers, answer.text))
        if answer.status == 400:
            raise self._http.refusal(answer)
        if not isinstance(answer.dig("data"), dict):
            raise self._http.bad_answer("no data")
        return answer


def issue_id_of(delivery_id: str) -> str:
    """The delivery's id in the shape that Linear takes."""
    return str(UUID(bytes=UUID(delivery_id).bytes, version=4))


def _codes(answer: HttpResponse) -> list[str]:
    errors = answer.dig("errors")
    count = len(errors) if isinstance(errors, list) else 0
    codes = (code_in(answer.dig("errors", number, "extensions", "code")) for number in range(count))
    return [code for code in codes if code]


def _receipt(issue: object) -> Receipt:
    known = issue if isinstance(issue, dict) else {}
    reference = known.get("identifier")
    return Receipt(
        reference=reference if isinstance(reference, str) else None, url=https_or_none(known.get("url"))
    )


def _description(ticket: TrackerIssue) -> str:
    lines = [f"**{label}:** {markdown(value)}" for label, value in facts_of(ticket)]
    quotes = [f"> {markdown(quote)}" for quote in ticket.quotes]
    return "\n\n".join([*quotes, *lines, f"[Hear it in the meeting]({ticket.link})"])
