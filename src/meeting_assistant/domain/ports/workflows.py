"""Integrations, and the outbox that feeds them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from meeting_assistant.domain.workflows import (
    Action,
    Delivery,
    DeliveryState,
    Description,
    MeetingOutcome,
    Receipt,
)


class Integration(Protocol):
    """A system that finished meetings are delivered to. See `docs/how-to/add-an-integration.md`."""

    name: str
    """The name in settings, API and page: `jira`."""

    def describe(self) -> Description:
        """Return what it is and where it delivers to."""
        ...

    def plan(self, outcome: MeetingOutcome) -> list[Action]:
        """Return the actions that it would perform; none when there is nothing to deliver. Pure."""
        ...

    async def deliver(self, delivery: Delivery) -> Receipt:
        """Perform the action. Where the target can recognise `delivery.id`, a second call changes nothing.

        `delivery.is_uncertain` says that an earlier attempt may have arrived. Raises DeliveryError.
        """
        ...

    async def test(self) -> str:
        """Prove that it works and return what was done: a message was sent, a project was read.

        Raises DeliveryError.
        """
        ...

    async def close(self) -> None:
        """Close all connections; idempotent."""
        ...


class DeliveryStore(Protocol):
    """The outbox. One transaction per method; what returns is durable. Deliveries are deleted with their meeting."""

    async def plan(self, meeting_id: str, deliveries: Sequence[Delivery], step: str) -> list[Delivery]:
        """Add new deliveries and end the step, in one transaction. Returns the added ones.

        A proposal that is present takes the new action. Integrations that the meeting does not choose are left out.
        Raises NotFoundError when there is no such meeting.
        """
        ...

    async def of_meeting(self, meeting_id: str) -> list[Delivery]:
        """Return the deliveries of a meeting, in the order in which they were planned."""
        ...

    async def recent(
        self, *, states: Collection[DeliveryState], owner: str | None = None, limit: int = 100
    ) -> list[Delivery]:
        """Return deliveries in these states, newest first; of the meetings of one owner, or of all."""
        ...

    async def get(self, delivery_id: str) -> Delivery:
        """Return a delivery. Raises NotFoundError."""
        ...

    async def take_due(self, now_ms: int, lease_ms: int, busy: Collection[str] = ()) -> Delivery | None:
        """Return the delivery that has been due longest, of an integration that is not busy; None when nothing is due.

        An attempt whose lease ran out is due, too, and becomes uncertain. The delivery is counted as an attempt and
        leased until `now_ms + lease_ms`.
        """
        ...

    async def next_due_ms(self) -> int | None:
        """Return when the next delivery is due; None when nothing waits."""
        ...

    async def end_leases(self, now_ms: int, dedup_delays_ms: Mapping[str, int]) -> int:
        """Return interrupted deliveries to the queue, as uncertain; return how many there were.

        Only for the single process of a deployment: every lease is left over from one that ended. `dedup_delays_ms`
        says how long deliveries to an integration wait before they are tried again.
        """
        ...

    async def update(
        self, delivery: Delivery, *, unless: Collection[DeliveryState] = (), needs_note: bool = False
    ) -> bool:
        """Store a delivery. Returns False, with nothing stored, when it is in one of the states `unless`, or deleted.

        A pending delivery to an integration that its meeting no longer chooses becomes a proposal. With `needs_note`
        a finished or parked delivery is returned by `to_note` until `noted` is called.
        """
        ...

    async def to_note(self, limit: int = 100) -> list[Delivery]:
        """Return finished and parked deliveries that the audit log does not have yet, oldest first."""
        ...

    async def noted(self, delivery: Delivery) -> None:
        """Record that the audit log has this result."""
        ...

    async def pending(self) -> dict[DeliveryState, int]:
        """Return the number of deliveries in each open state."""
        ...
