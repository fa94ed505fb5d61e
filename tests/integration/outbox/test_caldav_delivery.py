"""Calendar entries in a real CalDAV server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import httpx
import pytest
import radicale.config
import vobject

from meeting_assistant.domain.errors import DeliveryError
from meeting_assistant.domain.workflows import DeliveryState
from meeting_assistant.testing.harness.outbox import OutboxHarness


class _Quiet(WSGIRequestHandler):
    def log_message(self, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def calendars(tmp_path: Path) -> Iterator[str]:
    """Start Radicale with a calendar of Ana; return its address."""
    from radicale import Application

    users = tmp_path / "users"
    users.write_text("ana:secret\n")
    configuration = radicale.config.load()
    configuration.update(
        {
            "auth": {
                "type": "htpasswd",
                "htpasswd_filename": str(users),
                "htpasswd_encryption": "plain",
                "delay": "0",
            },
            "storage": {"filesystem_folder": str(tmp_path / "collections")},
            "logging": {"level": "critical"},
        },
        "test",
        privileged=True,
    )
    server: WSGIServer = make_server("127.0.0.1", 0, Application(configuration), handler_class=_Quiet)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/ana/meetings"
    made = httpx.request("MKCALENDAR", f"{url}/", auth=("ana", "secret"))
    assert made.status_code == 201
    yield url
    server.shutdown()
    server.server_close()


async def test_calendar_entries_are_created_once_and_never_overwrite_a_change(
    tmp_path: Path, calendars: str
) -> None:
    options = {"caldav": {"url": calendars, "username": "ana", "password": "secret"}}
    async with OutboxHarness(tmp_path, options) as outbox:
        meeting_id = await outbox.meeting()
        await outbox.deliver_all()
        due, again = await outbox.of(meeting_id)
        assert (due.state, again.state) == (DeliveryState.DONE, DeliveryState.DONE)
        assert "calendar is there" in await outbox.workflows.test("caldav")
        async with httpx.AsyncClient(auth=("ana", "secret")) as ana:
            stored = vobject.readOne((await ana.get(f"{calendars}/")).text)
            summaries = {event.summary.value for event in stored.vevent_list}
            assert summaries == {"Due: Ben: Send the release notes.", "Follow-up: Weekly & <search>"}
            assert due.receipt is not None
            entry = f"{calendars}/{due.receipt.reference}.ics"
            changed = (await ana.get(entry)).text.replace("Due: Ben", "Due: Cleo")
            await ana.put(entry, content=changed, headers={"Content-Type": "text/calendar"})
            await outbox.integrations["caldav"].deliver(due)
            assert "Due: Cleo" in (await ana.get(entry)).text


async def test_a_wrong_calendar_password_is_reported(tmp_path: Path, calendars: str) -> None:
    options = {"caldav": {"url": calendars, "username": "ana", "password": "wrong"}}
    async with OutboxHarness(tmp_path, options) as outbox:
        parked = await outbox.run()
        assert parked.state is DeliveryState.PARKED
        assert "refused who we are" in (parked.last_error or "")
        with pytest.raises(DeliveryError):
            await outbox.workflows.test("caldav")
