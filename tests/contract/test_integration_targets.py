"""What every integration promises, against a target that refuses what the real one refuses."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date, time
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller

from meeting_assistant.domain.errors import DeliveryError
from meeting_assistant.domain.meeting import Meeting, MeetingState
from meeting_assistant.domain.ports import Integration
from meeting_assistant.domain.transcript import Speaker, Transcript, Utterance
from meeting_assistant.domain.workflows import (
    Action,
    Delivery,
    DeliveryState,
    MeetingOutcome,
    NextMeeting,
    delivery_id,
)
from meeting_assistant.integrations import registry
from meeting_assistant.launcher import free_port
from meeting_assistant.testing.doubles.targets import (
    Calendar,
    GitHub,
    Jira,
    Linear,
    Reply,
    TargetServer,
    mattermost,
    slack,
    teams,
)
from meeting_assistant.testing.harness.outbox import BEGAN_MS, LINES, MINUTES

WEBHOOK_KEY = "whsec_QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo="
SECRETS = ("jira-token", "github-token", "linear-key", WEBHOOK_KEY, "secret-path", "secret-password")
NAMES = [
    *("slack", "teams", "mattermost", "email", "webhook", "jira"),
    *("linear", "github", "caldav", "markdown", "log"),
]


@dataclass
class Target:
    """An integration, and the place that it delivers to."""

    integration: Integration
    arrived: Callable[[], Collection[object]]
    """Return what is there; a repetition that the target recognises counts once."""
    disappear: Callable[[], None]


Opened = tuple[Mapping[str, str], Callable[[], Collection[object]]]
"""The options of an integration, and what has arrived at its target."""


class Mailbox:
    """Takes every message."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.messages.append(envelope.content)
        return "250 OK"


def open_target(name: str, folder: Path, stack: ExitStack) -> Target:
    """Start a target, which ends when `stack` closes."""
    openers: dict[str, Callable[[], Opened]] = {
        "slack": lambda: _channel(stack, slack),
        "teams": lambda: _channel(stack, teams),
        "mattermost": lambda: _channel(stack, mattermost),
        "email": lambda: _mail(stack),
        "webhook": lambda: _receiver(stack),
        "caldav": lambda: _calendar(stack),
        "markdown": lambda: _notes(stack, folder),
        "log": lambda: _log(stack, folder),
    }
    options, arrived = openers.get(name, lambda: _tracker(stack, name))()
    return Target(registry.build({name: options})[name], arrived, stack.close)


def _channel(stack: ExitStack, wire: Callable[[Any], Reply]) -> Opened:
    server = stack.enter_context(TargetServer(wire))
    return {"webhook_url": f"{server.url}/secret-path"}, lambda: server.requests


def _receiver(stack: ExitStack) -> Opened:
    server = stack.enter_context(TargetServer(lambda request: Reply(204)))
    options = {"urls": f"{server.url}/secret-path", "secrets": WEBHOOK_KEY}
    return options, lambda: {request.headers["webhook-id"] for request in server.requests}


def _tracker(stack: ExitStack, name: str) -> Opened:
    trackers: dict[str, Callable[[], Jira | Linear | GitHub]] = {
        "jira": lambda: Jira(is_cloud=False),
        "linear": Linear,
        "github": lambda: GitHub(people=frozenset()),
    }
    tracker = trackers[name]()
    server = stack.enter_context(TargetServer(tracker))
    options = {
        "jira": {"url": server.url, "project": "OPS", "token": "jira-token"},
        "linear": {"api_key": "linear-key", "team": "ENG", "api_url": server.url},
        "github": {"repository": "acme/plans", "token": "github-token", "api_url": server.url},
    }[name]
    return options, lambda: list(tracker.issues)


def _calendar(stack: ExitStack) -> Opened:
    calendar = Calendar()
    server = stack.enter_context(TargetServer(calendar))
    options = {"url": f"{server.url}/ana/meetings", "username": "ana", "password": "secret-password"}
    return options, lambda: list(calendar.entries.items())


def _mail(stack: ExitStack) -> Opened:
    mailbox = Mailbox()
    controller = Controller(mailbox, hostname="127.0.0.1", port=free_port())
    controller.start()
    stack.callback(controller.stop)
    options = {
        "host": "127.0.0.1",
        "port": str(controller.port),
        "security": "none",
        "sender": "notes@example.org",
        "recipients": "ana@example.org, ben@example.org",
    }
    return options, lambda: mailbox.messages


def _notes(stack: ExitStack, folder: Path) -> Opened:
    stack.callback(shutil.rmtree, folder)
    return {"folder": str(folder)}, lambda: [path.read_bytes() for path in folder.iterdir()]


def _log(stack: ExitStack, folder: Path) -> Opened:
    log = folder / "audit.jsonl"
    stack.callback(shutil.rmtree, folder)
    return {"path": str(log)}, lambda: log.read_text().splitlines() if log.exists() else []


@pytest.fixture(params=NAMES)
async def target(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Target]:
    folder = tmp_path / "place"
    folder.mkdir()
    with ExitStack() as stack:
        opened = open_target(request.param, folder, stack)
        assert opened.integration.name == request.param
        yield opened
        await opened.integration.close()


@pytest.fixture
def outcome() -> MeetingOutcome:
    """A meeting with decisions, tasks, a due day and a next meeting."""
    transcript = Transcript(
        utterances=[
            Utterance(utterance=n, start_ms=n * 1000, end_ms=n * 1000 + 900, speaker=speaker, text=text)
            for n, (speaker, text) in enumerate(LINES, start=1)
        ],
        speakers=[Speaker(label="S1"), Speaker(label="S2", name="Ben")],
    )
    meeting = Meeting(
        id="01890a5d-ac96-774b-bcce-b302099a8057",
        title="Weekly & <search>",
        state=MeetingState.DONE,
        source="upload",
        created_at_ms=BEGAN_MS,
    )
    return MeetingOutcome(
        meeting=meeting,
        transcript=transcript,
        minutes=MINUTES,
        link=f"https://notes.example/#/meetings/{meeting.id}",
        next_meetings=(NextMeeting(day=date(2026, 11, 26), at=time(15), utterance=4, quote=LINES[3][1]),),
        markdown="# Weekly\n",
    )


def deliveries_of(target: Target, outcome: MeetingOutcome, *, is_uncertain: bool = False) -> list[Delivery]:
    """Return an attempt at each action that is planned."""

    def attempt(action: Action) -> Delivery:
        return Delivery(
            id=delivery_id(outcome.meeting.id, target.integration.name, action.key),
            meeting_id=outcome.meeting.id,
            integration=target.integration.name,
            action=action,
            state=DeliveryState.SENDING,
            attempts=2 if is_uncertain else 1,
            is_uncertain=is_uncertain,
        )

    return [attempt(action) for action in target.integration.plan(outcome)]


def test_every_integration_of_this_package_is_tested_here() -> None:
    assert registry.names()[: len(NAMES)] == NAMES


async def test_a_description_names_the_target_without_secrets(target: Target) -> None:
    description = target.integration.describe()
    assert description == target.integration.describe()
    assert description.title
    assert description.target
    assert not [secret for secret in SECRETS if secret in description.target]
    assert description.parallel >= 1


async def test_planning_depends_on_the_outcome_alone_and_contacts_no_target(
    target: Target, outcome: MeetingOutcome
) -> None:
    planned = target.integration.plan(outcome)
    assert planned
    assert target.integration.plan(outcome) == planned
    assert len({action.key for action in planned}) == len(planned)
    assert all(action.title for action in planned)
    assert not target.arrived()


async def test_each_delivery_reaches_the_target(target: Target, outcome: MeetingOutcome) -> None:
    deliveries = deliveries_of(target, outcome)
    for delivery in deliveries:
        await target.integration.deliver(delivery)
    assert len(target.arrived()) == len(deliveries)


async def test_an_uncertain_attempt_changes_nothing_where_the_target_recognises_the_first(
    target: Target, outcome: MeetingOutcome
) -> None:
    receipts = [await target.integration.deliver(one) for one in deliveries_of(target, outcome)]
    before = list(target.arrived())
    again = deliveries_of(target, outcome, is_uncertain=True)
    repeated = [await target.integration.deliver(one) for one in again]
    if target.integration.describe().is_exactly_once:
        assert list(target.arrived()) == before
        assert repeated == receipts
    else:
        assert len(target.arrived()) == 2 * len(before)


async def test_a_test_reports_what_it_did(target: Target) -> None:
    assert (await target.integration.test()).endswith(".")


async def test_an_unreachable_target_is_a_failure_with_a_remedy(
    target: Target, outcome: MeetingOutcome
) -> None:
    deliveries = deliveries_of(target, outcome)
    target.disappear()
    for attempt in (target.integration.deliver(deliveries[0]), target.integration.test()):
        with pytest.raises(DeliveryError) as caught:
            await attempt
        assert caught.value.remedy
        assert not [secret for secret in SECRETS if secret in str(caught.value)]


async def test_closing_twice_has_no_effect(target: Target) -> None:
    await target.integration.close()
    await target.integration.close()
