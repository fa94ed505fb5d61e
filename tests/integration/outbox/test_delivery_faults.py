"""Every integration that speaks HTTP, and everything that a server may do to it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from meeting_assistant.domain.workflows import DeliveryState
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
from meeting_assistant.testing.harness.outbox import LINES, MINUTES, OutboxHarness

ADDRESS = "@"
"""Replaced by the address of the server."""
SECRET = "whsec_QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo="
JIRA = {"url": ADDRESS, "project": "OPS", "token": "jira-token"}
TARGETS: dict[str, tuple[Callable[[], Wire], dict[str, str]]] = {
    "slack": (lambda: slack, {"webhook_url": ADDRESS}),
    "teams": (lambda: teams, {"webhook_url": ADDRESS}),
    "mattermost": (lambda: mattermost, {"webhook_url": ADDRESS}),
    "webhook": (lambda: lambda request: Reply(204), {"urls": ADDRESS, "secrets": SECRET}),
    "jira": (partial(Jira, is_cloud=False), JIRA),
    "linear": (Linear, {"api_key": "linear-key", "team": "ENG", "api_url": ADDRESS}),
    "github": (GitHub, {"repository": "acme/plans", "token": "github-token", "api_url": ADDRESS}),
    "caldav": (lambda: lambda request: Reply(201), {"url": ADDRESS}),
}
ONE_ITEM = MeetingFixture(
    LINES[:3], minutes=MINUTES.model_copy(update={"action_items": MINUTES.action_items[:1]})
)
PASSES, STAYS = DeliveryState.PENDING, DeliveryState.PARKED


FAULTS: dict[int | str, DeliveryState] = {
    400: STAYS,
    401: STAYS,
    404: STAYS,
    408: PASSES,
    429: PASSES,
    500: PASSES,
    "drop": PASSES,
    "slow": PASSES,
}


def options_for(name: str, server: TargetServer) -> dict[str, dict[str, str]]:
    options = TARGETS[name][1]
    return {name: {option: server.url if value == ADDRESS else value for option, value in options.items()}}


def inject(fault: int | str, server: TargetServer) -> None:
    if fault == "drop":
        server.drop()
    elif fault == "slow":
        seen = len(server.requests)
        server.do_and_hang_when(lambda request: request is server.requests[seen])
    else:
        assert isinstance(fault, int)
        server.fail_with(fault, Retry_After="7")


@pytest.mark.parametrize("name", TARGETS)
async def test_transient_failures_are_retried_and_permanent_ones_are_parked(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meeting_assistant.integrations.delivery.http.TIMEOUT_S", 1.0)
    with TargetServer(TARGETS[name][0]()) as server:
        async with OutboxHarness(tmp_path, options_for(name, server)) as outbox:
            for fault, state in FAULTS.items():
                inject(fault, server)
                meeting_id = await outbox.meeting(ONE_ITEM)
                await outbox.deliver_all()
                (first,) = await outbox.of(meeting_id)
                assert (first.state, bool(first.last_error)) == (state, True), fault
                if state is STAYS:
                    await outbox.workflows.retry(first.id)
                await outbox.later()
                (done,) = await outbox.of(meeting_id)
                assert (done.state, done.last_error) == (DeliveryState.DONE, None), fault


@pytest.mark.parametrize("name", ["jira", "linear", "github"])
async def test_a_meaningless_answer_is_not_taken_for_success(tmp_path: Path, name: str) -> None:
    with TargetServer(TARGETS[name][0]()) as server:
        async with OutboxHarness(tmp_path, options_for(name, server)) as outbox:
            for body in ("", "<html>", '{"data": {"issueCreate": {"succ', "[1, 2]", "null"):
                server.fail_with(200, body)
                meeting_id = await outbox.meeting(ONE_ITEM)
                await outbox.deliver_all()
                assert (await outbox.of(meeting_id))[0].state is DeliveryState.PENDING, body
