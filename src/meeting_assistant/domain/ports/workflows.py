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
    """A place that hears of finished meetings. See `docs/how-to/add-an-integration.md`."""

    name: str
    """In settings, API and page: `jira`."""

    def describe(self) -> Description:
        """What it is and where it delivers to."""
        ...

    def plan(self, outcome: MeetingOutcome) -> list[Action]:
        """What it would do, without asking anybody; nothing when there is nothing to tell. Pure."""
        ...

    async def deliver(self, delivery: Delivery) -> Receipt:
        """Do it. Where the target can recognise `delivery.id`, a second call changes nothing.

        `delivery.is_uncertain` says that an earlier attempt may have arrived. Raises DeliveryError.
        """
        ...

    async def test(self) -> str:
        """Prove that it works: tell a channel, look at a project. Says what it did. Raises DeliveryError."""
        ...

    async def close(self) -> None:
        """Let go; idempotent."""
        ...


class DeliveryStore(Protocol):
    """The outbox. One transaction per method; what returns is durable. Deliveries go when their meeting goes."""

    async def plan(self, meeting_id: str, deliveries: Sequence[Delivery], step: str) -> list[Delivery]:
        """Add those that are not there yet and end the step, in one transaction. Returns the added ones; what was
        proposed before and not decided takes the new action. What the meeting does not choose is left out. Raises
        NotFoundError without such a meeting.
        """
        ...

    async def of_meeting(self, meeting_id: str) -> list[Delivery]:
        """In the order in which they were planned."""
        ...

    async def recent(
        self, *, states: Collection[DeliveryState], owner: str | None = None, limit: int = 100
    ) -> list[Delivery]:
        """Of all meetings of an owner, or of all; newest first."""
        ...

    async def get(self, delivery_id: str) -> Delivery:
        """Raises NotFoundError."""
        ...

    async def take_due(self, now_ms: int, lease_ms: int, busy: Collection[str] = ()) -> Delivery | None:
        """The delivery that is due longest, of an integration that is not busy; also one whose attempt was cut short
        (its lease ran out: `is_uncertain`). It is counted as an attempt and leased until `now_ms + lease_ms`.
        """
        ...

    async def next_due_ms(self) -> int | None:
        """When there will be something to take; None when nothing waits."""
        ...

    async def end_leases(self, now_ms: int, dedup_delays_ms: Mapping[str, int]) -> int:
        """For a process that is alone: whoever was delivering is dead, and what it had in hand is uncertain and waits
        again, for as long as `dedup_delays_ms` says for its integration. Returns how many there were."""
        ...

    async def update(
        self, delivery: Delivery, *, unless: Collection[DeliveryState] = (), is_to_note: bool = False
    ) -> bool:
        """Store a delivery as it is now. False, with nothing stored, when it is in one of those states, or gone.

        What would wait for an integration that its meeting does not choose any more is proposed instead. `is_to_note`:
        `to_note` returns it, once it is done or parked, until `noted` is called.
        """
        ...

    async def to_note(self, limit: int = 100) -> list[Delivery]:
        """Those that are done or parked and of which the audit log does not tell yet; oldest first."""
        ...

    async def noted(self, delivery: Delivery) -> None:
        """The audit log tells of it as it was given here."""
        ...

    async def pending(self) -> dict[DeliveryState, int]:
        """How many there are in each state that is not settled."""
        ...
