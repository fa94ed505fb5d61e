"""Integrations under the behaviour of real targets: rate limits, edits by others, long text, sign-in pages."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from meeting_assistant.domain.minutes import ActionItem, Evidence, Item, Minutes
from meeting_assistant.domain.workflows import DeliveryState
from meeting_assistant.integrations.delivery.texts import split
from meeting_assistant.testing.doubles.targets import (
    GitHub,
    Jira,
    Linear,
    Reply,
    TargetServer,
    Wire,
    mattermost,
    slack,
    teams,
)
from meeting_assistant.testing.harness.meetings import MeetingFixture
from meeting_assistant.testing.harness.outbox import LINES, MINUTES, OutboxHarness, github_options

SECRET = "whsec_QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo="
ONE_ITEM = MeetingFixture(
    LINES, minutes=MINUTES.model_copy(update={"action_items": MINUTES.action_items[:1]})
)


# --- limits -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"Retry_After": "600"}, 600),
        ({"X_RateLimit_Remaining": "0", "X_RateLimit_Reset": "@"}, 600),
        ({"X_RateLimit_Remaining": "0"}, 60),
    ],
)
async def test_a_403_of_github_with_a_rate_limit_is_retried(
    tmp_path: Path, headers: dict[str, str], wait_s: int
) -> None:
    named = {name: str(int(time.time()) + 600) if value == "@" else value for name, value in headers.items()}
    with TargetServer(GitHub(people=frozenset())).fail_with(403, {"message": "slow down"}, **named) as server:
        async with OutboxHarness(tmp_path, github_options(server, assignees=None)) as outbox:
            meeting_id = await outbox.meeting(ONE_ITEM)
            await outbox.deliver_all()
            (waiting,) = await outbox.of(meeting_id)
            assert waiting.state is DeliveryState.PENDING
            assert outbox.now_ms + (wait_s - 30) * 1000 <= waiting.next_at_ms
            await outbox.later()
            assert (await outbox.of(meeting_id))[0].state is DeliveryState.DONE


async def test_a_403_without_a_rate_limit_is_a_refusal(tmp_path: Path) -> None:
    with TargetServer(GitHub()).fail_with(403, {}, X_RateLimit_Remaining="4999") as server:
        async with OutboxHarness(tmp_path, github_options(server, assignees=None)) as outbox:
            assert (await outbox.run()).state is DeliveryState.PARKED


TRACKERS: dict[str, tuple[Callable[[], GitHub | Jira | Linear], dict[str, str], str]] = {
    "jira": (lambda: Jira(is_cloud=True), {"url": "@", "project": "OPS", "token": "jira-token"}, "/issue"),
    "linear": (Linear, {"api_key": "linear-key", "team": "ENG", "api_url": "@"}, "issueCreate"),
    "github": (
        lambda: GitHub(people=frozenset()),
        {"repository": "acme/plans", "token": "github-token", "api_url": "@"},
        "/issues",
    ),
}
CLOUD = {"email": "ops@example.org", "flavour": "cloud"}


def options_for(name: str, server: TargetServer) -> dict[str, dict[str, str]]:
    options = {key: server.url if value == "@" else value for key, value in TRACKERS[name][1].items()}
    return {name: {**options, **(CLOUD if name == "jira" else {})}}


@pytest.mark.parametrize("name", [*TRACKERS])
async def test_a_date_in_retry_after_is_respected(tmp_path: Path, name: str) -> None:
    at = datetime.now(tz=UTC) + timedelta(hours=3)
    with TargetServer(TRACKERS[name][0]()) as server:
        server.fail_with(429, Retry_After=format_datetime(at.replace(microsecond=0), usegmt=True))
        async with OutboxHarness(tmp_path, options_for(name, server)) as outbox:
            meeting_id = await outbox.meeting(ONE_ITEM)
            await outbox.deliver_all()
            (waiting,) = await outbox.of(meeting_id)
            assert outbox.now_ms + 10_000_000 <= waiting.next_at_ms <= outbox.now_ms + 10_801_000
            await outbox.later()
            assert (await outbox.of(meeting_id))[0].state is DeliveryState.DONE


FAULTS: dict[str, tuple[DeliveryState, bool]] = {
    "400": (DeliveryState.PARKED, False),
    "401": (DeliveryState.PARKED, False),
    "429": (DeliveryState.PENDING, False),
    "500": (DeliveryState.PENDING, True),
    "503": (DeliveryState.PENDING, False),
    "drop": (DeliveryState.PENDING, True),
    "lost answer": (DeliveryState.PENDING, True),
    "no JSON": (DeliveryState.PENDING, True),
    "cut off": (DeliveryState.PENDING, True),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", TRACKERS)
async def test_exactly_one_ticket_is_created_whatever_happens_to_the_request(
    tmp_path: Path, name: str, fault: str
) -> None:
    wire, _, creates = TRACKERS[name]
    tracker = wire()
    with TargetServer(tracker) as server:
        faults: dict[str, Callable[[], object]] = {
            "drop": server.drop,
            "lost answer": server.lose_the_answer,
            "no JSON": lambda: server.do_and_say("<html>Welcome"),
            "cut off": lambda: server.do_and_say('{"data": {"issueCreate": {"succ'),
        }
        if name == "linear":
            server.do_as_asked()  # which team it is comes first
        faults.get(fault, lambda: server.fail_with(int(fault)))()
        async with OutboxHarness(tmp_path, options_for(name, server)) as outbox:
            meeting_id = await outbox.meeting(ONE_ITEM)
            await outbox.deliver_all()
            creating = server.requests[1 if name == "linear" else 0]
            assert creates in f"{creating.path} {creating.content.decode()}"
            (first,) = await outbox.of(meeting_id)
            assert (first.state, first.is_uncertain) == FAULTS[fault]
            if first.state is DeliveryState.PARKED:
                await outbox.workflows.retry(first.id)
            await outbox.later()
            (done,) = await outbox.of(meeting_id)
            assert (done.state, done.is_uncertain, len(tracker.issues)) == (DeliveryState.DONE, False, 1)


async def test_an_issue_is_found_again_in_a_busy_repository_and_without_its_label(tmp_path: Path) -> None:
    repository = GitHub(people=frozenset())
    with TargetServer(repository).lose_the_answer() as server:
        async with OutboxHarness(tmp_path, github_options(server, assignees=None)) as outbox:
            meeting_id = await outbox.meeting(ONE_ITEM)
            await outbox.deliver_all()
            repository.issues[0]["labels"] = []  # GitHub drops them when the token may not set any
            for number in range(2, 253):
                repository.issues.append({"number": number, "html_url": "", "body": "Of others"})
            await outbox.later()
            (done,) = await outbox.of(meeting_id)
            assert done.receipt is not None
            assert done.receipt.reference == "acme/plans#1"
            assert len(repository.issues) == 252


# --- other people's edits ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "instead"),
    [
        ("tags: [meeting]", "tags: [meeting, search, important]"),
        ("title:", "aliases: [Ours]\ntitle:"),
        ("Send", "Please send"),
        ("\n", "\r\n"),
    ],
)
async def test_edits_of_a_note_are_kept(tmp_path: Path, what: str, instead: str) -> None:
    vault = tmp_path / "vault"
    vault.mkdir()
    async with OutboxHarness(tmp_path, {"markdown": {"folder": str(vault)}}) as outbox:
        done = await outbox.run()
        (note,) = vault.iterdir()
        edited = note.read_bytes().decode().replace(what, instead).encode()
        note.write_bytes(edited)
        again = await outbox.integrations["markdown"].deliver(done)
        assert note.read_bytes() == edited
        assert again.reference != note.name


async def test_a_note_created_at_the_same_moment_is_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vault = tmp_path / "vault"
    vault.mkdir()
    link = Path.hardlink_to

    def make_one_first(path: Path, target: Path) -> None:
        if "(2)" not in path.name:
            path.write_text("Somebody was faster.")
        link(path, target)

    monkeypatch.setattr(Path, "hardlink_to", make_one_first)
    async with OutboxHarness(tmp_path, {"markdown": {"folder": str(vault)}}) as outbox:
        await outbox.run()
    assert (vault / "2026-11-24 Weekly & search.md").read_text() == "Somebody was faster."
    assert "Send the release notes" in (vault / "2026-11-24 Weekly & search (2).md").read_text()


async def test_notes_are_written_on_file_systems_without_hard_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, target: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    vault = tmp_path / "vault"
    vault.mkdir()
    async with OutboxHarness(tmp_path, {"markdown": {"folder": str(vault)}}) as outbox:
        done = await outbox.run()
        assert done.state is DeliveryState.DONE
        await outbox.integrations["markdown"].deliver(done)
    (note,) = vault.iterdir()
    assert "Send the release notes" in note.read_text()


async def test_a_title_of_multibyte_characters_gives_a_short_enough_file_name(tmp_path: Path) -> None:
    vault = tmp_path / "vault"
    vault.mkdir()
    async with OutboxHarness(tmp_path, {"markdown": {"folder": str(vault)}}) as outbox:
        meeting_id = await outbox.meeting(MeetingFixture(LINES, title="🎉" * 80, minutes=MINUTES))
        await outbox.deliver_all()
        assert (await outbox.of(meeting_id))[0].state is DeliveryState.DONE
    (note,) = vault.iterdir()
    assert re.fullmatch(r"2026-11-24 🎉{50}\.md", note.name)


# --- long words -------------------------------------------------------------------------------------------


def test_splitting_a_text_loses_nothing() -> None:
    text = "one two three four " * 20 + "x" * 90
    pieces = split(text, 40)
    assert all(0 < len(piece) <= 40 for piece in pieces)
    assert "".join("".join(pieces).split()) == "".join(text.split())
    assert split("", 40) == [""]


LONG = " ".join(f"word{number}" for number in range(240))
LONG_DETAIL = " ".join(f"when{number}" for number in range(30))
LONG_MINUTES = Minutes(
    decisions=[Item(id="d1", text=LONG, evidence=[Evidence(utterance=1, quote=LINES[0][1])])],
    action_items=[
        ActionItem(
            id="a1",
            text=LONG,
            evidence=[Evidence(utterance=2, quote=LINES[1][1])],
            due_phrase=LONG_DETAIL,
        )
    ],
)


@pytest.mark.parametrize(("name", "wire"), [("slack", slack), ("teams", teams), ("mattermost", mattermost)])
async def test_an_item_that_is_too_long_is_split_and_not_truncated(
    tmp_path: Path, name: str, wire: Wire
) -> None:
    with TargetServer(wire) as server:
        async with OutboxHarness(tmp_path, {name: {"webhook_url": server.url}}) as outbox:
            title = " ".join(f"title{number}" for number in range(24))
            meeting_id = await outbox.meeting(MeetingFixture(LINES, title=title, minutes=LONG_MINUTES))
            await outbox.deliver_all()
            assert {one.state for one in await outbox.of(meeting_id)} == {DeliveryState.DONE}
    sent = json.dumps([request.body for request in server.requests]).replace("\\n", " ")
    for word, count, times in (("word", 240, 2), ("when", 30, 1), ("title", 24, 1)):
        for number in range(count):
            assert len(re.findall(rf"\b{word}{number}\b", sent)) >= times, f"{word}{number}"


@pytest.mark.parametrize("name", TRACKERS)
async def test_a_ticket_with_a_shortened_title_has_the_full_text(tmp_path: Path, name: str) -> None:
    tracker = TRACKERS[name][0]()
    with TargetServer(tracker) as server:
        async with OutboxHarness(tmp_path, options_for(name, server)) as outbox:
            meeting_id = await outbox.meeting(MeetingFixture(LINES, minutes=LONG_MINUTES))
            await outbox.deliver_all()
            assert (await outbox.of(meeting_id))[0].state is DeliveryState.DONE
    made = tracker.issues
    assert LONG in json.dumps(list(made.values()) if isinstance(made, dict) else made)


# --- addresses that belong to other services --------------------------------------------------------------


@pytest.mark.parametrize("name", ["slack", "teams", "mattermost"])
async def test_a_sign_in_page_is_not_taken_for_success(tmp_path: Path, name: str) -> None:
    with TargetServer(lambda request: Reply(200, "<html>Sign in</html>")) as server:
        async with OutboxHarness(tmp_path, {name: {"webhook_url": server.url}}) as outbox:
            waiting = await outbox.run()
            assert (waiting.state, waiting.is_uncertain) == (DeliveryState.PENDING, True)
            assert "something unexpected" in (waiting.last_error or "")


async def test_a_delivery_to_a_removed_webhook_is_not_marked_done(tmp_path: Path) -> None:
    with TargetServer(lambda request: Reply(204)) as server:

        def to(path: str) -> dict[str, dict[str, str]]:
            return {"webhook": {"urls": f"{server.url}/{path}", "secrets": SECRET}}

        async with OutboxHarness(tmp_path, to("old")) as before:
            meeting_id = await before.meeting()
        async with OutboxHarness(tmp_path, to("new")) as outbox:
            await outbox.later()
            (parked,) = await outbox.deliveries.of_meeting(meeting_id)
            assert parked.state is DeliveryState.PARKED
            assert "WORKFLOWS__WEBHOOK__URLS" in (parked.last_error or "")
            assert server.requests == []


@pytest.mark.parametrize("name", TRACKERS)
async def test_the_dry_run_of_a_ticket_shows_its_identifying_mark(tmp_path: Path, name: str) -> None:
    tracker = TRACKERS[name][0]()
    with TargetServer(tracker) as server:
        async with OutboxHarness(tmp_path, options_for(name, server)) as outbox:
            meeting_id = await outbox.meeting(ONE_ITEM)
            ((planned, _),) = await outbox.workflows.preview(meeting_id)
            await outbox.deliver_all()
    payload, (made, *_) = planned.action.payload, server.requests[-1:]
    if name == "linear":
        sent = made.body["variables"]["input"]
        assert (sent["id"], sent["title"], sent["description"]) == (
            payload["id"],
            payload["title"],
            payload["description"],
        )
        assert (payload["team"], sent["teamId"]) == ("ENG", "team-1"), "ids at Linear are looked up"
    else:
        assert made.body == payload
        assert planned.id in json.dumps(payload)
