"""Attempts at the work on a meeting: of which meeting did the process die, and which ones only stood beside it?

An attempt is counted in the database when work begins. It is forgotten when the work ends, when it stops together with
the server, and as soon as the meeting has shown that it takes nothing down. What is counted at a start died with the
process. A meeting of which several are counted works alone from then on, so that the next death counts for it only.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from meeting_assistant.domain.errors import StorageError
from meeting_assistant.domain.ports import StepLedger

SUSPECT_ATTEMPTS = 2
"""Meetings with so many counted attempts work one after the other. The first death makes nobody a suspect: most are a
power cut or an update."""
HARMLESS_AFTER_S = 120.0
"""A process that lives for so long with a meeting in work does not die of it at once."""


class Attempt:
    """One attempt at one step of a meeting. `end` must be called, whatever happens to the work."""

    def __init__(
        self,
        ledger: StepLedger,
        turn: asyncio.Lock,
        key: tuple[str, str],
        *,
        has_caught_up: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """`key`: meeting and step. `has_caught_up` returns when the work has nothing left to do but to wait."""
        self._ledger = ledger
        self._turn = turn
        self._key = key
        self._has_caught_up = has_caught_up
        self._has_begun = self._has_turn = self._is_counted = self._has_survived = False
        self._watch: asyncio.Task[None] | None = None

    async def begin(self, *, has_progress: bool = True) -> int:
        """Wait for the turn of a suspect, then count the attempt, durably. Returns how many are counted.

        A second call does nothing. Work of which nothing is stored before its end has no `has_progress`: its attempts
        stay counted however long it takes. A database that is full or cannot be reached keeps nothing from working;
        the attempt is then not counted, and 0 is returned. Raises NotFoundError, StorageError.
        """
        if self._has_begun:
            return 0  # a fleet asks again for each worker that takes over
        self._has_begun = True
        try:
            if await self._ledger.attempts(*self._key) >= SUSPECT_ATTEMPTS:
                await self._turn.acquire()
                self._has_turn = True
            count = await self._ledger.begin_step(*self._key)
        except StorageError as error:
            self._release()  # what is not counted has no turn to wait for, nor one that others wait for
            if not error.retryable:
                raise
            return 0
        self._is_counted = True
        self._watch = asyncio.create_task(self._until_harmless(has_progress=has_progress))
        return count

    def survive(self) -> None:
        """Forget the attempts, soon: the work got further than the last attempt did."""
        if self._is_counted and not self._has_survived and self._watch is not None:
            self._has_survived = True
            self._watch.cancel()
            self._watch = asyncio.create_task(self._forget())

    async def end(self, *, is_counted: bool = False) -> None:
        """End the work; its attempts are forgotten, unless `is_counted`. Idempotent. Never raises."""
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)
        if is_counted:
            self._is_counted = False
        await self._forget()

    async def _until_harmless(self, *, has_progress: bool) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(HARMLESS_AFTER_S):
                await (self._has_caught_up or asyncio.Event().wait)()
        if has_progress:
            await self._forget()
        else:
            self._release()

    async def _forget(self) -> None:
        try:
            if self._is_counted:
                await self._ledger.forget_attempts(*self._key)
                self._is_counted = False
        except StorageError:
            pass  # it stays counted, which is one too many
        finally:
            self._release()

    def _release(self) -> None:
        if self._has_turn:
            self._has_turn = False
            self._turn.release()


class Attempts:
    """Makes attempts; those of suspects have their turn one after the other."""

    def __init__(self, ledger: StepLedger) -> None:
        self._ledger = ledger
        self._turn = asyncio.Lock()

    def at(
        self, meeting_id: str, step: str, *, has_caught_up: Callable[[], Awaitable[None]] | None = None
    ) -> Attempt:
        """Return an attempt that has not begun."""
        return Attempt(self._ledger, self._turn, (meeting_id, step), has_caught_up=has_caught_up)
