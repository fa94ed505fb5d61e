"""Delivery targets over real HTTP: each refuses what the real one refuses.

What they check is what the vendors publish: Slack's Block Kit limits, Teams' 28 KB and Adaptive Cards, Mattermost's
16383 characters, GitHub's and Jira's required fields and headers, Linear's UUIDs of version 4.
"""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True, slots=True)
class Request:
    """A request as a client sent it."""

    method: str
    path: str
    headers: Mapping[str, str]
    """Names in lower case."""
    content: bytes

    @property
    def body(self) -> Any:
        """Parsed JSON; None when it is none."""
        try:
            return json.loads(self.content)
        except ValueError:
            return None


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer of a server to one request."""

    status: int = 200
    body: object = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    is_lost: bool = False
    """The connection is cut and nothing is answered."""


Wire = Callable[[Request], Reply]


class _QuietServer(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore errors of clients that were killed."""


class TargetServer:
    """Use it as a context manager. Faults come first, in order; then the wire answers."""

    def __init__(self, wire: Wire) -> None:
        self.requests: list[Request] = []
        self._wire = wire
        self._faults: deque[Callable[[Request], Reply]] = deque()
        self._let_go = threading.Event()
        self._hangs_when: Callable[[Request], bool] | None = None
        self._server = _QuietServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True

    @property
    def url(self) -> str:
        """Base URL of the server: `http://127.0.0.1:PORT`."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def fail_with(self, status: int, body: object = "", **headers: str) -> Self:
        """Refuse one request; underscores in header names become hyphens."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self._faults.append(lambda request: Reply(status, body, named))
        return self

    def do_as_asked(self) -> Self:
        """Add a request without a fault."""
        self._faults.append(self._wire)
        return self

    def lose_the_answer(self) -> Self:
        """Do what is asked, and cut the connection before saying so."""
        self._faults.append(lambda request: Reply(self._wire(request).status, is_lost=True))
        return self

    def do_and_say(self, body: object) -> Self:
        """Do what is asked, and answer with something else."""
        self._faults.append(lambda request: Reply(self._wire(request).status, body))
        return self

    def drop(self) -> Self:
        """Cut the connection and do nothing."""
        self._faults.append(lambda request: Reply(is_lost=True))
        return self

    def do_and_hang_when(self, applies: Callable[[Request], bool] | None) -> Self:
        """Do what such a request asks, and never say so until the server ends; None ends that for later ones."""
        self._hangs_when = applies
        return self

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._let_go.set()
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, request: Request) -> Reply:
        self.requests.append(request)
        if self._hangs_when is not None and self._hangs_when(request):
            self._wire(request)
            self._let_go.wait()
            return Reply(is_lost=True)
        return self._faults.popleft()(request) if self._faults else self._wire(request)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                names = {name.lower(): value for name, value in self.headers.items()}
                reply = outer._answer(Request(self.command, self.path, names, content))
                if reply.is_lost:
                    self.close_connection = True
                    return
                body = reply.body if isinstance(reply.body, str) else json.dumps(reply.body)
                self.send_response(reply.status)
                for name, value in {"Content-Length": str(len(body.encode())), **reply.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body.encode())

            do_GET = do_POST = do_PUT = do_PROPFIND = answer  # noqa: N815 - the standard library's names

            def log_message(self, *args: object) -> None:
                """Do nothing, so that requests are not logged."""

        return Handler


# --- messages ---------------------------------------------------------------------------------------------


def slack(request: Request) -> Reply:
    """An incoming webhook."""
    body = request.body
    blocks = body.get("blocks") if isinstance(body, dict) else None
    if request.method != "POST" or not isinstance(blocks, list) or not body.get("text"):
        return Reply(400, "invalid_payload")
    is_fine = 1 <= len(blocks) <= 50 and all(map(_is_slack_block, blocks))
    return Reply(200, "ok") if is_fine else Reply(400, "invalid_blocks")


def _is_slack_block(block: Any) -> bool:
    match block:
        case {"type": "header", "text": {"type": "plain_text", "text": str(text)}}:
            return 1 <= len(text) <= 150
        case {"type": "section", "text": {"type": "mrkdwn", "text": str(text)}}:
            return 1 <= len(text) <= 3000
        case {"type": "context", "elements": list(elements)}:
            return 1 <= len(elements) <= 10 and all(e["type"] == "mrkdwn" and e["text"] for e in elements)
    return False


def teams(request: Request) -> Reply:
    """The webhook of a workflow."""
    match request.body:
        case {
            "type": "message",
            "attachments": [
                {
                    "contentType": "application/vnd.microsoft.card.adaptive",
                    "contentUrl": None,
                    "content": {"type": "AdaptiveCard", "version": "1.4", "body": [_, *_] as body} as card,
                }
            ],
        } if len(request.content) <= 28 * 1024:
            is_fine = all(map(_is_card_element, body)) and all(map(_is_card_action, card.get("actions", [])))
            return Reply(202 if is_fine else 400)
    return Reply(400)


_RUN_LOOKS = {
    "size": {"Small", "Default", "Medium", "Large", "ExtraLarge"},
    "weight": {"Lighter", "Default", "Bolder"},
}


def _is_card_element(element: Any) -> bool:
    """A `RichTextBlock` of `TextRun`s, as Adaptive Cards 1.2 and later describe them."""
    match element:
        case {"type": "RichTextBlock", "inlines": [_, *_] as inlines, **others} if not others:
            return all(map(_is_text_run, inlines))
    return False


def _is_text_run(run: Any) -> bool:
    match run:
        case {"type": "TextRun", "text": str(text), **looks} if text:
            return all(value in _RUN_LOOKS.get(str(name), set()) for name, value in looks.items())
    return False


def _is_card_action(action: Any) -> bool:
    match action:
        case {"type": "Action.OpenUrl", "title": str(), "url": str(url), **others} if not others:
            return urlsplit(url).scheme in {"http", "https"}
    return False


def mattermost(request: Request) -> Reply:
    """An incoming webhook."""
    match request.body:
        case {"text": str(text)} if 1 <= len(text) <= 16_383:
            return Reply(200, "ok")
    return Reply(400, {"id": "web.incoming_webhook.parse.app_error"})


# --- calendars --------------------------------------------------------------------------------------------


class Calendar:
    """A calendar of CalDAV: an entry is put where there is none, and a look at it says what it is."""

    def __init__(self) -> None:
        self.entries: dict[str, bytes] = {}

    def __call__(self, request: Request) -> Reply:
        """`PUT` and `PROPFIND`."""
        if request.method == "PROPFIND":
            return Reply(207, "<resourcetype><collection/><calendar/></resourcetype>")
        if request.path in self.entries and request.headers.get("if-none-match") == "*":
            return Reply(412)
        self.entries[request.path] = request.content
        return Reply(201)


# --- trackers ---------------------------------------------------------------------------------------------


class GitHub:
    """GitHub with one repository, `acme/plans`, whose issues can be assigned to `people`."""

    def __init__(self, people: frozenset[str] = frozenset({"ben-on-github"})) -> None:
        self.issues: list[dict[str, Any]] = []
        self._people = people

    def __call__(self, request: Request) -> Reply:
        """The three requests that are made."""
        if request.headers.get("authorization") != "Bearer github-token":
            return Reply(401, {"message": "Bad credentials"})
        path = request.path.partition("?")[0]
        if request.headers.get("accept") != "application/vnd.github+json":
            return Reply(415)
        if path == "/repos/acme/plans" and request.method == "GET":
            return Reply(200, {"full_name": "acme/plans", "has_issues": True})
        if path != "/repos/acme/plans/issues":
            return Reply(404, {"message": "Not Found"})
        if request.method == "GET":
            asked = {name: value[0] for name, value in parse_qs(urlsplit(request.path).query).items()}
            size, page = int(asked.get("per_page", 30)), int(asked.get("page", 1))
            if not 1 <= size <= 100 or asked.get("state") != "all":
                return Reply(422, {"message": "Validation Failed"})
            return Reply(200, self.issues[::-1][(page - 1) * size : page * size])
        return self._create(request.body)

    def _create(self, issue: Any) -> Reply:
        wrong = [
            name
            for name, is_right in (
                ("title", isinstance(issue.get("title"), str) and 1 <= len(issue["title"]) <= 256),
                ("body", isinstance(issue.get("body"), str) and len(issue["body"]) <= 65_536),
                ("labels", all(isinstance(label, str) for label in issue.get("labels", []))),
                ("assignees", set(issue.get("assignees", [])) <= self._people),
            )
            if not is_right
        ]
        if wrong:
            errors = [{"resource": "Issue", "field": name, "code": "invalid"} for name in wrong]
            return Reply(422, {"message": "Validation Failed", "errors": errors})
        number = len(self.issues) + 1
        made = {**issue, "number": number, "html_url": f"https://github.example/acme/plans/issues/{number}"}
        self.issues.append(made)
        return Reply(201, made)


class Jira:
    """Jira with one project, `OPS`: Jira Cloud when `is_cloud`, otherwise a self-hosted server."""

    def __init__(self, *, is_cloud: bool) -> None:
        self.issues: list[dict[str, Any]] = []
        self._api = "/rest/api/3" if is_cloud else "/rest/api/2"
        self._search = "/search/jql" if is_cloud else "/search"
        self._authorization = (
            "Basic b3BzQGV4YW1wbGUub3JnOmppcmEtdG9rZW4=" if is_cloud else "Bearer jira-token"
        )
        self._is_cloud = is_cloud

    def __call__(self, request: Request) -> Reply:
        """The three requests that are made."""
        if request.headers.get("authorization") != self._authorization:
            return Reply(401)
        parts = urlsplit(request.path)
        if parts.path == f"{self._api}/project/OPS":
            return Reply(200, {"key": "OPS"})
        if parts.path == f"{self._api}{self._search}":
            jql = parse_qs(parts.query)["jql"][0]
            found = [issue for issue in self.issues if jql == f'labels = "{issue["fields"]["labels"][-1]}"']
            return Reply(200, {"issues": [{"key": issue["key"]} for issue in found]})
        if parts.path != f"{self._api}/issue" or request.method != "POST":
            return Reply(404)
        return self._create(request.body["fields"])

    def _create(self, fields: Any) -> Reply:
        errors = {}
        summary = fields.get("summary", "")
        if not 1 <= len(summary) <= 255 or "\n" in summary:
            errors["summary"] = "Summary must be less than 255 characters."
        if fields.get("project") != {"key": "OPS"}:
            errors["project"] = "Specify a valid project."
        if not fields.get("issuetype", {}).get("name"):
            errors["issuetype"] = "Specify an issue type."
        if any(" " in label for label in fields.get("labels", [])):
            errors["labels"] = "A label cannot hold spaces."
        if not self._is_description(fields.get("description")):
            errors["description"] = "Operation value must be a document." if self._is_cloud else "Not a text."
        if set(fields.get("assignee", {})) - {"accountId" if self._is_cloud else "name"}:
            errors["assignee"] = "Specify a user."
        if errors:
            return Reply(400, {"errorMessages": [], "errors": errors})
        key = f"OPS-{len(self.issues) + 1}"
        self.issues.append({"key": key, "fields": fields})
        return Reply(201, {"id": "1", "key": key, "self": "https://jira.example/1"})

    def _is_description(self, description: Any) -> bool:
        if not self._is_cloud:
            return isinstance(description, str)
        match description:
            case {"type": "doc", "version": 1, "content": [*nodes]}:
                return all(node["type"] in {"paragraph", "blockquote"} and node["content"] for node in nodes)
        return False


class Linear:
    """Linear with one team, `ENG`, and one person in it."""

    def __init__(self) -> None:
        self.issues: dict[str, dict[str, Any]] = {}

    def __call__(self, request: Request) -> Reply:
        """GraphQL, as far as it is asked."""
        from uuid import UUID

        if request.headers.get("authorization") != "linear-key":
            return _graphql_error("AUTHENTICATION_ERROR")
        query, given = request.body["query"], request.body["variables"]
        if "teams(" in query:
            nodes = [{"id": "team-1", "name": "Engineering"}] if given["key"] == "ENG" else []
            return Reply(200, {"data": {"teams": {"nodes": nodes}}})
        if "users(" in query:
            nodes = [{"id": "user-1"}] if given["email"] == "ben@example.org" else []
            return Reply(200, {"data": {"users": {"nodes": nodes}}})
        if "issueCreate" not in query:
            known = self.issues.get(given["id"])
            return Reply(200, {"data": {"issue": known}}) if known else _graphql_error("INPUT_ERROR")
        issue = given["input"]
        known_fields = {"id", "teamId", "title", "description", "dueDate", "assigneeId"}
        is_right = UUID(issue["id"]).version == 4 and issue["teamId"] == "team-1" and issue["title"]
        if not is_right or set(issue) - known_fields or issue["id"] in self.issues:
            return _graphql_error("INVALID_INPUT")
        number = len(self.issues) + 1
        made = {**issue, "identifier": f"ENG-{number}", "url": f"https://linear.example/ENG-{number}"}
        self.issues[issue["id"]] = made
        return Reply(200, {"data": {"issueCreate": {"success": True, "issue": made}}})


def _graphql_error(code: str) -> Reply:
    """Return an error with status 200, as GraphQL may."""
    return Reply(200, {"data": None, "errors": [{"message": "…", "extensions": {"code": code}}]})
