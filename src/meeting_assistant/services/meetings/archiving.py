"""Recordings of meetings that are over move to the object store, however long it is away meanwhile.

Which ones have to is read from the disk and the database each time, so there is nothing to lose: a start, a restart
and a store that comes back all do the same. No meeting waits for it, and it has threads of its own.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TypeVar

from meeting_assistant import observability as obs
from meeting_assistant.domain.errors import MeetingAssistantError, NotFoundError
from meeting_assistant.domain.ports import AudioArchive, MeetingStore

R = TypeVar("R")

logger = logging.getLogger(__name__)

SWEEP_SECONDS = 300.0
"""Looks for work that nobody told of: meetings that failed, what other machines deleted."""
FIRST_RETRY_S, LONGEST_RETRY_S = 2.0, 300.0


class RecordingArchiver:
    """One per server."""

    def __init__(
        self,
        store: MeetingStore,
        mover: AudioArchive,
        threads: Executor,
        *,
        first_retry_s: float = FIRST_RETRY_S,
    ) -> None:
        self._store = store
        self._mover = mover
        self._threads = threads
        self._first_retry_s = first_retry_s
        self._failures = 0
        """Passes in a row in which the store could not be used."""
        self._pending = 0
        self._trouble: MeetingAssistantError | None = None
        self._incomplete: set[str] = set()
        """Not sealed when they were looked at: their meetings failed, and may be tried again."""
        self._has_work = asyncio.Event()

    @property
    def problem(self) -> str | None:
        """What an operator should mend, while recordings cannot be moved."""
        if self._trouble is None:
            return None
        return f"Finished recordings cannot be moved ({self._pending} wait on this disk): {self._trouble}"

    def wake(self, meeting_id: str) -> None:
        """This meeting is over."""
        self._incomplete.discard(meeting_id)
        self._has_work.set()

    async def run(self) -> None:
        """Until cancelled."""
        await self._on_threads(self._mover.begin)
        self._failures = 1  # so that a wrong address is said at the start and not after the first meeting
        while True:
            self._has_work.clear()
            await self.run_once()
            await self._rest()

    async def run_once(self) -> None:
        """One pass. Raises nothing: what resists is a problem in `/health`, and is tried again."""
        trouble: MeetingAssistantError | None = None
        try:
            waiting = await self._waiting()
            self._show(len(waiting))
            if self._failures:
                await self._on_threads(self._mover.check)
            trouble = await self._move_all(waiting)
            if not _is_of_store(trouble):
                await self._on_threads(self._mover.clean_up)
        except MeetingAssistantError as error:
            trouble = error
        except Exception:
            logger.exception("Moving recordings failed in an unexpected way; it is tried again.")
            trouble = MeetingAssistantError(
                "This failed unexpectedly.", "See the server's log.", code="store_failed"
            )
        if trouble is None or trouble.code != "closing":
            self._note(trouble)
        await self._count_removals()

    async def close(self) -> None:
        """What is being copied stops at the next piece; the next start goes on."""
        await asyncio.to_thread(self._mover.close)

    async def _waiting(self) -> list[str]:
        """Meetings whose recording is here and to which nothing is added by itself."""
        found = []
        for meeting_id in await self._on_threads(self._mover.local_ids):
            try:
                meeting = await self._store.get(meeting_id)
            except NotFoundError:
                continue  # not of this database: left alone
            if meeting.state.is_over and meeting_id not in self._incomplete:
                found.append(meeting_id)
        return found

    async def _move_all(self, waiting: list[str]) -> MeetingAssistantError | None:
        """What resisted; one recording does not hold up the others, a store that refuses does."""
        trouble: MeetingAssistantError | None = None
        resisting = 0
        for done, meeting_id in enumerate(waiting, start=1):
            error = await self._move(meeting_id)
            resisting += error is not None
            self._show(len(waiting) - done + resisting)
            trouble = error or trouble
            if _is_of_store(error) or (error is not None and error.code == "closing"):
                break
        return trouble

    async def _move(self, meeting_id: str) -> MeetingAssistantError | None:
        """What went wrong, if anything did."""
        try:
            is_moved = await self._on_threads(self._mover.move, meeting_id)
        except NotFoundError:
            return None  # deleted meanwhile
        except MeetingAssistantError as error:
            obs.audio_store_moves_total.labels("failed").inc()
            logger.warning(
                "A recording could not be moved to the object store.",
                extra=obs.log_fields(meeting=meeting_id, code=error.code),
            )
            return error
        if is_moved:
            obs.audio_store_moves_total.labels("moved").inc()
            logger.info(
                "A recording was moved to the object store.", extra=obs.log_fields(meeting=meeting_id)
            )
        else:
            self._incomplete.add(meeting_id)
        return None

    async def _count_removals(self) -> None:
        try:
            obs.audio_store_pending.labels("remove").set(await self._on_threads(self._mover.to_remove))
        except MeetingAssistantError:
            return  # the database is away: said elsewhere

    def _show(self, pending: int) -> None:
        self._pending = pending
        obs.audio_store_pending.labels("move").set(pending)

    def _note(self, trouble: MeetingAssistantError | None) -> None:
        before, self._trouble = self._trouble, trouble
        self._failures = min(self._failures + 1, 16) if _is_of_store(trouble) else 0
        if trouble is None and before is not None:
            logger.info("Recordings are moved again.")
        elif trouble is not None and (before is None or before.code != trouble.code):
            logger.warning(
                "Recordings cannot be moved to the object store; they stay on this disk.",
                extra=obs.log_fields(code=trouble.code),
            )

    async def _rest(self) -> None:
        """While the store refuses, meetings that end do not make it be asked more often."""
        if self._failures:
            await asyncio.sleep(min(LONGEST_RETRY_S, self._first_retry_s * 2 ** (self._failures - 1)))
            return
        try:
            async with asyncio.timeout(SWEEP_SECONDS):
                await self._has_work.wait()
        except TimeoutError:
            return

    async def _on_threads(self, function: Callable[..., R], *args: object) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *args)


def _is_of_store(error: MeetingAssistantError | None) -> bool:
    return error is not None and error.code.startswith("store_")
