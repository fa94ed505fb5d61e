"""Deliveries that fail are tried again or parked, and none is made twice."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from meeting_assistant.domain.workflows import DeliveryState
from meeting_assistant.testing.doubles.targets import GitHub, Jira, Linear, TargetServer, slack
from meeting_assistant.testing.harness.meetings import MeetingFixture
from meeting_assistant.testing.harness.outbox import (
    LINES,
    MINUTES,
    OutboxHarness,
    github_options,
    slack_options,
)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503])
async def test_a_transient_failure_is_retried_later(tmp_path: Path, status: int) -> None:
    with TargetServer(slack).fail_with(status) as server:
        async with OutboxHarness(tmp_path, slack_options(server)) as outbox:
            waiting = await outbox.run()
            assert (waiting.state, waiting.attempts) == (DeliveryState.PENDING, 1)
            assert waiting.last_error is not None
            assert f"HTTP {status}" in waiting.last_error
            assert waiting.next_at_ms > outbox.now_ms
            await outbox.later(seconds=60)
            (done,) = await outbox.of(waiting.meeting_id)
            assert (done.state, done.attempts, done.last_error) == (DeliveryState.DONE, 2, None)


async def test_retry_after_of_a_target_is_respected(tmp_path: Path) -> None:
    with TargetServer(slack).fail_with(429, Retry_After="3600") as server:
        async with OutboxHarness(tmp_path, slack_options(server)) as outbox:
            waiting = await outbox.run()
            assert waiting.next_at_ms >= outbox.now_ms + 3_600_000
            await outbox.later(seconds=3500)
            assert len(server.requests) == 1
            await outbox.later(seconds=200)
            assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (400, "invalid_blocks", "invalid_blocks"),
        (401, "", "token or password"),
        (403, "invalid_token", "invalid_token"),
        (404, "channel_not_found", "channel_not_found"),
        (410, "channel_is_archived", "channel_is_archived"),
        (302, "", "another address"),
        (400, "what somebody said in the meeting", "HTTP 400)"),
    ],
)
async def test_a_permanent_failure_is_parked_at_once_with_the_reason(
    tmp_path: Path, status: int, body: str, says: str
) -> None:
    with TargetServer(slack).fail_with(status, body, Location="http://127.0.0.1:1/") as server:
        async with OutboxHarness(tmp_path, slack_options(server)) as outbox:
            parked = await outbox.run()
            assert (parked.state, parked.attempts) == (DeliveryState.PARKED, 1)
            assert says in (parked.last_error or "")
            assert "somebody said" not in (parked.last_error or "")
            await outbox.later()
            assert len(server.requests) == 1
            await outbox.workflows.retry(parked.id)
            await outbox.deliver_all()
            assert (await outbox.deliveries.get(parked.id)).state is DeliveryState.DONE


async def test_a_delivery_that_fails_too_often_is_parked_and_can_be_retried(tmp_path: Path) -> None:
    with TargetServer(slack) as server:
        for _ in range(10):
            server.fail_with(503)
        async with OutboxHarness(tmp_path, slack_options(server)) as outbox:
            first = await outbox.run()
            for _ in range(12):
                await outbox.later()
            parked = await outbox.deliveries.get(first.id)
            assert (parked.state, parked.attempts) == (DeliveryState.PARKED, 10)
            assert [one.id for one in await outbox.workflows.recent([DeliveryState.PARKED])] == [first.id]
            await outbox.workflows.retry(first.id, first.meeting_id)
            await outbox.deliver_all()
            assert (await outbox.deliveries.get(first.id)).state is DeliveryState.DONE


async def test_an_unreachable_target_is_retried(tmp_path: Path) -> None:
    with TargetServer(slack) as gone:
        pass
    async with OutboxHarness(tmp_path, slack_options(gone)) as outbox:
        waiting = await outbox.run()
        assert (waiting.state, waiting.is_uncertain) == (DeliveryState.PENDING, False)
        assert "cannot be reached" in (waiting.last_error or "")


async def test_failures_are_logged_with_the_documented_message_and_without_secrets(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with TargetServer(slack).fail_with(500) as server:
        async with OutboxHarness(tmp_path, slack_options(server)) as outbox:
            await outbox.run()
    assert "Slack notification failed." in caplog.messages
    shown = " ".join(
        f"{record.getMessage()} {record.__dict__.get('meeting_fields')}"
        for record in caplog.records
        if record.name.startswith("meeting_assistant")
    )
    assert "secret" not in shown
    assert "release notes" not in shown


TRACKERS: dict[str, Callable[[], GitHub | Jira | Linear]] = {
    "github": GitHub,
    "jira cloud": partial(Jira, is_cloud=True),
    "jira server": partial(Jira, is_cloud=False),
    "linear": Linear,
}


def tracker_options(kind: str, server: TargetServer) -> dict[str, dict[str, str]]:
    jira = {"url": server.url, "project": "OPS", "token": "jira-token"}
    return {
        "github": github_options(server),
        "jira cloud": {"jira": {**jira, "email": "ops@example.org", "flavour": "cloud"}},
        "jira server": {"jira": jira},
        "linear": {"linear": {"api_key": "linear-key", "team": "ENG", "api_url": server.url}},
    }[kind]


@pytest.mark.parametrize("fault", ["lost answer", "killed"])
@pytest.mark.parametrize("kind", TRACKERS)
async def test_a_ticket_with_a_lost_answer_is_found_and_not_created_twice(
    tmp_path: Path, kind: str, fault: str
) -> None:
    wire = TRACKERS[kind]()
    with TargetServer(wire) as server:
        options = tracker_options(kind, server)
        async with OutboxHarness(tmp_path, options) as outbox:
            one_item = MINUTES.model_copy(update={"action_items": MINUTES.action_items[:1]})
            meeting_id = await outbox.meeting(MeetingFixture(LINES, minutes=one_item))
            if fault == "lost answer":
                if kind == "linear":
                    server.do_as_asked()  # which team it is comes first
                server.lose_the_answer()
                await outbox.deliver_all()
            else:
                taken = await outbox.deliveries.take_due(outbox.now_ms, 1000)
                assert taken is not None
                await outbox.integrations[taken.integration].deliver(
                    taken
                )  # and the process dies before it says so
                await outbox.expire_leases()
            assert len(wire.issues) == 1
            (waiting,) = await outbox.of(meeting_id)
            assert (waiting.state, waiting.is_uncertain) == (DeliveryState.PENDING, True)
            await outbox.later()
            (done,) = await outbox.of(meeting_id)
            assert done.state is DeliveryState.DONE
            assert done.receipt is not None
            assert done.receipt.reference in {"acme/plans#1", "OPS-1", "ENG-1"}
            assert len(wire.issues) == 1


async def test_a_message_that_may_have_arrived_is_sent_once_more_and_then_parked(
    tmp_path: Path,
) -> None:
    with TargetServer(slack).lose_the_answer().lose_the_answer() as server:
        async with OutboxHarness(tmp_path, slack_options(server)) as outbox:
            first = await outbox.run()
            assert (first.state, first.is_uncertain) == (DeliveryState.PENDING, True)
            await outbox.later()
            parked = await outbox.deliveries.get(first.id)
            assert parked.state is DeliveryState.PARKED
            assert "It may have arrived" in (parked.last_error or "")
            await outbox.later()
            assert len(server.requests) == 2


async def test_a_delivery_with_an_expired_lease_is_taken_by_another_process(tmp_path: Path) -> None:
    with TargetServer(slack) as server:
        async with OutboxHarness(tmp_path, slack_options(server)) as outbox:
            meeting_id = await outbox.meeting()
            assert await outbox.deliveries.take_due(outbox.now_ms, 60_000) is not None
            await outbox.later(seconds=59)
            assert server.requests == []
            await outbox.later(seconds=2)
            (done,) = await outbox.of(meeting_id)
            assert (done.state, done.attempts) == (DeliveryState.DONE, 2)
