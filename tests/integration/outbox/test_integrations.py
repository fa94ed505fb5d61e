"""Each integration against a server that refuses what the real one refuses."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
import vobject
from hypothesis import given, settings
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook

from meeting_assistant.domain.errors import ConfigurationError, DeliveryError
from meeting_assistant.domain.meeting import Meeting, MeetingState
from meeting_assistant.domain.minutes import Evidence, Item, Minutes
from meeting_assistant.domain.transcript import Transcript, Utterance
from meeting_assistant.domain.workflows import DeliveryState, MeetingOutcome
from meeting_assistant.integrations import registry
from meeting_assistant.integrations.targets.slack import SlackIntegration, SlackOptions
from meeting_assistant.testing.doubles.targets import (
    GitHub,
    Jira,
    Linear,
    Reply,
    Request,
    TargetServer,
    mattermost,
    slack,
    teams,
)
from meeting_assistant.testing.harness.meetings import MeetingFixture
from meeting_assistant.testing.harness.outbox import BEGAN_MS, LINES, MINUTES, OutboxHarness

JIRA = {"project": "OPS", "token": "jira-token", "assignees": "Ben=ben-in-jira"}
SECRETS = (
    "whsec_" + "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo=",
    "whsec_" + "YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXo=",
)


def long_minutes(items: int) -> Minutes:
    """Return minutes that fit into one message of no target."""
    text = "Something & <something> that was decided at some length, " * 8
    decided = [
        Item(id=f"d{n}", text=f"{n}. {text}", evidence=[Evidence(utterance=1, quote=LINES[0][1])])
        for n in range(items)
    ]
    return Minutes(decisions=decided)


# --- messages ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "wire", "part"),
    [("slack", slack, "blocks"), ("teams", teams, "attachments"), ("mattermost", mattermost, "text")],
)
@pytest.mark.parametrize("items", [2, 300])
async def test_a_channel_gets_title_decisions_and_action_items_in_as_many_messages_as_needed(
    tmp_path: Path, name: str, wire: Callable[[Request], Reply], part: str, items: int
) -> None:
    minutes = MINUTES if items == 2 else long_minutes(items)
    with TargetServer(wire) as server:
        async with OutboxHarness(tmp_path, {name: {"webhook_url": server.url}}) as outbox:
            meeting_id = await outbox.meeting(
                MeetingFixture(LINES, title="Weekly & <search>", minutes=minutes)
            )
            await outbox.deliver_all()
            deliveries = await outbox.of(meeting_id)
            assert {delivery.state for delivery in deliveries} == {DeliveryState.DONE}
            assert len(server.requests) == len(deliveries)
            assert (len(deliveries) > 1) == (items == 300)
            text = json.dumps([request.body[part] for request in server.requests], ensure_ascii=False)
            assert "https://notes.example/#/meetings/" in text
            if items == 2:
                plain = text.replace("\\", "")
                for words in ("Ship the new search on Monday.", "Ben, by Friday (27 November 2026)"):
                    assert words in plain
            else:
                numbers = [int(n) for n in re.findall(r"(\d+)\\*\. Something", text)]
                assert numbers == list(range(300))
            assert "written" in await outbox.workflows.test(name) or "posted" in await outbox.workflows.test(
                name
            )


async def test_transcript_text_mentions_nobody_and_contains_no_links(tmp_path: Path) -> None:
    with TargetServer(slack) as one, TargetServer(mattermost) as two, TargetServer(GitHub()) as three:
        options = {
            "slack": {"webhook_url": one.url},
            "mattermost": {"webhook_url": two.url},
            "github": {"repository": "acme/plans", "token": "github-token", "api_url": three.url},
        }
        async with OutboxHarness(tmp_path, options) as outbox:
            await outbox.run()
        sent = [request.content.decode() for server in (one, two) for request in server.requests]
        sent += [request.body["body"] for request in three.requests]
    assert "<!channel>" not in "".join(sent)
    assert "<script>" not in "".join(sent[1:])
    assert not re.search(r"@channel|(?<!\\)\]\(https://evil", "".join(sent[1:]))
    (blocks,) = [json.loads(sent[0])["blocks"]]
    assert all(block["text"].get("verbatim") for block in blocks if block["type"] == "section")


def _outcome(title: str, text: str) -> MeetingOutcome:
    utterance = Utterance(utterance=1, start_ms=0, end_ms=1000, speaker="S1", text=text)
    meeting = Meeting(
        id="01890000-0000-7000-8000-000000000000",
        title=title,
        state=MeetingState.DONE,
        source="live",
        created_at_ms=BEGAN_MS,
    )
    items = [Item(id="d1", text=text, evidence=[Evidence(utterance=1, quote=text)])]
    return MeetingOutcome(
        meeting=meeting,
        transcript=Transcript(utterances=[utterance]),
        minutes=Minutes(decisions=items),
        link="https://notes.example/#/meetings/1",
    )


@settings(max_examples=200, deadline=None)
@given(title=st.text(max_size=200), text=st.text(min_size=1, max_size=3000))
def test_slack_accepts_any_text_and_finds_no_mention_in_it(title: str, text: str) -> None:
    integration = SlackIntegration(SlackOptions.model_validate({"webhook_url": "https://hooks.example/x"}))
    for action in integration.plan(_outcome(title, text)):
        request = Request("POST", "/", {}, json.dumps(action.payload).encode())
        assert slack(request).status == 200
        blocks = action.payload["blocks"]
        assert isinstance(blocks, list)
        for text_object in filter(None, (_markup(block) for block in blocks)):
            marks = re.findall(r"<[^>]*>", text_object)
            assert all(mark.startswith("<https://notes.example/") for mark in marks)


def _markup(block: Any) -> str:
    """Return the markup that Slack recognises in a text."""
    text = block["elements"][0] if block["type"] == "context" else block["text"]
    return str(text["text"]) if text["type"] == "mrkdwn" else ""


# --- webhooks ---------------------------------------------------------------------------------------------


async def test_every_webhook_gets_an_event_that_the_published_library_verifies(tmp_path: Path) -> None:
    seen: list[Request] = []

    def receive(request: Request) -> Reply:
        for secret in SECRETS:
            Webhook(secret).verify(request.content, dict(request.headers))
        seen.append(request)
        return Reply(204)

    with TargetServer(receive) as server:
        options = {"webhook": {"urls": f"{server.url}/a, {server.url}/b", "secrets": ",".join(SECRETS)}}
        outbox = OutboxHarness(tmp_path, options)
        outbox.integrations["webhook"]._now = datetime.now().timestamp  # type: ignore[attr-defined]
        async with outbox:
            await outbox.run()
        assert sorted(request.path for request in seen) == ["/a", "/b"]
        event = seen[0].body
        assert event["type"] == "meeting.finished"
        first, _ = event["data"]["minutes"]["action_items"]
        assert (first["text"], first["owner"], first["due"]) == (
            "Send the release notes.",
            "Ben",
            "2026-11-27",
        )
        assert first["evidence"] == [{"utterance": 2, "quote": LINES[1][1]}]


async def test_a_second_attempt_has_the_same_id_and_a_large_event_is_shortened(tmp_path: Path) -> None:
    with TargetServer(lambda request: Reply(200)).lose_the_answer() as server:
        options = {"webhook": {"urls": server.url, "secrets": SECRETS[0]}}
        async with OutboxHarness(tmp_path, options) as outbox:
            await outbox.meeting(MeetingFixture(LINES, minutes=long_minutes(200)))
            await outbox.deliver_all()
            await outbox.later()
        first, second = server.requests
        assert first.headers["webhook-id"] == second.headers["webhook-id"]
        assert first.content == second.content
        assert len(first.content) <= 20_000
        assert first.body["data"]["truncated"] is True


# --- tickets ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_cloud", [True, False])
async def test_jira_gets_an_issue_for_each_action_item(tmp_path: Path, is_cloud: bool) -> None:
    jira = Jira(is_cloud=is_cloud)
    with TargetServer(jira) as server:
        account = {"email": "ops@example.org", "flavour": "cloud"} if is_cloud else {}
        async with OutboxHarness(tmp_path, {"jira": {**JIRA, **account, "url": server.url}}) as outbox:
            meeting_id = await outbox.meeting()
            await outbox.deliver_all()
            receipts = [delivery.receipt for delivery in await outbox.of(meeting_id)]
            assert await outbox.workflows.test("jira") == "Project OPS can be seen; a test makes no issue."
        assert sorted(receipt.url or "" for receipt in receipts if receipt) == [
            f"{server.url}/browse/OPS-1",
            f"{server.url}/browse/OPS-2",
        ]
        fields = next(i["fields"] for i in jira.issues if i["fields"]["summary"] == "Send the release notes.")
        assert fields["duedate"] == "2026-11-27"
        assert fields["assignee"] == ({"accountId": "ben-in-jira"} if is_cloud else {"name": "ben-in-jira"})
        written = json.dumps(fields["description"], ensure_ascii=False)
        assert "I will send the release notes by Friday." in written
        assert f"https://notes.example/#/meetings/{meeting_id}/2" in written


async def test_missing_fields_that_jira_requires_are_reported(tmp_path: Path) -> None:
    refusal = {"errorMessages": [], "errors": {"customfield_10010": "What somebody said is required."}}
    with TargetServer(Jira(is_cloud=False)).fail_with(400, refusal) as server:
        async with OutboxHarness(tmp_path, {"jira": {**JIRA, "url": server.url}}) as outbox:
            parked = await outbox.run()
            assert parked.state is DeliveryState.PARKED
            assert "customfield_10010" in (parked.last_error or "")
            assert "somebody" not in (parked.last_error or "")


async def test_linear_gets_issues_with_our_ids(tmp_path: Path) -> None:
    linear = Linear()
    options = {"api_key": "linear-key", "team": "ENG", "assignees": '{"ben": "ben@example.org"}'}
    with TargetServer(linear) as server:
        async with OutboxHarness(tmp_path, {"linear": {**options, "api_url": server.url}}) as outbox:
            await outbox.run()
            assert "Team ENG can be seen" in await outbox.workflows.test("linear")
        made = {issue["title"]: issue for issue in linear.issues.values()}
        first = made["Send the release notes."]
        assert (first["assigneeId"], first["dueDate"]) == ("user-1", "2026-11-27")
        assert "Hear it in the meeting" in first["description"]
        assert len(made) == 2


@pytest.mark.parametrize(("code", "state"), [("RATELIMITED", "pending"), ("AUTHENTICATION_ERROR", "parked")])
async def test_errors_of_linear_with_status_200_are_recognised(tmp_path: Path, code: str, state: str) -> None:
    error = {"data": None, "errors": [{"message": "…", "extensions": {"code": code}}]}
    with TargetServer(Linear()).fail_with(200, error).fail_with(200, error) as server:
        options = {"api_key": "linear-key", "team": "ENG", "api_url": server.url}
        async with OutboxHarness(tmp_path, {"linear": options}) as outbox:
            assert (await outbox.run()).state == state


async def test_github_gets_issues_that_name_unknown_assignees(tmp_path: Path) -> None:
    github = GitHub(people=frozenset())
    options = {"repository": "acme/plans", "token": "github-token", "assignees": "Ben=ghost"}
    with TargetServer(github) as server:
        async with OutboxHarness(tmp_path, {"github": {**options, "api_url": server.url}}) as outbox:
            parked = await outbox.run()
            assert parked.state is DeliveryState.PARKED
            assert "assignees" in (parked.last_error or "")
            assert await outbox.workflows.test("github") == "Issues can be made in acme/plans."
        (issue,) = github.issues  # of the item without an owner
        assert issue["labels"] == ["meeting"]


@pytest.mark.parametrize("answer", ["<html>Welcome</html>", "{}", "[]", '{"number": "one"'])
async def test_an_unintelligible_answer_is_not_a_success(tmp_path: Path, answer: str) -> None:
    with TargetServer(GitHub()).fail_with(201, answer) as server:
        options = {"repository": "acme/plans", "token": "github-token", "api_url": server.url}
        async with OutboxHarness(tmp_path, {"github": options}) as outbox:
            waiting = await outbox.run()
            assert (waiting.state, waiting.is_uncertain) == (DeliveryState.PENDING, True)


# --- notes ------------------------------------------------------------------------------------------------


async def test_a_note_is_written_and_an_edited_one_is_not_overwritten(tmp_path: Path) -> None:
    vault = tmp_path / "vault"
    vault.mkdir()
    (vault / "2026-11-24 Weekly & search.md").write_text("A note of somebody's own.")
    async with OutboxHarness(tmp_path, {"markdown": {"folder": str(vault)}}) as outbox:
        done = await outbox.run()
        assert done.receipt is not None
        note = vault / "2026-11-24 Weekly & search (2).md"
        assert done.receipt.reference == note.name
        assert (vault / "2026-11-24 Weekly & search.md").read_text() == "A note of somebody's own."
        text = note.read_text()
        assert text.startswith('---\ntitle: "Weekly & <search>"\ndate: 2026-11-24T10:00\n')
        assert "Send the release notes." in text
        integration = outbox.integrations["markdown"]
        await integration.deliver(done)
        assert note.read_text() == text, "the same note again, in its place"
        note.write_text(text.replace("Send", "Please send"))
        again = await integration.deliver(done)
        assert again.reference == "2026-11-24 Weekly & search (3).md"
        assert "Please send" in note.read_text()
        assert "Notes can be written" in await outbox.workflows.test("markdown")
    assert [path for path in vault.iterdir() if path.suffix != ".md"] == []


async def test_a_missing_folder_for_notes_is_reported(tmp_path: Path) -> None:
    async with OutboxHarness(tmp_path, {"markdown": {"folder": str(tmp_path / "nowhere")}}) as outbox:
        waiting = await outbox.run()
        assert "WORKFLOWS__MARKDOWN__FOLDER" in (waiting.last_error or "")
        with pytest.raises(DeliveryError):
            await outbox.workflows.test("markdown")


# --- calendars --------------------------------------------------------------------------------------------


def events(ics: bytes) -> Iterator[Any]:
    """Return the events as an independent parser reads them."""
    yield from vobject.readOne(ics.decode()).vevent_list


async def test_due_dates_and_the_next_meeting_are_calendar_entries(tmp_path: Path) -> None:
    async with OutboxHarness(tmp_path, {}) as outbox:
        meeting_id = await outbox.meeting()
        due, again = events(await outbox.workflows.calendar(meeting_id))
        assert due.summary.value == "Due: Ben: Send the release notes."
        assert (due.dtstart.value, due.dtend.value) == (date(2026, 11, 27), date(2026, 11, 28))
        assert again.summary.value == "Follow-up: Weekly & <search>"
        assert again.dtstart.value == datetime(2026, 11, 26, 15, 0)
        assert "Let's meet again on Thursday at three." in again.description.value
        feed = list(events(await outbox.workflows.feed(None)))
        assert {event.uid.value for event in feed} == {due.uid.value, again.uid.value}


async def test_line_breaks_in_the_transcript_add_no_lines_to_the_calendar(tmp_path: Path) -> None:
    text = "Send it\r\nEND:VEVENT\r\nBEGIN:VALARM\r\nATTACH:file:///etc/passwd"
    item = MINUTES.action_items[0].model_copy(update={"text": text})
    async with OutboxHarness(tmp_path, {}) as outbox:
        meeting_id = await outbox.meeting(MeetingFixture(LINES, minutes=Minutes(action_items=[item])))
        ics = (await outbox.workflows.calendar(meeting_id)).decode()
        assert "VALARM" not in [
            line.partition(":")[2] for line in ics.splitlines() if line.startswith("BEGIN")
        ]
        assert len(list(events(ics.encode()))) == 2


# --- options ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        (
            "jira",
            {"url": "https://x.atlassian.net", "token": "t"},
            "WORKFLOWS__JIRA__PROJECT: Field required",
        ),
        ("jira", {**JIRA, "url": "x.atlassian.net"}, "WORKFLOWS__JIRA__URL: an address"),
        ("jira", {**JIRA, "url": "https://x.example", "colour": "red"}, "WORKFLOWS__JIRA__COLOUR: Extra"),
        ("jira", {**JIRA, "url": "https://x.example", "assignees": "{oops"}, "WORKFLOWS__JIRA__ASSIGNEES"),
        ("webhook", {"urls": "https://a.example", "secrets": "whsec_c2hvcnQ="}, "24 to 64 bytes"),
        (
            "email",
            {"host": "mail", "sender": "a@b.example", "recipients": "nobody"},
            "WORKFLOWS__EMAIL__RECIPIENTS",
        ),
        ("pigeon", {}, "no integration called pigeon"),
    ],
)
def test_invalid_options_are_refused_at_start_without_their_values(
    name: str, options: Mapping[str, str], says: str
) -> None:
    with pytest.raises(ConfigurationError) as stopped:
        registry.build({name: options})
    assert says in str(stopped.value)
    assert not any(value in stopped.value.message for value in ("jira-token", "c2hvcnQ"))
