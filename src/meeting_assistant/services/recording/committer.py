"""`Committer`: the task that carries out what a `GroupCommit` decides."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from typing import ParamSpec, TypeVar

from meeting_assistant.domain.errors import MeetingAssistantError, StorageError
from meeting_assistant.domain.ports import AudioJournal
from meeting_assistant.net.blocking import run_blocking
from meeting_assistant.observability import log_fields
from meeting_assistant.services.recording.group_commit import GroupCommit, Problem

P = ParamSpec("P")
R = TypeVar("R")

logger = logging.getLogger(__name__)


class Signal:
    """Wakes every task that waits now; a task that begins to wait later waits for the next `fire`."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def fire(self) -> None:
        """Wake the tasks that wait."""
        self._event.set()
        self._event = asyncio.Event()

    async def wait(self) -> None:
        """Wait for the next `fire`."""
        await self._event.wait()


class Committer:
    """Stores and acknowledges the audio of one buffer; begins with the first `wake`."""

    def __init__(
        self,
        commits: GroupCommit,
        journal: AudioJournal | None,
        executor: Executor,
        on_safe: Callable[[int], Awaitable[None]] | None,
        on_problem: Callable[[Problem | None], None],
    ) -> None:
        self.progress = Signal()
        """Fires when an attempt ended, and when the buffer was closed."""
        self._commits = commits
        self._journal = journal
        self._executor = executor
        self._on_safe = on_safe
        self._on_problem = on_problem
        self._reported: Problem | None = None
        self._work = Signal()
        self._hurry = asyncio.Event()
        """Set while the pause between attempts is skipped."""
        self._task: asyncio.Task[None] | None = None

    def wake(self) -> None:
        """Look whether there is anything to store or to acknowledge."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="audio-commit")
        self._work.fire()

    def hurry(self) -> None:
        """Begin the next attempt without waiting for the end of the tick."""
        self._commits.hurry()
        self._hurry.set()
        self.wake()

    async def close(self) -> None:
        """Stop after the call of the journal that is running."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def on_disk(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a blocking call on the executor and return its result."""
        return await run_blocking(self._executor, function, *args, **kwargs)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            while (due_at := self._commits.due_at) is None:
                await self._work.wait()
            await self._rest(due_at - loop.time())
            self._hurry.clear()
            try:
                await self._attempt(self._commits.begin(loop.time()))
            except MeetingAssistantError as error:
                self._fail(error)
            except Exception as error:
                logger.exception("Failed to store audio: unexpected error.")
                self._fail(_unexpected(error))
            else:
                self._commits.succeed()
            self._report_problem()
            self.progress.fire()

    async def _attempt(self, pcm: bytes) -> None:
        if self._journal is not None and pcm:
            try:
                await self.on_disk(self._journal.append, pcm)
            finally:
                self._commits.stored(self._journal.durable_bytes)
        offset = self._commits.unacknowledged
        if offset is not None:
            if self._on_safe is not None:
                await self._on_safe(offset)
            self._commits.acknowledged(offset)

    def _fail(self, error: MeetingAssistantError) -> None:
        self._commits.fail(error)
        if self._commits.failures == 1:
            logger.warning(
                "Failed to store or acknowledge audio; retrying.", extra=log_fields(code=error.code)
            )

    def _report_problem(self) -> None:
        if self._commits.problem != self._reported:
            self._reported = self._commits.problem
            self._on_problem(self._reported)

    async def _rest(self, seconds: float) -> None:
        if seconds > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._hurry.wait()


def _unexpected(error: Exception) -> StorageError:
    return StorageError(f"Storing audio failed: {type(error).__name__}.", "See the log of the server.")
