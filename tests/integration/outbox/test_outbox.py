"""The outbox: planning, approval, and deletion with the meeting."""

from __future__ import annotations

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
from meeting_assistant.testing.doubles.targets import GitHub, TargetServer, mattermost, slack
from meeting_assistant.testing.harness.meetings import MeetingFixture
from meeting_assistant.testing.harness.outbox import OutboxHarness, github_options, slack_options


async def test_planning_again_adds_nothing(tmp_path: Path) -> None:
    with TargetServer(slack) as server:
        async with OutboxHarness(tmp_path, slack_options(server)) as outbox:
            meeting_id = await outbox.meeting()
            await outbox.deliver_all()
            assert await outbox.workflows.run_again(meeting_id) == []
            await outbox.workflows.handle(InferenceJob(kind=JobKind.WORKFLOWS, meeting_id=meeting_id))
            await outbox.later()
            assert len(server.requests) == 1


async def test_a_meeting_can_choose_its_delivery_targets(tmp_path: Path) -> None:
    with TargetServer(slack) as one, TargetServer(mattermost) as other:
        both = {**slack_options(one), "mattermost": {"webhook_url": other.url}}
        async with OutboxHarness(tmp_path, both) as outbox:
            meeting_id = await outbox.meeting(workflows=["mattermost"])
            assert {delivery.integration for delivery in await outbox.of(meeting_id)} == {"mattermost"}
            await outbox.workflows.choose(meeting_id, None)
            (added,) = await outbox.workflows.run_again(meeting_id)
            assert added.integration == "slack"
            with pytest.raises(InputError, match="no integration called pigeon"):
                await outbox.workflows.choose(meeting_id, ["pigeon"])


async def test_deliveries_of_a_local_only_meeting_to_other_machines_need_approval(tmp_path: Path) -> None:
    log = tmp_path / "audit.jsonl"
    with TargetServer(slack) as server:
        async with OutboxHarness(tmp_path, {**slack_options(server), "log": {"path": str(log)}}) as outbox:
            meeting_id = await outbox.meeting(local_only=True)
            await outbox.later()
            states = {delivery.integration: delivery.state for delivery in await outbox.of(meeting_id)}
            assert states == {"slack": DeliveryState.PROPOSED, "log": DeliveryState.DONE}
            assert server.requests == []


async def test_a_meeting_without_content_plans_no_deliveries(tmp_path: Path) -> None:
    with TargetServer(slack) as server:
        async with OutboxHarness(tmp_path, slack_options(server)) as outbox:
            meeting_id = await outbox.meeting(MeetingFixture([("S2", "Mm.")]))
            assert await outbox.of(meeting_id) == []


class Broken:
    """A third-party integration that cannot plan."""

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


async def test_a_failure_to_plan_affects_no_other_integration_and_is_reported(tmp_path: Path) -> None:
    with TargetServer(slack) as server:
        options = {"broken": Broken(), **OutboxHarness(tmp_path, slack_options(server)).integrations}
        async with OutboxHarness(tmp_path, options) as outbox:
            meeting_id = await outbox.meeting()
            await outbox.deliver_all()
            assert len(server.requests) == 1
            (error,) = (await outbox.store.get(meeting_id)).errors
            assert (error.stage, error.code) == ("workflows", "integration_failed")
            assert error.message.startswith("broken could not plan")


async def test_tickets_wait_for_approval_and_use_the_minutes_of_that_moment(tmp_path: Path) -> None:
    repository = GitHub()
    with TargetServer(repository) as server:
        async with OutboxHarness(tmp_path, github_options(server), approved=[]) as outbox:
            meeting_id = await outbox.meeting()
            first, second = await outbox.of(meeting_id)
            await outbox.later()
            assert repository.issues == []
            editor = MinutesEditor(
                outbox.store,
                Channels(outbox.store),
                MinutesService(EmbeddedWriter()),
                Orchestrator(1),
            )
            await editor.change(meeting_id, 1, "a1", ItemChange(text="Send the notes to everybody."))
            assert (await outbox.of(meeting_id))[0].action.title.startswith("Send the notes to everybody.")
            await outbox.workflows.approve(meeting_id, first.id)
            await outbox.workflows.dismiss(meeting_id, second.id)
            await outbox.later()
            (issue,) = repository.issues
            assert issue["title"] == "Send the notes to everybody."
            made, dismissed = await outbox.of(meeting_id)
            assert (made.state, dismissed.state) == (DeliveryState.DONE, DeliveryState.DISMISSED)
            assert made.receipt == Receipt(reference="acme/plans#1", url=issue["html_url"])
            with pytest.raises(ConflictError):
                await outbox.workflows.approve(meeting_id, first.id)


async def test_an_action_whose_item_was_removed_cannot_be_approved(tmp_path: Path) -> None:
    with TargetServer(GitHub()) as server:
        async with OutboxHarness(tmp_path, github_options(server), approved=[]) as outbox:
            meeting_id = await outbox.meeting()
            first, _ = await outbox.of(meeting_id)
            await outbox.store.change_minutes(
                meeting_id, 1, lambda m: m.model_copy(update={"action_items": []})
            )
            with pytest.raises(ConflictError, match="do not hold this any more"):
                await outbox.workflows.approve(meeting_id, first.id)
            with pytest.raises(NotFoundError):
                await outbox.workflows.approve(meeting_id, "nothing")


async def test_a_dry_run_shows_the_planned_requests_and_sends_nothing(tmp_path: Path) -> None:
    repository = GitHub()
    with TargetServer(repository) as server:
        async with OutboxHarness(tmp_path, github_options(server)) as outbox:
            meeting_id = await outbox.meeting()
            shown = await outbox.workflows.preview(meeting_id)
            assert [known.state if known else None for _, known in shown] == [DeliveryState.PENDING] * 2
            assert server.requests == []
            await outbox.deliver_all()
            sent = [request.body for request in server.requests]
            assert sent == [planned.action.payload for planned, _ in shown]


async def test_redacted_and_deleted_content_is_removed_from_the_outbox(tmp_path: Path) -> None:
    with TargetServer(GitHub()) as server:
        async with OutboxHarness(tmp_path, github_options(server), approved=[]) as outbox:
            meeting_id = await outbox.meeting()
            first, _ = await outbox.of(meeting_id)
            await outbox.workflows.approve(meeting_id, first.id)
            await outbox.deliver_all()
            await outbox.store.redact(meeting_id, [], [], [2])
            (left,) = await outbox.deliveries.of_meeting(meeting_id)
            assert left.state is DeliveryState.DONE
            assert "release notes" not in left.model_dump_json()
            assert left.receipt == Receipt(
                reference="acme/plans#1", url="https://github.example/acme/plans/issues/1"
            )
            await outbox.store.delete(meeting_id)
            with pytest.raises(NotFoundError):
                await outbox.deliveries.get(left.id)
