"""What the outbox promises, on every database."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import uuid_utils

from meeting_assistant.adapters.storage.sql.database import Database
from meeting_assistant.adapters.storage.sql.deliveries import SqlDeliveryStore
from meeting_assistant.adapters.storage.sql.meeting_store import SqlMeetingStore
from meeting_assistant.domain.errors import NotFoundError
from meeting_assistant.domain.meeting import Meeting, MeetingState
from meeting_assistant.domain.ports import DeliveryStore, MeetingStore
from meeting_assistant.domain.steps import WORKFLOWS
from meeting_assistant.domain.workflows import Action, Delivery, DeliveryState, delivery_id

NOW, LEASE = 1000, 500
NOWHERE = "01890000-0000-7000-8000-000000000000"


class Outbox:
    """An outbox, and the meetings that it belongs to."""

    def __init__(self, url: str) -> None:
        database = Database(url)
        self.meetings: MeetingStore = SqlMeetingStore(database)
        self.store: DeliveryStore = SqlDeliveryStore(database)

    async def meeting(self, owner: str = "ana") -> str:
        meeting = Meeting(
            id=str(uuid_utils.uuid7()),
            title="",
            state=MeetingState.RECORDING,
            source="live",
            created_at_ms=0,
            owner=owner,
        )
        await self.meetings.create(meeting)
        await self.meetings.begin_step(meeting.id, WORKFLOWS)
        return meeting.id

    async def plan(self, meeting_id: str, *keys: str, due_ms: int = 0) -> list[Delivery]:
        """Plan one pending delivery for each key."""
        pending = [delivery(meeting_id, key, next_at_ms=due_ms) for key in keys]
        return await self.store.plan(meeting_id, pending, WORKFLOWS)

    async def take(self, now_ms: int = NOW) -> Delivery:
        taken = await self.store.take_due(now_ms, LEASE)
        assert taken is not None
        return taken


def delivery(meeting_id: str, key: str, **more: object) -> Delivery:
    values: dict[str, object] = {
        "id": delivery_id(meeting_id, "slack", key),
        "meeting_id": meeting_id,
        "integration": "slack",
        "action": Action(key=key, title=key, payload={"text": key}),
        "state": DeliveryState.PENDING,
        **more,
    }
    return Delivery.model_validate(values)


def done(taken: Delivery, at_ms: int = NOW) -> Delivery:
    return taken.model_copy(update={"state": DeliveryState.DONE, "done_at_ms": at_ms})


@pytest.fixture
async def outbox(database_url: str) -> AsyncIterator[Outbox]:
    outbox = Outbox(database_url)
    await outbox.meetings.open()
    yield outbox
    await outbox.meetings.close()


# --- planning


async def test_planning_stores_deliveries_in_order_and_ends_the_step(outbox: Outbox) -> None:
    meeting_id = await outbox.meeting()
    added = await outbox.plan(meeting_id, "b", "a")
    assert [one.action.key for one in added] == ["b", "a"]
    assert await outbox.store.of_meeting(meeting_id) == added
    assert await outbox.store.get(added[0].id) == added[0]
    assert await outbox.meetings.incomplete_steps(WORKFLOWS) == []


async def test_planning_again_adds_only_what_is_new(outbox: Outbox) -> None:
    meeting_id = await outbox.meeting()
    await outbox.plan(meeting_id, "a")
    taken = await outbox.take()
    (added,) = await outbox.plan(meeting_id, "a", "b")
    assert added.action.key == "b"
    assert (await outbox.store.get(taken.id)).state is DeliveryState.SENDING


async def test_only_a_proposal_adopts_the_new_action(outbox: Outbox) -> None:
    meeting_id = await outbox.meeting()
    proposal = delivery(meeting_id, "a", state=DeliveryState.PROPOSED)
    pending = delivery(meeting_id, "b")
    await outbox.store.plan(meeting_id, [proposal, pending], WORKFLOWS)
    reworded = [
        one.model_copy(update={"action": one.action.model_copy(update={"title": "reworded"})})
        for one in (proposal, pending)
    ]
    assert await outbox.store.plan(meeting_id, reworded, WORKFLOWS) == []
    assert [one.action.title for one in await outbox.store.of_meeting(meeting_id)] == ["reworded", "b"]


async def test_integrations_that_the_meeting_does_not_choose_are_left_out(outbox: Outbox) -> None:
    meeting_id = await outbox.meeting()
    await outbox.meetings.set_workflows(meeting_id, ["jira"])
    assert await outbox.plan(meeting_id, "a") == []
    assert await outbox.meetings.incomplete_steps(WORKFLOWS) == []


async def test_an_unknown_delivery_is_not_found(outbox: Outbox) -> None:
    with pytest.raises(NotFoundError):
        await outbox.plan(NOWHERE, "a")
    with pytest.raises(NotFoundError):
        await outbox.store.of_meeting(NOWHERE)
    with pytest.raises(NotFoundError):
        await outbox.store.get(NOWHERE)


async def test_deliveries_are_deleted_with_their_meeting(outbox: Outbox) -> None:
    meeting_id = await outbox.meeting()
    (planned,) = await outbox.plan(meeting_id, "a")
    await outbox.meetings.delete(meeting_id)
    with pytest.raises(NotFoundError):
        await outbox.store.get(planned.id)
    assert await outbox.store.update(done(planned)) is False


# --- taking what is due


async def test_the_longest_due_delivery_is_taken_first_and_by_one_process(outbox: Outbox) -> None:
    meeting_id = await outbox.meeting()
    await outbox.plan(meeting_id, "later", due_ms=20)
    await outbox.plan(meeting_id, "sooner", due_ms=10)
    await outbox.plan(meeting_id, "not yet", due_ms=NOW + 1)
    assert await outbox.store.next_due_ms() == 10
    first, second = await outbox.take(), await outbox.take()
    assert [first.action.key, second.action.key] == ["sooner", "later"]
    assert (first.state, first.attempts, first.is_uncertain) == (DeliveryState.SENDING, 1, False)
    assert await outbox.store.take_due(NOW, LEASE) is None
    assert await outbox.store.next_due_ms() == NOW + 1


async def test_nothing_is_taken_for_a_busy_integration(outbox: Outbox) -> None:
    await outbox.plan(await outbox.meeting(), "a")
    assert await outbox.store.take_due(NOW, LEASE, busy=["slack"]) is None
    assert await outbox.store.take_due(NOW, LEASE, busy=["jira"]) is not None


async def test_an_attempt_with_an_expired_lease_is_due_and_uncertain(outbox: Outbox) -> None:
    await outbox.plan(await outbox.meeting(), "a")
    await outbox.take()
    assert await outbox.store.take_due(NOW + LEASE - 1, LEASE) is None
    assert await outbox.store.next_due_ms() == NOW + LEASE
    again = await outbox.take(NOW + LEASE)
    assert (again.attempts, again.is_uncertain) == (2, True)


async def test_leases_of_an_ended_process_return_to_the_queue(outbox: Outbox) -> None:
    await outbox.plan(await outbox.meeting(), "taken", "waiting", due_ms=1)
    taken = await outbox.take()
    assert await outbox.store.end_leases(NOW, {"slack": 60}) == 1
    returned = await outbox.store.get(taken.id)
    assert (returned.state, returned.is_uncertain) == (DeliveryState.PENDING, True)
    assert returned.next_at_ms == NOW + 60
    assert await outbox.store.end_leases(NOW, {}) == 0


# --- results


async def test_a_result_ends_the_lease(outbox: Outbox) -> None:
    await outbox.plan(await outbox.meeting(), "a")
    taken = await outbox.take()
    assert await outbox.store.update(done(taken)) is True
    assert await outbox.store.get(taken.id) == done(taken)
    assert await outbox.store.take_due(NOW + LEASE, LEASE) is None
    assert await outbox.store.next_due_ms() is None


async def test_a_result_does_not_overwrite_a_decision_made_meanwhile(outbox: Outbox) -> None:
    await outbox.plan(await outbox.meeting(), "a")
    taken = await outbox.take()
    dismissed = taken.model_copy(update={"state": DeliveryState.DISMISSED})
    await outbox.store.update(dismissed)
    assert await outbox.store.update(done(taken), unless=[DeliveryState.DISMISSED]) is False
    assert await outbox.store.get(taken.id) == dismissed


async def test_a_delivery_that_its_meeting_no_longer_chooses_becomes_a_proposal(outbox: Outbox) -> None:
    meeting_id = await outbox.meeting()
    await outbox.plan(meeting_id, "a")
    taken = await outbox.take()
    await outbox.meetings.set_workflows(meeting_id, [])
    await outbox.store.update(taken.model_copy(update={"state": DeliveryState.PENDING}))
    assert (await outbox.store.get(taken.id)).state is DeliveryState.PROPOSED


async def test_results_wait_for_the_audit_log_in_order(outbox: Outbox) -> None:
    await outbox.plan(await outbox.meeting(), "a", "b", "c")
    for at_ms, needs_note in ((30, True), (20, True), (10, False)):
        await outbox.store.update(done(await outbox.take(), at_ms), needs_note=needs_note)
    first, second = await outbox.store.to_note()
    assert (first.done_at_ms, second.done_at_ms) == (20, 30)
    assert await outbox.store.to_note(limit=1) == [first]
    await outbox.store.noted(first)
    assert await outbox.store.to_note() == [second]


# --- overviews


async def test_deliveries_are_listed_by_state_and_owner_newest_first(outbox: Outbox) -> None:
    (of_ana,) = await outbox.plan(await outbox.meeting("ana"), "a")
    (of_ben,) = await outbox.plan(await outbox.meeting("ben"), "b")
    pending = [DeliveryState.PENDING]
    assert await outbox.store.recent(states=pending) == [of_ben, of_ana]
    assert await outbox.store.recent(states=pending, owner="ana") == [of_ana]
    assert await outbox.store.recent(states=pending, limit=1) == [of_ben]
    assert await outbox.store.recent(states=[DeliveryState.DONE]) == []


async def test_open_deliveries_are_counted_by_state(outbox: Outbox) -> None:
    await outbox.plan(await outbox.meeting(), "a", "b", "c")
    await outbox.store.update(done(await outbox.take()))
    await outbox.take()
    assert await outbox.store.pending() == {
        DeliveryState.PROPOSED: 0,
        DeliveryState.PENDING: 1,
        DeliveryState.SENDING: 1,
        DeliveryState.PARKED: 0,
    }
