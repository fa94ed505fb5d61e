"""Open connections end at once when the right that they depend on ends, and no others do."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import pytest

from meeting_assistant.domain.access import Credential, CredentialKind, Principal
from meeting_assistant.domain.errors import StorageError, UnauthenticatedError
from meeting_assistant.services.admin.held_access import CHECKS_AT_ONCE, AccessRegistry
from meeting_assistant.services.admin.tickets import MAX_TICKETS, TICKET_SECONDS, Tickets

GONE = UnauthenticatedError("This link has expired or was withdrawn.", "Ask for a new one.")
LINK, OTHER = (Credential(CredentialKind.SHARE, key) for key in ("a", "b"))
READER = Principal(shared=frozenset({"m1"}), credentials=frozenset({LINK}))


class Callers:
    """Who may still come in; the database can be away."""

    def __init__(self) -> None:
        self.withdrawn: set[Credential] = set()
        self.asked: asyncio.Queue[Credential] = asyncio.Queue()
        self.failures = 0

    async def refresh(self, principal: Principal) -> Principal:
        for credential in principal.credentials:
            self.asked.put_nowait(credential)
        if self.failures:
            self.failures -= 1
            raise StorageError("The database is locked.", "Wait.")
        if self.withdrawn & principal.credentials:
            raise GONE
        return principal


async def allow(principal: Principal) -> None:
    """Accept every caller."""


@pytest.fixture
async def callers() -> Callers:
    return Callers()


@pytest.fixture
async def registry(callers: Callers) -> AsyncIterator[AccessRegistry]:
    made = AccessRegistry(callers.refresh)
    running = asyncio.create_task(made.run())
    yield made
    running.cancel()


async def test_a_withdrawn_link_closes_only_its_own_connections(
    registry: AccessRegistry, callers: Callers
) -> None:
    owner = Principal(owner="ana", credentials=frozenset({OTHER}))
    with registry.hold(READER, "m1", allow) as reader, registry.hold(owner, "m1", allow) as same_meeting:
        callers.withdrawn.add(LINK)
        registry.recheck(meeting_id="m1")
        assert await reader.ended is GONE
        assert not same_meeting.ended.done()


async def test_a_right_that_ends_during_the_handshake_is_noticed(
    registry: AccessRegistry, callers: Callers
) -> None:
    callers.withdrawn.add(LINK)
    with registry.hold(READER, "m1", allow) as held:
        assert await held.ended is GONE


async def test_a_change_rechecks_only_the_callers_that_it_concerns(
    registry: AccessRegistry, callers: Callers
) -> None:
    elsewhere = Principal(credentials=frozenset({OTHER}))
    with registry.hold(READER, "m1", allow) as held, registry.hold(elsewhere, "m2", allow):
        assert {await callers.asked.get(), await callers.asked.get()} == {LINK, OTHER}
        registry.recheck(credential=LINK)
        callers.withdrawn.add(LINK)
        await held.ended
        assert (await callers.asked.get(), callers.asked.empty()) == (LINK, True)


async def test_a_connection_ends_when_its_right_expires(registry: AccessRegistry, callers: Callers) -> None:
    soon = Principal(credentials=frozenset({LINK}), expires_at_ms=int(time.time() * 1000) + 30)
    with registry.hold(soon, "m1", allow) as held:
        await callers.asked.get()
        callers.withdrawn.add(LINK)
        assert await held.ended is GONE


async def test_other_tokens_are_checked_for_many_connections_at_once_and_not_for_all() -> None:
    waiting, most, answer = 0, 0, asyncio.Event()

    async def refresh(principal: Principal) -> Principal:
        nonlocal waiting, most
        waiting += 1
        most = max(most, waiting)
        if waiting == CHECKS_AT_ONCE:
            answer.set()
        await answer.wait()
        waiting -= 1
        raise GONE

    registry = AccessRegistry(refresh)
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(registry.hold(READER, "m1", allow)) for _ in range(3 * CHECKS_AT_ONCE)]
        running = asyncio.create_task(registry.run())
        assert {await one.ended for one in held} == {GONE}
        running.cancel()
    assert most == CHECKS_AT_ONCE


async def test_an_unavailable_database_closes_no_connection(
    registry: AccessRegistry, callers: Callers
) -> None:
    callers.failures = 1
    with registry.hold(READER, "m1", allow) as held:
        for _ in range(2):
            await callers.asked.get()
        assert not held.ended.done()


async def test_a_right_that_another_server_withdrew_is_noticed(callers: Callers) -> None:
    changes = 0

    async def read_changes() -> int:
        return changes

    registry = AccessRegistry(callers.refresh, read_changes=read_changes)
    running = asyncio.create_task(registry.run())
    with registry.hold(READER, "m1", allow) as held:
        await callers.asked.get()
        callers.withdrawn.add(LINK)
        changes += 1
        assert await held.ended is GONE
    running.cancel()


async def test_a_long_response_stops_when_the_right_to_it_ends(
    registry: AccessRegistry, callers: Callers
) -> None:
    async def answer() -> AsyncIterator[str]:
        yield "first"
        await asyncio.Event().wait()

    received = []
    with registry.hold(READER, "m1", allow) as held, pytest.raises(UnauthenticatedError):
        async for piece in held.guard(answer()):
            received.append(piece)
            callers.withdrawn.add(LINK)
            registry.recheck()
    assert received == ["first"]


async def test_a_response_is_passed_on_completely(registry: AccessRegistry) -> None:
    async def pieces() -> AsyncIterator[int]:
        for number in range(3):
            yield number

    with registry.hold(READER, "m1", allow) as held:
        assert [piece async for piece in held.guard(pieces())] == [0, 1, 2]


# --- tickets --------------------------------------------------------------------------------------------------


async def test_a_ticket_grants_what_its_caller_may_do_at_the_time_of_use(callers: Callers) -> None:
    now = 0.0
    tickets = Tickets(callers.refresh, lambda: now)
    assert await tickets.redeem(tickets.issue(READER)) == READER
    ticket = tickets.issue(READER)
    callers.withdrawn.add(LINK)
    with pytest.raises(UnauthenticatedError, match="withdrawn"):
        await tickets.redeem(ticket)


async def test_a_ticket_works_once_and_for_half_a_minute(callers: Callers) -> None:
    now = 0.0
    tickets = Tickets(callers.refresh, lambda: now)
    used, late = tickets.issue(READER), tickets.issue(READER)
    await tickets.redeem(used)
    now = TICKET_SECONDS
    for ticket in (used, late, "unknown"):
        with pytest.raises(UnauthenticatedError, match="half a minute"):
            await tickets.redeem(ticket)


async def test_a_caller_with_many_tickets_evicts_only_its_own(callers: Callers) -> None:
    tickets = Tickets(callers.refresh, lambda: 0.0)
    of_ana = tickets.issue(Principal(owner="ana", credentials=frozenset({OTHER})))
    issued = [tickets.issue(READER) for _ in range(10 * MAX_TICKETS)]
    with pytest.raises(UnauthenticatedError):
        await tickets.redeem(issued[0])
    assert (await tickets.redeem(of_ana)).owner == "ana"
    for ticket in issued[-MAX_TICKETS:]:
        await tickets.redeem(ticket)


async def test_a_right_that_expired_is_asked_for_once_however_long_its_connection_lasts() -> None:
    asked: list[Principal] = []

    async def refresh(principal: Principal) -> Principal:
        asked.append(principal)
        if len(asked) > 1:
            raise GONE
        return principal

    registry = AccessRegistry(refresh, now_ms=lambda: 1000)
    running = asyncio.create_task(registry.run())
    guest = Principal(shared=frozenset({"m1"}), credentials=frozenset({LINK}), expires_at_ms=1000)
    with registry.hold(guest, "m1", allow) as paused:
        await paused.ended
        for _ in range(50):
            await asyncio.sleep(0)
    assert len(asked) == 2
    running.cancel()
