"""The outbox: what is planned is delivered once, however often it fails, and nothing goes that nobody wants."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from meeting_assistant.adapters.minutes_rules import EmbeddedWriter
from meeting_assistant.domain.errors import ConflictError, InputError, NotFoundError
from meeting_assistant.domain.jobs import InferenceJob, JobKind
from meeting_assistant.domain.workflows import (
    Action,
    Delivery,
    DeliveryState,
    Description,
    MeetingOutcome,
    Receipt,
)
from meeting_assistant.services.events.meeting_channel import Channels
from meeting_assistant.services.jobs.orchestrator import Orchestrator
from meeting_assistant.services.minutes.editor import ItemChange, MinutesEditor
from meeting_assistant.services.minutes.minutes_service import MinutesService
from meeting_assistant.testing.doubles.targets import GitHub, Jira, Linear, TargetServer, mattermost, slack
from meeting_assistant.testing.harness.meetings import MeetingFixture
from meeting_assistant.testing.harness.outbox import LINES, MINUTES, OutboxHarness

GITHUB = {"repository": "acme/plans", "token": "github-token", "assignees": "Ben=ben-on-github"}


def github(server: TargetServer) -> dict[str, dict[str, str]]:
    return {"github": {**GITHUB, "api_url": server.url}}


def to_slack(server: TargetServer) -> dict[str, dict[str, str]]:
    return {"slack": {"webhook_url": f"{server.url}/services/T/B/secret"}}


# --- planning ---------------------------------------------------------------------------------------------


async def test_planning_again_adds_nothing(tmp_path: Path) -> None:
    with TargetServer(slack) as server:
        async with OutboxHarness(tmp_path, to_slack(server)) as after:
            meeting_id = await after.meeting()
            await after.deliver_all()
            assert await after.workflows.run_again(meeting_id) == []
            await after.workflows.handle(InferenceJob(kind=JobKind.WORKFLOWS, meeting_id=meeting_id))
            await after.later()
            assert len(server.requests) == 1


async def test_a_meeting_may_choose_who_hears_of_it(tmp_path: Path) -> None:
    with TargetServer(slack) as one, TargetServer(mattermost) as other:
        both = {**to_slack(one), "mattermost": {"webhook_url": other.url}}
        async with OutboxHarness(tmp_path, both) as after:
            meeting_id = await after.meeting(workflows=["mattermost"])
            assert {delivery.integration for delivery in await after.of(meeting_id)} == {"mattermost"}
            await after.workflows.choose(meeting_id, None)
            (added,) = await after.workflows.run_again(meeting_id)
            assert added.integration == "slack"
            with pytest.raises(InputError, match="no integration called pigeon"):
                await after.workflows.choose(meeting_id, ["pigeon"])


async def test_a_local_only_meeting_leaves_the_house_only_by_a_click(tmp_path: Path) -> None:
    log = tmp_path / "audit.jsonl"
    with TargetServer(slack) as server:
        async with OutboxHarness(tmp_path, {**to_slack(server), "log": {"path": str(log)}}) as after:
            meeting_id = await after.meeting(local_only=True)
            await after.later()
            states = {delivery.integration: delivery.state for delivery in await after.of(meeting_id)}
            assert states == {"slack": DeliveryState.PROPOSED, "log": DeliveryState.DONE}
            assert server.requests == []


async def test_nobody_hears_of_a_meeting_in_which_nothing_was_said(tmp_path: Path) -> None:
    with TargetServer(slack) as server:
        async with OutboxHarness(tmp_path, to_slack(server)) as after:
            meeting_id = await after.meeting(MeetingFixture([("S2", "Mm.")]))
            assert await after.of(meeting_id) == []


class Broken:
    """An integration of somebody else, with a mistake in it."""

    name = "broken"

    def describe(self) -> Description:
        return Description("Broken", "nowhere")

    def plan(self, outcome: MeetingOutcome) -> list[Action]:
        raise KeyError("oops")

    async def deliver(self, delivery: Delivery) -> Receipt:
        raise AssertionError

    async def test(self) -> str:
        return ""

    async def close(self) -> None:
        pass


async def test_an_integration_that_cannot_plan_stops_no_other_and_is_named(tmp_path: Path) -> None:
    with TargetServer(slack) as server:
        options = {"broken": Broken(), **OutboxHarness(tmp_path, to_slack(server)).integrations}
        async with OutboxHarness(tmp_path, options) as after:
            meeting_id = await after.meeting()
            await after.deliver_all()
            assert len(server.requests) == 1
            (error,) = (await after.store.get(meeting_id)).errors
            assert (error.stage, error.code) == ("workflows", "integration_failed")
            assert error.message.startswith("broken could not plan")


# --- approval ---------------------------------------------------------------------------------------------


async def test_tickets_wait_for_a_click_and_are_made_with_the_words_of_that_moment(tmp_path: Path) -> None:
    repository = GitHub()
    with TargetServer(repository) as server:
        async with OutboxHarness(tmp_path, github(server), approved=[]) as after:
            meeting_id = await after.meeting()
            first, second = await after.of(meeting_id)
            await after.later()
            assert repository.issues == []
            editor = MinutesEditor(
                after.store,
                Channels(after.store),
                MinutesService(EmbeddedWriter()),
                Orchestrator(1),
            )
            await editor.change(meeting_id, 1, "a1", ItemChange(text="Send the notes to everybody."))
            assert (await after.of(meeting_id))[0].action.title.startswith("Send the notes to everybody.")
            await after.workflows.approve(meeting_id, first.id)
            await after.workflows.dismiss(meeting_id, second.id)
            await after.later()
            (issue,) = repository.issues
            assert issue["title"] == "Send the notes to everybody."
            made, dismissed = await after.of(meeting_id)
            assert (made.state, dismissed.state) == (DeliveryState.DONE, DeliveryState.DISMISSED)
            assert made.receipt == Receipt(reference="acme/plans#1", url=issue["html_url"])
            with pytest.raises(ConflictError):
                await after.workflows.approve(meeting_id, first.id)


async def test_what_the_minutes_no_longer_hold_cannot_be_approved(tmp_path: Path) -> None:
    with TargetServer(GitHub()) as server:
        async with OutboxHarness(tmp_path, github(server), approved=[]) as after:
            meeting_id = await after.meeting()
            first, _ = await after.of(meeting_id)
            await after.store.change_minutes(
                meeting_id, 1, lambda m: m.model_copy(update={"action_items": []})
            )
            with pytest.raises(ConflictError, match="do not hold this any more"):
                await after.workflows.approve(meeting_id, first.id)
            with pytest.raises(NotFoundError):
                await after.workflows.approve(meeting_id, "nothing")


async def test_a_dry_run_shows_what_would_be_sent_and_sends_nothing(tmp_path: Path) -> None:
    repository = GitHub()
    with TargetServer(repository) as server:
        async with OutboxHarness(tmp_path, github(server)) as after:
            meeting_id = await after.meeting()
            shown = await after.workflows.preview(meeting_id)
            assert [known.state if known else None for _, known in shown] == [DeliveryState.PENDING] * 2
            assert server.requests == []
            await after.deliver_all()
            sent = [request.body for request in server.requests]
            assert sent == [planned.action.payload for planned, _ in shown]


# --- failures ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503])
async def test_a_failure_that_may_pass_is_tried_again_later(tmp_path: Path, status: int) -> None:
    with TargetServer(slack).fail_with(status) as server:
        async with OutboxHarness(tmp_path, to_slack(server)) as after:
            waiting = await after.run()
            assert (waiting.state, waiting.attempts) == (DeliveryState.PENDING, 1)
            assert waiting.last_error is not None
            assert f"HTTP {status}" in waiting.last_error
            assert waiting.next_at_ms > after.now_ms
            await after.later(seconds=60)
            (done,) = await after.of(waiting.meeting_id)
            assert (done.state, done.attempts, done.last_error) == (DeliveryState.DONE, 2, None)


async def test_a_target_says_how_long_to_wait(tmp_path: Path) -> None:
    with TargetServer(slack).fail_with(429, Retry_After="3600") as server:
        async with OutboxHarness(tmp_path, to_slack(server)) as after:
            waiting = await after.run()
            assert waiting.next_at_ms >= after.now_ms + 3_600_000
            await after.later(seconds=3500)
            assert len(server.requests) == 1
            await after.later(seconds=200)
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
async def test_a_failure_that_stays_is_parked_at_once_with_the_reason(
    tmp_path: Path, status: int, body: str, says: str
) -> None:
    with TargetServer(slack).fail_with(status, body, Location="http://127.0.0.1:1/") as server:
        async with OutboxHarness(tmp_path, to_slack(server)) as after:
            parked = await after.run()
            assert (parked.state, parked.attempts) == (DeliveryState.PARKED, 1)
            assert says in (parked.last_error or "")
            assert "somebody said" not in (parked.last_error or "")
            await after.later()
            assert len(server.requests) == 1
            await after.workflows.retry(parked.id)
            await after.deliver_all()
            assert (await after.deliveries.get(parked.id)).state is DeliveryState.DONE


async def test_what_fails_too_often_is_parked_and_somebody_may_try_again(tmp_path: Path) -> None:
    with TargetServer(slack) as server:
        for _ in range(10):
            server.fail_with(503)
        async with OutboxHarness(tmp_path, to_slack(server)) as after:
            first = await after.run()
            for _ in range(12):
                await after.later()
            parked = await after.deliveries.get(first.id)
            assert (parked.state, parked.attempts) == (DeliveryState.PARKED, 10)
            assert [one.id for one in await after.workflows.recent([DeliveryState.PARKED])] == [first.id]
            await after.workflows.retry(first.id, first.meeting_id)
            await after.deliver_all()
            assert (await after.deliveries.get(first.id)).state is DeliveryState.DONE


async def test_a_target_that_cannot_be_reached_is_tried_again(tmp_path: Path) -> None:
    with TargetServer(slack) as gone:
        pass
    async with OutboxHarness(tmp_path, to_slack(gone)) as after:
        waiting = await after.run()
        assert (waiting.state, waiting.is_uncertain) == (DeliveryState.PENDING, False)
        assert "cannot be reached" in (waiting.last_error or "")


async def test_operators_find_the_words_that_they_search_for_and_no_secret(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with TargetServer(slack).fail_with(500) as server:
        async with OutboxHarness(tmp_path, to_slack(server)) as after:
            await after.run()
    assert "Slack notification failed." in caplog.messages
    shown = " ".join(
        f"{record.getMessage()} {record.__dict__.get('meeting_fields')}"
        for record in caplog.records
        if record.name.startswith("meeting_assistant")
    )
    assert "secret" not in shown
    assert "release notes" not in shown


# --- never twice ------------------------------------------------------------------------------------------


async def _cut_short(after: OutboxHarness, meeting_id: str) -> None:
    """As after kill -9: what was being delivered is left as it stands in the outbox, and a new process begins."""
    await after.deliveries.end_leases(
        after.now_ms,
        {name: int(one.describe().dedup_delay_s * 1000) for name, one in after.integrations.items()},
    )


TRACKERS: dict[str, Callable[[], GitHub | Jira | Linear]] = {
    "github": GitHub,
    "jira cloud": partial(Jira, is_cloud=True),
    "jira server": partial(Jira, is_cloud=False),
    "linear": Linear,
}


def tracker_options(kind: str, server: TargetServer) -> dict[str, dict[str, str]]:
    jira = {"url": server.url, "project": "OPS", "token": "jira-token"}
    return {
        "github": github(server),
        "jira cloud": {"jira": {**jira, "email": "ops@example.org", "flavour": "cloud"}},
        "jira server": {"jira": jira},
        "linear": {"linear": {"api_key": "linear-key", "team": "ENG", "api_url": server.url}},
    }[kind]


@pytest.mark.parametrize("fault", ["lost answer", "killed"])
@pytest.mark.parametrize("kind", TRACKERS)
async def test_a_ticket_whose_answer_was_lost_is_found_and_not_made_twice(
    tmp_path: Path, kind: str, fault: str
) -> None:
    wire = TRACKERS[kind]()
    with TargetServer(wire) as server:
        options = tracker_options(kind, server)
        async with OutboxHarness(tmp_path, options) as after:
            one_item = MINUTES.model_copy(update={"action_items": MINUTES.action_items[:1]})
            meeting_id = await after.meeting(MeetingFixture(LINES, minutes=one_item))
            if fault == "lost answer":
                if kind == "linear":
                    server.do_as_asked()  # which team it is comes first
                server.lose_the_answer()
                await after.deliver_all()
            else:
                taken = await after.deliveries.take_due(after.now_ms, 1000)
                assert taken is not None
                await after.integrations[taken.integration].deliver(
                    taken
                )  # and the process dies before it says so
                await _cut_short(after, meeting_id)
            assert len(wire.issues) == 1
            (waiting,) = await after.of(meeting_id)
            assert (waiting.state, waiting.is_uncertain) == (DeliveryState.PENDING, True)
            await after.later()
            (done,) = await after.of(meeting_id)
            assert done.state is DeliveryState.DONE
            assert done.receipt is not None
            assert done.receipt.reference in {"acme/plans#1", "OPS-1", "ENG-1"}
            assert len(wire.issues) == 1


async def test_a_message_that_may_have_arrived_is_sent_once_more_and_then_left_to_people(
    tmp_path: Path,
) -> None:
    with TargetServer(slack).lose_the_answer().lose_the_answer() as server:
        async with OutboxHarness(tmp_path, to_slack(server)) as after:
            first = await after.run()
            assert (first.state, first.is_uncertain) == (DeliveryState.PENDING, True)
            await after.later()
            parked = await after.deliveries.get(first.id)
            assert parked.state is DeliveryState.PARKED
            assert "It may have arrived" in (parked.last_error or "")
            await after.later()
            assert len(server.requests) == 2


async def test_a_lease_that_runs_out_is_taken_up_by_another_process(tmp_path: Path) -> None:
    with TargetServer(slack) as server:
        async with OutboxHarness(tmp_path, to_slack(server)) as after:
            meeting_id = await after.meeting()
            assert await after.deliveries.take_due(after.now_ms, 60_000) is not None
            await after.later(seconds=59)
            assert server.requests == []
            await after.later(seconds=2)
            (done,) = await after.of(meeting_id)
            assert (done.state, done.attempts) == (DeliveryState.DONE, 2)


# --- forgetting -------------------------------------------------------------------------------------------


async def test_what_is_taken_off_the_record_or_deleted_is_not_in_the_outbox_either(tmp_path: Path) -> None:
    with TargetServer(GitHub()) as server:
        async with OutboxHarness(tmp_path, github(server), approved=[]) as after:
            meeting_id = await after.meeting()
            first, _ = await after.of(meeting_id)
            await after.workflows.approve(meeting_id, first.id)
            await after.deliver_all()
            await after.store.redact(meeting_id, [], [], [2])
            (left,) = await after.deliveries.of_meeting(meeting_id)
            assert left.state is DeliveryState.DONE
            assert "release notes" not in left.model_dump_json()
            assert left.receipt == Receipt(
                reference="acme/plans#1", url="https://github.example/acme/plans/issues/1"
            )
            await after.store.delete(meeting_id)
            with pytest.raises(NotFoundError):
                await after.deliveries.get(left.id)


# --- audit ------------------------------------------------------------------------------------------------


async def test_the_audit_log_tells_of_meetings_and_deliveries_and_of_no_words(tmp_path: Path) -> None:
    log = tmp_path / "audit.jsonl"
    with TargetServer(GitHub()) as server:
        async with OutboxHarness(tmp_path, {**github(server), "log": {"path": str(log)}}) as after:
            meeting_id = await after.meeting()
            await after.deliver_all()
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert sorted(line["type"] for line in lines) == ["delivery", "delivery", "meeting"]
    assert {line["meeting"] for line in lines} == {meeting_id}
    meeting = next(line for line in lines if line["type"] == "meeting")
    assert meeting["items"]["action_items"] == 2
    assert {line["reference"] for line in lines if line["type"] == "delivery"} == {
        "acme/plans#1",
        "acme/plans#2",
    }
    assert not any(words in log.read_text() for words in ("release", "search", "Ben"))


async def test_a_torn_line_costs_no_other_and_a_second_attempt_writes_none(tmp_path: Path) -> None:
    log = tmp_path / "audit.jsonl"
    log.write_text('{"id": "torn')
    async with OutboxHarness(tmp_path, {"log": {"path": str(log)}}) as after:
        meeting_id = await after.meeting()
        taken = await after.deliveries.take_due(after.now_ms, 1000)
        assert taken is not None
        await after.integrations["log"].deliver(taken)
        await _cut_short(after, meeting_id)
        await after.later()
        torn, line = log.read_text().splitlines()
        assert torn == '{"id": "torn'
        assert json.loads(line)["meeting"] == meeting_id
        assert (await after.of(meeting_id))[0].state is DeliveryState.DONE


async def test_a_rotated_log_is_followed_and_a_missing_folder_is_told(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "audit.jsonl"
    async with OutboxHarness(tmp_path, {"log": {"path": str(log)}}) as after:
        waiting = await after.run()
        assert waiting.state is DeliveryState.PENDING
        assert "MEETING_LOG_PATH" in (waiting.last_error or "")
        log.parent.mkdir()
        await after.later()
        log.rename(log.with_suffix(".1"))
        await after.meeting()
        await after.later()
        assert len(log.read_text().splitlines()) == 1
