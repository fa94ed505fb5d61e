"""`StartCorrection`: a person says when a meeting began, and the due dates of its minutes follow."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from datetime import date, datetime

from meeting_assistant import observability as obs
from meeting_assistant.domain.errors import ConflictError
from meeting_assistant.domain.meeting import Meeting, MeetingState
from meeting_assistant.domain.meeting_start import stated_start, time_zone
from meeting_assistant.domain.minutes import ActionItem, Item, Minutes
from meeting_assistant.domain.ports import MeetingStore
from meeting_assistant.services.minutes.evidence.checker import DueResolver
from meeting_assistant.services.minutes.minutes_service import language_of, local_date

logger = logging.getLogger(__name__)

Redated = Callable[[Meeting, Minutes], Awaitable[Minutes]]
"""`StartCorrection.redated`, for those who write minutes."""

TRIES = 3
"""Minutes may be written while they are changed."""


class StartCorrection:
    """Corrects the start of meetings."""

    def __init__(
        self,
        store: MeetingStore,
        resolve_due: DueResolver,
        on_corrected: Callable[[str], Awaitable[object]],
        now_ms: Callable[[], int] = lambda: int(time.time() * 1000),
    ) -> None:
        """`on_corrected` is awaited with the id of a finished meeting whose day has changed."""
        self._store = store
        self._resolve_due = resolve_due
        self._on_corrected = on_corrected
        self._now_ms = now_ms

    async def correct(self, meeting_id: str, began_at: datetime) -> None:
        """Store another start. Without an offset it is a time of the meeting's own time zone.

        Due dates that were read from words are resolved again; those that a person set stay. Raises NotFoundError,
        InputError, and ConflictError while the minutes keep changing; a second call completes the first.
        """
        before = await self._store.get(meeting_id)
        zone = began_at.tzinfo or time_zone(None, before.utc_offset_minutes)
        start = stated_start(began_at, zone, self._now_ms(), "person")
        old_day, new_day = local_date(before), start.local.date()
        if old_day != new_day:
            await self._move_due_dates(before, old_day, new_day)
        # Last: if the server stops before it, the day still differs and a second call changes what is left.
        await self._store.set_start(meeting_id, start)
        if old_day != new_day and before.state is MeetingState.DONE:
            logger.info("The day of a meeting was corrected.", extra=obs.log_fields(meeting=meeting_id))
            await self._on_corrected(meeting_id)

    async def redated(self, meeting: Meeting, minutes: Minutes) -> Minutes:
        """Return new minutes as of the present start: writing takes minutes, in which somebody may have corrected it.

        `meeting` is the one that they were written from. Raises NotFoundError when it was deleted meanwhile.
        """
        old_day, new_day = local_date(meeting), local_date(await self._store.get(meeting.id))
        if old_day == new_day:
            return minutes
        return minutes.map_items(lambda item: self._moved(item, language_of(meeting), old_day, new_day))

    async def _move_due_dates(self, meeting: Meeting, old_day: date, new_day: date) -> None:
        def move(item: Item) -> Item:
            return self._moved(item, language_of(meeting), old_day, new_day)

        for left in reversed(range(TRIES)):
            minutes = await self._store.stored_minutes(meeting.id)
            if minutes is None:
                return  # whoever writes them asks for the present day at the end (`redated`)

            def change(newest: Minutes) -> Minutes:
                return newest.map_items(move)

            try:
                await self._store.change_minutes(meeting.id, minutes.version, change)
            except ConflictError:
                if not left:
                    raise
            else:
                return

    def _moved(self, item: Item, language: str, old_day: date, new_day: date) -> Item:
        """Return the item with its due date as of the new day, where its words gave the old one."""
        if not isinstance(item, ActionItem) or item.due_phrase is None:
            return item
        if item.due != self._resolve_due(item.due_phrase, old_day, language):
            return item
        return item.model_copy(update={"due": self._resolve_due(item.due_phrase, new_day, language)})
