"""Browser sessions in both databases: rotation, expiry, sign-out, and what another server learns of it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from functools import partial

import pytest

from meeting_assistant.adapters.storage.sql.access_changes import read_access_changes
from meeting_assistant.adapters.storage.sql.browser_sessions import SqlBrowserSessions
from meeting_assistant.adapters.storage.sql.database import Database
from meeting_assistant.adapters.storage.sql.meeting_store import SqlMeetingStore
from meeting_assistant.adapters.storage.sql.shares import SqlShareStore
from meeting_assistant.bootstrap.token_reload import reload_on_hangup, reload_tokens
from meeting_assistant.domain.access import Scope, TokenGrant, token_digest
from meeting_assistant.domain.errors import ConflictError, UnauthenticatedError
from meeting_assistant.domain.meeting import Meeting, MeetingState
from meeting_assistant.services.admin import access_service
from meeting_assistant.services.admin.access_service import SESSION_MS, AccessService

MEETING = Meeting(
    id="01890a5d-ac96-774b-bcce-b302099a8057",
    title="",
    state=MeetingState.DONE,
    source="live",
    created_at_ms=0,
)
ANA, BEN = "ana-token-of-enough-length", "ben-token-of-enough-length"


def grant(owner: str, token: str) -> TokenGrant:
    return TokenGrant(owner, frozenset({Scope.READ, Scope.RECORD}), token_digest(token))


class Server:
    """What one server knows of access; the time is set by hand."""

    def __init__(self, database: Database, *, is_open: bool = False) -> None:
        self.now_ms = 1_000_000
        self.database = database
        self.store = SqlMeetingStore(database)
        self.access = AccessService(
            [] if is_open else [grant("ana", ANA), grant("ben", BEN)],
            meetings=self.store,
            shares=SqlShareStore(database),
            browser_sessions=SqlBrowserSessions(database),
            read_changes=partial(read_access_changes, database),
            now_ms=lambda: self.now_ms,
        )

    async def owner_of(self, secret: str) -> str | None:
        try:
            return (await self.access.identify([secret])).owner
        except UnauthenticatedError:
            return None


@pytest.fixture
async def server(database_url: str) -> AsyncIterator[Server]:
    database = Database(database_url)
    made = Server(database)
    await made.store.open()
    await made.store.create(MEETING)
    yield made
    await made.store.close()


async def test_signing_in_again_rotates_the_session_and_signing_out_ends_it(server: Server) -> None:
    _, first = await server.access.sign_in(ANA)
    assert await server.owner_of(first) == "ana"
    _, second = await server.access.sign_in(ANA, first)
    assert await server.owner_of(first) is None
    _, of_ben = await server.access.sign_in(BEN, second)
    assert await server.owner_of(of_ben) == "ben"
    await server.access.sign_out(of_ben)
    await server.access.sign_out(of_ben)
    assert await server.owner_of(of_ben) is None
    with pytest.raises(UnauthenticatedError):
        await server.access.sign_in(of_ben)


async def test_a_browser_session_ends_with_its_expiry_its_token_or_its_link(server: Server) -> None:
    share, link = await server.access.share(MEETING.id, hours=1)
    _, secret = await server.access.sign_in(link)
    principal, secret = await server.access.sign_in(ANA, secret)
    assert (principal.owner, principal.shared) == ("ana", frozenset({MEETING.id}))
    assert (await server.access.identify([secret])).expires_at_ms == share.expires_at_ms
    server.now_ms = share.expires_at_ms
    assert (await server.access.identify([secret])).shared == frozenset()
    server.access.replace_grants([grant("ben", BEN)])
    assert await server.owner_of(secret) is None
    server.access.replace_grants([grant("ana", ANA)])
    assert await server.owner_of(secret) == "ana"
    server.now_ms += SESSION_MS
    assert await server.owner_of(secret) is None


async def test_tokens_can_be_changed_but_not_removed_while_a_server_runs(server: Server) -> None:
    with pytest.raises(ValueError, match="abolished"):
        server.access.replace_grants([])


async def test_sockets_and_tickets_of_a_replaced_session_stay_and_gain_nothing(server: Server) -> None:
    """Otherwise whoever plants the cookie of a session of theirs would get what its next user may do."""
    _, link = await server.access.share(MEETING.id, hours=1)
    _, planted = await server.access.sign_in(link)
    before = await server.access.identify([planted])
    ticket = server.access.tickets.issue(before)
    _, own = await server.access.sign_in(ANA, planted)
    assert await server.owner_of(planted) is None
    assert await server.access.refresh(before) == before
    assert (await server.access.tickets.redeem(ticket)).owner == ""
    await server.access.sign_out(own)
    with pytest.raises(UnauthenticatedError):
        await server.access.refresh(before)


async def test_tokens_are_reloaded_from_the_settings(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("API_TOKENS", f"ben:{BEN}")
    reload_tokens(server.access)
    assert (await server.owner_of(ANA), await server.owner_of(BEN)) == (None, "ben")
    for wrong in ("", "no-colon"):
        monkeypatch.setenv("API_TOKENS", wrong)
        reload_tokens(server.access)
    assert await server.owner_of(BEN) == "ben"
    assert caplog.text.count("the old tokens stay") == 2


async def test_a_server_without_tokens_ends_with_its_terminal(server: Server) -> None:
    loop, hangup = asyncio.get_running_loop(), signal.SIGHUP
    reload_on_hangup(Server(server.database, is_open=True).access)
    assert not loop.remove_signal_handler(hangup)
    reload_on_hangup(server.access)
    assert loop.remove_signal_handler(hangup)


async def test_browser_sessions_of_a_token_are_bounded(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access_service, "MAX_SESSIONS", 2)
    before = await read_access_changes(server.database)
    secrets = [(await server.access.sign_in(ANA))[1] for _ in range(3)]
    assert await read_access_changes(server.database) == before + 1
    _, of_ben = await server.access.sign_in(BEN)
    assert [await server.owner_of(secret) for secret in (*secrets, of_ben)] == [None, "ana", "ana", "ben"]


async def test_a_browser_that_signs_in_again_and_again_signs_no_other_one_out(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access_service, "MAX_SESSIONS", 3)
    _, link = await server.access.share(MEETING.id, hours=1)
    _, other = await server.access.sign_in(link)
    _, restless = await server.access.sign_in(link)
    for _ in range(4):
        _, restless = await server.access.sign_in(link, restless)
    assert [await server.owner_of(secret) for secret in (other, restless)] == ["", ""]


async def test_the_number_of_share_links_is_bounded(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_service, "MAX_SHARES", 1)
    share, _ = await server.access.share(MEETING.id, hours=1)
    with pytest.raises(ConflictError):
        await server.access.share(MEETING.id, hours=1)
    server.now_ms = share.expires_at_ms
    await server.access.share(MEETING.id, hours=1)


async def test_other_servers_notice_every_right_that_ends(server: Server, database_url: str) -> None:
    database = Database(database_url)
    other = Server(database)
    before = await read_access_changes(database)
    share, link = await server.access.share(MEETING.id, hours=1)
    _, secret = await other.access.sign_in(link)
    assert await read_access_changes(database) == before
    await server.access.withdraw(MEETING.id, share.id)
    assert await other.owner_of(secret) is None
    await server.access.sign_out(secret)
    await server.store.delete(MEETING.id)
    assert await read_access_changes(database) == before + 3
    await other.store.close()
