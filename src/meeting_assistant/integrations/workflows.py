"""`Workflows` plans what follows from a meeting into the outbox, and lets people see, approve and retry it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from meeting_assistant import observability as obs
from meeting_assistant.domain.errors import ConflictError, InputError, NotFoundError
from meeting_assistant.domain.jobs import InferenceJob
from meeting_assistant.domain.meeting import Meeting, MeetingState, StageError
from meeting_assistant.domain.ports import DeliveryStore, Integration, MeetingRecords, StepLedger
from meeting_assistant.domain.steps import WORKFLOWS
from meeting_assistant.domain.workflows import (
    FORGOTTEN,
    Action,
    Delivery,
    DeliveryState,
    Description,
    MeetingOutcome,
    delivery_id,
)
from meeting_assistant.integrations.delivery.calendar_events import CalendarEntry, entries_of, to_ics
from meeting_assistant.integrations.dispatcher import Dispatcher
from meeting_assistant.integrations.registry import described

logger = logging.getLogger(__name__)

MAX_ATTEMPTS = 5
"""To plan for one meeting; each is counted before it is made."""
MEETINGS_IN_FEED = 200


class ReadOutcome(Protocol):
    """Reads what integrations may know of a meeting."""

    async def __call__(self, meeting_id: str, *, has_markdown: bool = True) -> MeetingOutcome:
        """Return the outcome as stored now; `has_markdown` False leaves out the note, which takes time to write."""
        ...


@dataclass(frozen=True, slots=True)
class Configured:
    """An integration that is configured."""

    name: str
    description: Description
    is_automatic: bool
    """It delivers without approval; else it proposes."""


class MeetingSteps(MeetingRecords, StepLedger, Protocol):
    """Meetings, and the step of their workflows."""


class Workflows:
    """Plans deliveries for the outbox, and takes what people decide about them."""

    def __init__(
        self,
        integrations: Mapping[str, Integration],
        *,
        meetings: MeetingSteps,
        deliveries: DeliveryStore,
        dispatcher: Dispatcher,
        read_outcome: ReadOutcome,
        approved: Collection[str],
        now_ms: Callable[[], int] = lambda: int(time.time() * 1000),
    ) -> None:
        """`approved`: integrations that deliver without approval."""
        self._integrations = integrations
        self._meetings = meetings
        self._deliveries = deliveries
        self._dispatcher = dispatcher
        self._read_outcome = read_outcome
        self._approved = frozenset(approved)
        self._now_ms = now_ms

    # --- the job

    async def handle(self, job: InferenceJob) -> None:
        """Handle one `workflows` job."""
        try:
            attempts = await self._meetings.begin_step(job.meeting_id, WORKFLOWS)
            if attempts > MAX_ATTEMPTS:
                await self._give_up(job.meeting_id)
            elif attempts:
                await run_post_meeting_workflows(await self._meetings.get(job.meeting_id), self)
        except NotFoundError:
            return  # deleted meanwhile
        except asyncio.CancelledError:
            await self._meetings.forget_attempts(
                job.meeting_id, WORKFLOWS
            )  # a clean stop: the next start goes on
            raise

    async def incomplete_steps(self) -> list[str]:
        """Return the meetings whose deliveries are not in the outbox yet."""
        return await self._meetings.incomplete_steps(WORKFLOWS)

    async def _give_up(self, meeting_id: str) -> None:
        failure = StageError(
            stage="workflows",
            code="needs_attention",
            message=f"Planning what follows from this meeting was started {MAX_ATTEMPTS} times and never completed.",
            remedy="Its minutes are stored. See the server's log, then send it from the meeting's page.",
        )
        await self._meetings.add_error(meeting_id, failure)
        await self._meetings.end_step(meeting_id, WORKFLOWS)

    # --- planning

    async def plan(self, meeting: Meeting) -> list[Delivery]:
        """Return what every integration of the meeting would deliver now, whether it is in the outbox or not.

        An integration that fails is left out.
        """
        return (await self.plan_with_failures(meeting))[0]

    async def plan_with_failures(self, meeting: Meeting) -> tuple[list[Delivery], list[StageError]]:
        """Return what `plan` returns, and an error for each integration that failed to plan."""
        outcome = await self._read_outcome(meeting.id)
        before = await self._deliveries.of_meeting(meeting.id)
        planned: list[Delivery] = []
        failures: list[StageError] = []
        for name, integration in self._integrations.items():
            if meeting.workflows is not None and name not in meeting.workflows:
                continue
            try:
                actions = await asyncio.to_thread(integration.plan, outcome)
            except Exception as error:
                logger.exception(
                    "An integration failed to plan its deliveries.",
                    extra=obs.log_fields(meeting=meeting.id, integration=name),
                )
                failures.append(_failed_plan(name, error))
                continue
            known = [one for one in before if one.integration == name]
            is_approved = self._is_auto_approved(meeting, name, described(name, integration), known)
            planned += [self._delivery(meeting, name, action, is_approved=is_approved) for action in actions]
        return planned, failures

    async def enqueue(
        self, meeting: Meeting, planned: Sequence[Delivery], failures: Sequence[StageError]
    ) -> list[Delivery]:
        """Store deliveries in the outbox and failures in the meeting's errors. Returns what is new."""
        await self._meetings.clear_errors(meeting.id, "workflows")
        for failure in failures:
            await self._meetings.add_error(meeting.id, failure)
        added = await self._deliveries.plan(meeting.id, planned, WORKFLOWS)
        self._dispatcher.wake()
        return added

    def _is_auto_approved(
        self, meeting: Meeting, name: str, about: Description, before: Sequence[Delivery]
    ) -> bool:
        """Return True when no person has to approve. `before`: what the outbox holds for this integration."""
        if name not in self._approved or (meeting.local_only and not about.is_local):
            return False  # what must not leave this machine leaves it only by approval of this very delivery
        if not before:
            return True
        # Minutes that were written again may say the same in other words, under another id, as a person can see.
        # Words that were taken off the record are removed from local notes, too, which are found by their name.
        is_forgotten = all(one.action.key == FORGOTTEN for one in before)
        return is_forgotten and about.is_local and about.is_exactly_once

    def _delivery(self, meeting: Meeting, name: str, action: Action, *, is_approved: bool) -> Delivery:
        return Delivery(
            id=delivery_id(meeting.id, name, action.key),
            meeting_id=meeting.id,
            integration=name,
            action=action,
            state=DeliveryState.PENDING if is_approved else DeliveryState.PROPOSED,
            created_at_ms=self._now_ms(),
        )

    # --- what people do

    def configured(self) -> list[Configured]:
        """Return the configured integrations, in the order in which they are shown."""
        return [
            Configured(name, described(name, integration), name in self._approved)
            for name, integration in self._integrations.items()
        ]

    async def of_meeting(self, meeting_id: str) -> list[Delivery]:
        """Return a meeting's deliveries in planned order; proposals are shown as they would be delivered now."""
        replanned = {}
        deliveries = await self._deliveries.of_meeting(meeting_id)
        if any(delivery.state is DeliveryState.PROPOSED for delivery in deliveries):
            replanned = {one.id: one.action for one in await self.plan(await self._meetings.get(meeting_id))}
        return [
            one.model_copy(update={"action": replanned.get(one.id, one.action)})
            if one.state is DeliveryState.PROPOSED
            else one
            for one in deliveries
        ]

    async def preview(self, meeting_id: str) -> list[tuple[Delivery, Delivery | None]]:
        """Return, as a dry run, what would be delivered now, each with what the outbox holds under its id."""
        meeting = await self._require_finished(meeting_id)
        known = {delivery.id: delivery for delivery in await self._deliveries.of_meeting(meeting_id)}
        return [(planned, known.get(planned.id)) for planned in await self.plan(meeting)]

    async def choose(self, meeting_id: str, names: Sequence[str] | None) -> None:
        """Choose the integrations of a meeting; None for all. Raises InputError, NotFoundError."""
        self.check_names(names)
        await self._meetings.set_workflows(meeting_id, names)

    async def keep_local(self, meeting_id: str) -> None:
        """Let the meeting leave the operator's machines only by approval from now on, pending deliveries included.

        Raises NotFoundError.
        """
        inside = [name for name, one in self._integrations.items() if described(name, one).is_local]
        await self._meetings.set_local_only(meeting_id, inside)

    def check_names(self, names: Sequence[str] | None) -> None:
        """Raise InputError for an integration that is not configured."""
        unknown = sorted(set(names or ()) - set(self._integrations))
        if unknown:
            there = ", ".join(self._integrations) or "none"
            raise InputError(
                f"There is no integration called {', '.join(unknown)} on this server.",
                f"Configured: {there}.",
            )

    async def run_again(self, meeting_id: str) -> list[Delivery]:
        """Plan again after the minutes or the choice have changed; return what is new in the outbox."""
        return await run_post_meeting_workflows(await self._require_finished(meeting_id), self)

    async def approve(self, meeting_id: str, wanted: str) -> Delivery:
        """Deliver a proposal, with the words that the minutes have now. Raises NotFoundError, ConflictError."""
        delivery = await self._get_delivery(meeting_id, wanted)
        if delivery.state is not DeliveryState.PROPOSED:
            raise ConflictError("This does not wait for anybody.", "Read its state.")
        return await self._decide(await self._replanned(delivery), DeliveryState.PENDING, delivery.state)

    async def dismiss(self, meeting_id: str, wanted: str) -> Delivery:
        """Dismiss a delivery. Raises NotFoundError, and ConflictError when it is done or on its way."""
        delivery = await self._get_delivery(meeting_id, wanted)
        if delivery.state not in (DeliveryState.PROPOSED, DeliveryState.PARKED, DeliveryState.PENDING):
            raise ConflictError("This is done, decided or on its way.", "Read its state.")
        return await self._decide(delivery, DeliveryState.DISMISSED, delivery.state)

    async def retry(self, wanted: str, meeting_id: str | None = None) -> Delivery:
        """Retry what was parked or dismissed, from the first attempt and with the words that the minutes have now.

        Raises NotFoundError, ConflictError.
        """
        delivery = await self._get_delivery(meeting_id, wanted)
        if delivery.state not in (DeliveryState.PARKED, DeliveryState.DISMISSED):
            raise ConflictError("This was not given up.", "Read its state.")
        return await self._decide(await self._replanned(delivery), DeliveryState.PENDING, delivery.state)

    async def recent(self, states: Collection[DeliveryState], owner: str | None = None) -> list[Delivery]:
        """Return the deliveries of an owner's meetings, or of all meetings; newest first."""
        return await self._deliveries.recent(states=states, owner=owner)

    async def test(self, name: str) -> str:
        """Send a test to an integration and return what it did. Raises NotFoundError, DeliveryError."""
        if name not in self._integrations:
            there = ", ".join(self._integrations) or "none"
            raise NotFoundError(
                f"{name} is not configured.", f"Configured: {there}. See docs/reference/integrations.md."
            )
        return await self._integrations[name].test()

    async def calendar(self, meeting_id: str) -> bytes:
        """Return the calendar entries of a meeting as an iCalendar file."""
        outcome = await self._read_outcome((await self._require_finished(meeting_id)).id, has_markdown=False)
        return await asyncio.to_thread(to_ics, entries_of(outcome), outcome.title)

    async def feed(self, owner: str | None) -> bytes:
        """Return the calendar entries of an owner's newest meetings, or of all meetings, as an iCalendar file."""
        entries: list[CalendarEntry] = []
        for meeting in await self._meetings.recent(limit=MEETINGS_IN_FEED, owner=owner):
            if meeting.state is MeetingState.DONE:
                entries += entries_of(await self._read_outcome(meeting.id, has_markdown=False))
        return await asyncio.to_thread(to_ics, entries)

    async def close(self) -> None:
        """Close all integrations. Idempotent."""
        for integration in self._integrations.values():
            await integration.close()

    async def _require_finished(self, meeting_id: str) -> Meeting:
        meeting = await self._meetings.get(meeting_id)
        if meeting.state is not MeetingState.DONE:
            raise ConflictError("This meeting is not over.", "Wait until its minutes are written.")
        return meeting

    async def _get_delivery(self, meeting_id: str | None, wanted: str) -> Delivery:
        delivery = await self._deliveries.get(wanted)
        if meeting_id is not None and delivery.meeting_id != meeting_id:
            raise NotFoundError("There is no such delivery.", "See those of the meeting.")
        return delivery

    async def _replanned(self, delivery: Delivery) -> Delivery:
        """Return the delivery as the minutes have it now. Raises ConflictError when they no longer do."""
        meeting = await self._meetings.get(delivery.meeting_id)
        planned = next((one for one in await self.plan(meeting) if one.id == delivery.id), None)
        if planned is None:
            raise ConflictError(
                "The minutes do not hold this any more, or it may no longer go there.",
                "Dismiss it, or add the item again.",
            )
        return delivery.model_copy(update={"action": planned.action})

    async def _decide(self, delivery: Delivery, state: DeliveryState, before: DeliveryState) -> Delivery:
        """Change the state if it is still the one that was read: of two people who decide, one gets ConflictError."""
        decided = delivery.model_copy(
            update={
                "state": state,
                "attempts": 0,
                "next_at_ms": self._now_ms(),
                "done_at_ms": self._now_ms() if state is DeliveryState.DISMISSED else None,
            }
        )
        others = [other for other in DeliveryState if other is not before]
        if not await self._deliveries.update(decided, unless=others):
            raise ConflictError("Somebody else decided this meanwhile.", "Read its state.")
        self._dispatcher.wake()
        return decided


def _failed_plan(name: str, error: Exception) -> StageError:
    return StageError(
        stage="workflows",
        code="integration_failed",
        message=f"{name} could not plan what to deliver ({type(error).__name__}).",
        remedy="The minutes are stored. See the server's log, and report it to whoever wrote the integration.",
    )


async def run_post_meeting_workflows(meeting: Meeting, workflows: Workflows) -> list[Delivery]:
    """Plan everything that follows from a finished meeting into the outbox, from which it is delivered.

    What is in the outbox already is left as it is; an integration that cannot plan becomes an error of the meeting.
    Returns what is new.
    """
    planned, failures = await workflows.plan_with_failures(meeting)
    added = await workflows.enqueue(meeting, planned, failures)
    logger.info("Workflows planned.", extra=obs.log_fields(meeting=meeting.id, deliveries=len(added)))
    return added
