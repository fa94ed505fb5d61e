"""Archiving: recordings of finished meetings move to the object store, however long it is unreachable meanwhile.

The work is found on the disk and in the database each time, so no queue can be lost: a start, a restart and a store
that comes back all do the same. Meetings do not wait for it, and it has its own threads.
"""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import Executor

from meeting_assistant import observability as obs
from meeting_assistant.domain.errors import MeetingAssistantError, NotFoundError
from meeting_assistant.domain.ports import AudioArchive, MeetingRecords
from meeting_assistant.net.backoff import Backoff
from meeting_assistant.net.blocking import run_blocking

logger = logging.getLogger(__name__)

SCAN_INTERVAL_S = 300.0
"""How often work is looked for that no call announced: failed meetings, deletions by other servers."""
RETRY = Backoff(first_s=2.0, longest_s=300.0)


class RecordingArchiver:
    """Moves recordings of finished meetings to the archive, one at a time."""

    def __init__(
        self,
        store: MeetingRecords,
        mover: AudioArchive,
        threads: Executor,
        *,
        retry: Backoff = RETRY,
    ) -> None:
        self._store = store
        self._mover = mover
        self._threads = threads
        self._retry = retry
        self._failures = 0
        """Consecutive passes in which the object store could not be used."""
        self._pending = 0
        self._error: MeetingAssistantError | None = None
        self._incomplete: set[str] = set()
        """Recordings that were not sealed when they were looked at: their meetings failed, and may be retried."""
        self._has_work = asyncio.Event()

    @property
    def problem(self) -> str | None:
        """The problem that an operator has to fix while recordings cannot be moved, or None."""
        if self._error is None:
            return None
        return f"Finished recordings cannot be moved ({self._pending} wait on this disk): {self._error}"

    def wake(self, meeting_id: str) -> None:
        """Look for work now, because this meeting is over."""
        self._incomplete.discard(meeting_id)
        self._has_work.set()

    async def run(self) -> None:
        """Move recordings until cancelled."""
        await run_blocking(self._threads, self._mover.begin)
        self._failures = 1  # so that a wrong address is said at the start and not after the first meeting
        while True:
            self._has_work.clear()
            await self.run_once()
            await self._wait()

    async def run_once(self) -> None:
        """Make one pass. Never raises: a failure is a problem in `/health`, and is tried again."""
        failure: MeetingAssistantError | None = None
        try:
            waiting = await self._waiting()
            self._show(len(waiting))
            if self._failures:
                await run_blocking(self._threads, self._mover.check)
            failure = await self._move_all(waiting)
            if not _is_of_store(failure):
                await run_blocking(self._threads, self._mover.clean_up)
        except MeetingAssistantError as error:
            failure = error
        except Exception:
            logger.exception("Moving recordings failed unexpectedly; trying again.")
            failure = MeetingAssistantError(
                "This failed unexpectedly.", "See the server's log.", code="store_failed"
            )
        if failure is None or failure.code != "closing":
            self._note(failure)
        await self._count_removals()

    async def close(self) -> None:
        """Stop the copy that runs at its next chunk; the next start resumes it."""
        await asyncio.to_thread(self._mover.close)

    async def _waiting(self) -> list[str]:
        """Return the finished meetings whose recording is on this disk."""
        found = []
        for meeting_id in await run_blocking(self._threads, self._mover.local_ids):
            try:
                meeting = await self._store.get(meeting_id)
            except NotFoundError:
                continue  # not of this database: left alone
            if meeting.state.is_over and meeting_id not in self._incomplete:
                found.append(meeting_id)
        return found

    async def _move_all(self, waiting: list[str]) -> MeetingAssistantError | None:
        """Move all of them. Returns the last error; a store that refuses ends the pass, another error does not."""
        failure: MeetingAssistantError | None = None
        resisting = 0
        for done, meeting_id in enumerate(waiting, start=1):
            error = await self._move(meeting_id)
            resisting += error is not None
            self._show(len(waiting) - done + resisting)
            failure = error or failure
            if _is_of_store(error) or (error is not None and error.code == "closing"):
                break
        return failure

    async def _move(self, meeting_id: str) -> MeetingAssistantError | None:
        """Move one recording. Returns what went wrong, if anything did."""
        try:
            is_moved = await run_blocking(self._threads, self._mover.move, meeting_id)
        except NotFoundError:
            return None  # deleted meanwhile
        except MeetingAssistantError as error:
            obs.audio_store_moves_total.labels("failed").inc()
            logger.warning(
                "Failed to move a recording to the object store.",
                extra=obs.log_fields(meeting=meeting_id, code=error.code),
            )
            return error
        if is_moved:
            obs.audio_store_moves_total.labels("moved").inc()
            logger.info("Moved a recording to the object store.", extra=obs.log_fields(meeting=meeting_id))
        else:
            self._incomplete.add(meeting_id)
        return None

    async def _count_removals(self) -> None:
        try:
            obs.audio_store_pending.labels("remove").set(
                await run_blocking(self._threads, self._mover.to_remove)
            )
        except MeetingAssistantError:
            return  # the database is away: said elsewhere

    def _show(self, pending: int) -> None:
        self._pending = pending
        obs.audio_store_pending.labels("move").set(pending)

    def _note(self, failure: MeetingAssistantError | None) -> None:
        before, self._error = self._error, failure
        self._failures = self._failures + 1 if _is_of_store(failure) else 0
        if failure is None and before is not None:
            logger.info("The object store works again; recordings are moved.")
        elif failure is not None and (before is None or before.code != failure.code):
            logger.warning(
                "Failed to move recordings to the object store; they stay on this disk.",
                extra=obs.log_fields(code=failure.code),
            )

    async def _wait(self) -> None:
        """Wait for work. While the store refuses, finished meetings do not shorten the pause."""
        if self._failures:
            await asyncio.sleep(self._retry.pause_s(self._failures))
            return
        try:
            async with asyncio.timeout(SCAN_INTERVAL_S):
                await self._has_work.wait()
        except TimeoutError:
            return


def _is_of_store(error: MeetingAssistantError | None) -> bool:
    return error is not None and error.code.startswith("store_")
