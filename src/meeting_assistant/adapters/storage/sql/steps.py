"""Steps of work that are recorded before they begin, in SQL."""

from __future__ import annotations

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from meeting_assistant.adapters.storage.sql.database import uncancellable
from meeting_assistant.adapters.storage.sql.models import MeetingRow, StepRow
from meeting_assistant.adapters.storage.sql.transactions import SqlTables, get_meeting


class SqlSteps(SqlTables):
    """Implements `StepLedger`."""

    @uncancellable
    async def begin_step(self, meeting_id: str, step: str, *, can_repeat: bool = False) -> int:
        """Count an attempt, in the database: one that kills the process counts, too."""
        async with self._database.writing() as session:
            row = await _opened(session, meeting_id, step, can_repeat=can_repeat)
            if row.is_done:
                return 0
            row.attempts += 1
            return row.attempts

    @uncancellable
    async def open_step(self, meeting_id: str, step: str, *, can_repeat: bool = False) -> bool:
        """Record that a step has to be done, without counting an attempt."""
        async with self._database.writing() as session:
            return not (await _opened(session, meeting_id, step, can_repeat=can_repeat)).is_done

    @uncancellable
    async def end_step(self, meeting_id: str, step: str) -> None:
        """Record that a step is done."""
        of_it = (StepRow.meeting_id == meeting_id) & (StepRow.step == step)
        async with self._database.writing() as session:
            await session.execute(update(StepRow).where(of_it).values(is_done=True))

    async def attempts(self, meeting_id: str, step: str) -> int:
        """Return how many attempts at a step are counted."""
        async with self._database.reading() as session:
            row = await session.get(StepRow, (meeting_id, step))
            return 0 if row is None or row.is_done else row.attempts

    @uncancellable
    async def forget_attempts(self, meeting_id: str, step: str) -> None:
        """Count no attempt at a step any more."""
        of_it = (StepRow.meeting_id == meeting_id) & (StepRow.step == step)
        async with self._database.writing() as session:
            await session.execute(update(StepRow).where(of_it).values(attempts=0))

    @uncancellable
    async def reset_steps(self, meeting_id: str) -> None:
        """Remove all attempts at steps that are not done."""
        of_it = (StepRow.meeting_id == meeting_id) & StepRow.is_done.is_(False)
        async with self._database.writing() as session:
            await session.execute(delete(StepRow).where(of_it))

    async def incomplete_steps(self, step: str) -> list[str]:
        """Return the ids of meetings of this machine in which the step began and did not end."""
        query = select(StepRow.meeting_id).join(MeetingRow, MeetingRow.id == StepRow.meeting_id)
        query = query.where(
            StepRow.step == step, StepRow.is_done.is_(False), MeetingRow.gateway == self._gateway
        )
        async with self._database.reading() as session:
            return list(await session.scalars(query.order_by(StepRow.meeting_id)))


async def _opened(session: AsyncSession, meeting_id: str, step: str, *, can_repeat: bool) -> StepRow:
    """Return the row of a step, which is made if there is none, and begins anew if it `can_repeat`."""
    await get_meeting(session, meeting_id)
    row = await session.get(StepRow, (meeting_id, step))
    if row is None:
        row = StepRow(meeting_id=meeting_id, step=step, attempts=0, is_done=False)
        session.add(row)
    if row.is_done and can_repeat:
        row.attempts, row.is_done = 0, False
    return row
