"""The rights of long-lived connections: asked for again whenever something may have ended one.

A right is checked when a connection begins; after that this registry keeps it. What ends a right says so here (a link
withdrawn, a browser signed out, a meeting deleted, tokens read anew), and the time at which a link or a session expires
is waited for. Where several servers share a database, a counter in it tells each of them what another one ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, TypeVar

from meeting_assistant import observability as obs
from meeting_assistant.domain.access import Credential, Principal
from meeting_assistant.domain.errors import MeetingAssistantError, StorageError

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.5
"""How often the counter of other servers is read, and how soon a check that the database refused is made again."""
CHECKS_AT_ONCE = 16
"""Checks that wait for the database together: after a change of tokens every connection is asked for."""
MAX_WAIT_SECONDS = 60.0
"""The clock may be set: an end in the future is computed anew at least so often."""

T = TypeVar("T")
Check = Callable[[Principal], Awaitable[None]]
"""Raises the error with which the connection ends when this caller may not have it any more."""


class HeldAccess:
    """The right of one connection, while it lasts."""

    def __init__(self, principal: Principal, meeting_id: str, check: Check) -> None:
        self.principal = principal
        self.meeting_id = meeting_id
        self.check = check
        self.is_due = True
        """True when the right has to be asked for again: at first, too, since it may have ended on the way here."""
        self.ended: asyncio.Future[MeetingAssistantError] = asyncio.get_running_loop().create_future()
        """Done when the right has ended; the result says why."""

    def end(self, error: MeetingAssistantError) -> None:
        """End the right."""
        if not self.ended.done():
            self.ended.set_result(error)

    async def guard(self, pieces: AsyncIterator[T]) -> AsyncIterator[T]:
        """Yield what `pieces` yields as long as the right lasts. Raises the error that ended it."""
        coming: asyncio.Future[T | None] | None = None
        try:
            while True:
                coming = asyncio.ensure_future(_next(pieces))
                waited: set[asyncio.Future[Any]] = {coming, self.ended}
                await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
                if self.ended.done():
                    raise self.ended.result()
                piece = coming.result()
                if piece is None:
                    return
                yield piece
        finally:
            if coming is not None:
                coming.cancel()
                await asyncio.gather(coming, return_exceptions=True)


async def _next(pieces: AsyncIterator[T]) -> T | None:
    return await anext(pieces, None)


def _has_expired(principal: Principal, now_ms: int) -> bool:
    return principal.expires_at_ms is not None and principal.expires_at_ms <= now_ms


class AccessRegistry:
    """Every right that is held by a connection."""

    def __init__(
        self,
        refresh: Callable[[Principal], Awaitable[Principal]],
        *,
        now_ms: Callable[[], int] = lambda: int(time.time() * 1000),
        read_changes: Callable[[], Awaitable[int]] | None = None,
    ) -> None:
        """`refresh` looks a caller up again, and raises UnauthenticatedError. `read_changes` returns how many rights
        have ended on all servers with this database; None where there is only this one."""
        self._refresh = refresh
        self._now_ms = now_ms
        self._read_changes = read_changes
        self._held: set[HeldAccess] = set()
        self._news = asyncio.Event()
        self._is_retrying = False

    @contextlib.contextmanager
    def hold(self, principal: Principal, meeting_id: str, check: Check) -> Iterator[HeldAccess]:
        """Keep the right of a connection to a meeting until the block ends; look at `ended` inside it."""
        held = HeldAccess(principal, meeting_id, check)
        self._held.add(held)
        self._news.set()
        try:
            yield held
        finally:
            self._held.discard(held)
            held.ended.cancel()

    def recheck(self, *, meeting_id: str | None = None, credential: Credential | None = None) -> None:
        """Ask again for the rights to this meeting, or of those who showed this credential; without either, for all."""
        for held in self._held:
            if meeting_id in (None, held.meeting_id) and (
                credential is None or credential in held.principal.credentials
            ):
                held.is_due = True
        self._news.set()

    async def run(self) -> None:
        """Check what is due, until cancelled."""
        changes = await self._changes()
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._wait_s()):
                    await self._news.wait()
            self._news.clear()
            self._is_retrying = False
            before, changes = changes, await self._changes()
            now = self._now_ms()
            due = [
                held
                for held in self._held
                if held.is_due or changes != before or _has_expired(held.principal, now)
            ]
            for first in range(0, len(due), CHECKS_AT_ONCE):
                await asyncio.gather(*map(self._check, due[first : first + CHECKS_AT_ONCE]))

    def _wait_s(self) -> float:
        if self._is_retrying or (self._read_changes is not None and self._held):
            return LOOK_SECONDS
        ends = [end for held in self._held if (end := held.principal.expires_at_ms) is not None]
        next_end_s = (min(ends) - self._now_ms()) / 1000 if ends else MAX_WAIT_SECONDS
        return min(max(next_end_s, 0.0), MAX_WAIT_SECONDS)

    async def _changes(self) -> int | None:
        if self._read_changes is None:
            return None
        try:
            return await self._read_changes()
        except StorageError:
            self._is_retrying = True
            return None

    async def _check(self, held: HeldAccess) -> None:
        held.is_due = False
        try:
            held.principal = await self._refresh(held.principal)
            await held.check(held.principal)
        except StorageError:
            # A database that is away ends no right: nobody is sent away from a meeting for it.
            held.is_due = self._is_retrying = True
        except MeetingAssistantError as error:
            logger.info(
                "Closed a connection whose access ended.",
                extra=obs.log_fields(meeting=held.meeting_id, code=error.code),
            )
            held.end(error)
            # Its connection may last: a client that reads nothing, a player that pauses. It is not asked for again.
            self._held.discard(held)
