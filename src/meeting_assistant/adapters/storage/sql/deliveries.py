"""The outbox in SQL: implements `DeliveryStore`, in the same database as the meetings."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from uuid import uuid4

from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from meeting_assistant.adapters.storage.sql.database import Database, uncancellable
from meeting_assistant.adapters.storage.sql.models import DeliveryRow, MeetingRow, StepRow
from meeting_assistant.adapters.storage.sql.transactions import get_meeting
from meeting_assistant.domain.errors import NotFoundError
from meeting_assistant.domain.workflows import FORGOTTEN, Delivery, DeliveryState

_OPEN = (DeliveryState.PROPOSED, DeliveryState.PENDING, DeliveryState.SENDING, DeliveryState.PARKED)
_COLUMNS = tuple(Delivery.model_fields)


class SqlDeliveryStore:
    """Implements `DeliveryStore`. A delivery is deleted with its meeting."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @uncancellable
    async def plan(self, meeting_id: str, deliveries: Sequence[Delivery], step: str) -> list[Delivery]:
        """Add new deliveries, refresh the proposed ones and end the step."""
        added: list[Delivery] = []
        async with self._database.writing() as session:
            meeting = await get_meeting(session, meeting_id)
            for delivery in deliveries:
                if not _is_chosen(meeting, delivery.integration):
                    continue  # the choice changed while this was planned
                known = await _row(session, delivery.id)
                if known is None:
                    session.add(DeliveryRow(lease_until_ms=0, is_noted=True, **_values(delivery)))
                    added.append(delivery)
                elif known.state == DeliveryState.PROPOSED:
                    known.action = delivery.action.model_dump(mode="json")
            of_it = (StepRow.meeting_id == meeting_id) & (StepRow.step == step)
            await session.execute(update(StepRow).where(of_it).values(is_done=True))
        return added

    async def of_meeting(self, meeting_id: str) -> list[Delivery]:
        """Return the deliveries of a meeting in the order in which they were planned."""
        query = select(DeliveryRow).where(DeliveryRow.meeting_id == meeting_id)
        async with self._database.reading() as session:
            await get_meeting(session, meeting_id)
            return [_delivery(row) for row in await session.scalars(query.order_by(DeliveryRow.number))]

    async def recent(
        self, *, states: Collection[DeliveryState], owner: str | None = None, limit: int = 100
    ) -> list[Delivery]:
        """Return deliveries in these states, newest first."""
        query = select(DeliveryRow).where(DeliveryRow.state.in_([state.value for state in states]))
        if owner is not None:
            query = query.join(MeetingRow, MeetingRow.id == DeliveryRow.meeting_id).where(
                MeetingRow.owner == owner
            )
        async with self._database.reading() as session:
            rows = await session.scalars(query.order_by(DeliveryRow.number.desc()).limit(limit))
            return [_delivery(row) for row in rows]

    async def get(self, delivery_id: str) -> Delivery:
        """Return a delivery. Raises NotFoundError."""
        async with self._database.reading() as session:
            row = await _row(session, delivery_id)
            if row is None:
                raise NotFoundError("There is no such delivery.", "See those of the meeting.")
            return _delivery(row)

    @uncancellable
    async def take_due(self, now_ms: int, lease_ms: int, busy: Collection[str] = ()) -> Delivery | None:
        """Count and lease the delivery that has been due longest, in one transaction."""
        is_due = (DeliveryRow.state == DeliveryState.PENDING.value) & (DeliveryRow.next_at_ms <= now_ms)
        is_stale = (DeliveryRow.state == DeliveryState.SENDING.value) & (DeliveryRow.lease_until_ms <= now_ms)
        query = select(DeliveryRow).where(or_(is_due, is_stale), DeliveryRow.integration.not_in(busy))
        query = query.order_by(DeliveryRow.next_at_ms, DeliveryRow.number).limit(1)
        async with self._database.writing() as session:
            row = (await session.scalars(query.with_for_update(skip_locked=True))).one_or_none()
            if row is None:
                return None
            row.is_uncertain = row.is_uncertain or row.state == DeliveryState.SENDING
            row.state = DeliveryState.SENDING.value
            row.attempts += 1
            row.lease_until_ms = now_ms + lease_ms
            return _delivery(row)

    async def next_due_ms(self) -> int | None:
        """Return the earliest due time of waiting deliveries and of leases."""
        of_state = select(func.min(DeliveryRow.next_at_ms)).where(
            DeliveryRow.state == DeliveryState.PENDING.value
        )
        of_leases = select(func.min(DeliveryRow.lease_until_ms)).where(
            DeliveryRow.state == DeliveryState.SENDING.value
        )
        async with self._database.reading() as session:
            times = [await session.scalar(query) for query in (of_state, of_leases)]
        return min((time for time in times if time is not None), default=None)

    @uncancellable
    async def end_leases(self, now_ms: int, dedup_delays_ms: Mapping[str, int]) -> int:
        """Return interrupted deliveries to the queue, as uncertain."""
        sending = select(DeliveryRow).where(DeliveryRow.state == DeliveryState.SENDING.value)
        async with self._database.writing() as session:
            rows = (await session.scalars(sending)).all()
            for row in rows:
                row.state = DeliveryState.PENDING.value
                row.is_uncertain = True
                row.next_at_ms = now_ms + dedup_delays_ms.get(row.integration, 0)
            return len(rows)

    @uncancellable
    async def update(
        self, delivery: Delivery, *, unless: Collection[DeliveryState] = (), needs_note: bool = False
    ) -> bool:
        """Store a delivery and end its lease."""
        async with self._database.writing() as session:
            # The meeting's row first, in the order that other transactions use: otherwise two could deadlock.
            meeting = await session.get(MeetingRow, delivery.meeting_id, with_for_update=True)
            row = await _row(session, delivery.id)
            if meeting is None or row is None or row.state in unless:
                return False
            for name, value in _values(delivery).items():
                setattr(row, name, value)
            if row.state == DeliveryState.PENDING and not _is_chosen(meeting, row.integration):
                row.state = DeliveryState.PROPOSED.value  # the choice changed while it was tried
            row.lease_until_ms = 0
            row.is_noted = not needs_note
            return True

    async def to_note(self, limit: int = 100) -> list[Delivery]:
        """Return finished deliveries that the audit log does not have yet, oldest first."""
        finished = (DeliveryState.DONE.value, DeliveryState.PARKED.value)
        query = select(DeliveryRow).where(DeliveryRow.is_noted.is_(False), DeliveryRow.state.in_(finished))
        async with self._database.reading() as session:
            rows = await session.scalars(query.order_by(DeliveryRow.done_at_ms).limit(limit))
            return [_delivery(row) for row in rows]

    @uncancellable
    async def noted(self, delivery: Delivery) -> None:
        """Record that the audit log has this result, unless the delivery was tried again meanwhile."""
        same = (DeliveryRow.id == delivery.id) & (DeliveryRow.done_at_ms == delivery.done_at_ms)
        async with self._database.writing() as session:
            await session.execute(update(DeliveryRow).where(same).values(is_noted=True))

    async def pending(self) -> dict[DeliveryState, int]:
        """Return the number of open deliveries by state."""
        query = select(DeliveryRow.state, func.count()).group_by(DeliveryRow.state)
        async with self._database.reading() as session:
            counts = {DeliveryState(state): count for state, count in (await session.execute(query)).all()}
        return {state: counts.get(state, 0) for state in _OPEN}


async def redact_actions(session: AsyncSession, meeting_id: str) -> None:
    """Remove words that were taken off the record from the outbox.

    Deliveries that cannot have arrived are deleted. Of the others only the fact remains: under a new id, so that the
    action can be planned again, and present, so that it is not sent again without a click.
    """
    of_meeting = DeliveryRow.meeting_id == meeting_id
    finished = (DeliveryState.DONE.value, DeliveryState.DISMISSED.value)
    may_be_there = DeliveryRow.is_uncertain | (DeliveryRow.state == DeliveryState.SENDING.value)
    gone = of_meeting & DeliveryRow.state.not_in(finished) & ~may_be_there
    await session.execute(delete(DeliveryRow).where(gone))
    for row in (await session.scalars(select(DeliveryRow).where(of_meeting))).all():
        if row.state not in finished:
            row.state, row.is_uncertain = DeliveryState.DISMISSED.value, True
            row.last_error = (
                "It was being delivered when words were taken off the record. Look for it in the target."
            )
        row.id = str(uuid4())
        row.action = {"key": FORGOTTEN, "title": "Taken off the record", "payload": {}}


async def hold_back(session: AsyncSession, meeting_id: str, allowed: Collection[str]) -> None:
    """Turn pending deliveries into proposals, except those to the allowed integrations."""
    waiting = (DeliveryRow.meeting_id == meeting_id) & (DeliveryRow.state == DeliveryState.PENDING.value)
    await session.execute(
        update(DeliveryRow)
        .where(waiting, DeliveryRow.integration.not_in(allowed))
        .values(state=DeliveryState.PROPOSED.value)
    )


def _is_chosen(meeting: MeetingRow, integration: str) -> bool:
    return meeting.workflows is None or integration in meeting.workflows


async def _row(session: AsyncSession, delivery_id: str) -> DeliveryRow | None:
    return (await session.scalars(select(DeliveryRow).where(DeliveryRow.id == delivery_id))).one_or_none()


def _values(delivery: Delivery) -> dict[str, object]:
    return delivery.model_dump(mode="json")


def _delivery(row: DeliveryRow) -> Delivery:
    return Delivery.model_validate({name: getattr(row, name) for name in _COLUMNS})
