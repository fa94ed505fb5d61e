"""E-mail through a real SMTP server, calendar entries into a real CalDAV server."""

from __future__ import annotations

import email
import email.policy
import ssl
import threading
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import httpx
import pytest
import radicale.config
import vobject
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

from meeting_assistant.domain.errors import DeliveryError
from meeting_assistant.domain.workflows import DeliveryState
from meeting_assistant.testing.after_meeting import AfterMeeting
from meeting_assistant.testing.server import free_port

# --- SMTP -------------------------------------------------------------------------------------------------


class Mailbox:
    """Keeps what it is given, or answers with a code."""

    def __init__(self) -> None:
        self.messages: list[EmailMessage] = []
        self.codes: list[str] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        if self.codes:
            return self.codes.pop(0)
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        assert isinstance(message, EmailMessage)
        self.messages.append(message)
        return "250 OK"


@pytest.fixture
def mailbox() -> Iterator[tuple[Mailbox, Controller]]:
    box = Mailbox()
    controller = Controller(box, hostname="127.0.0.1", port=free_port())
    controller.start()
    yield box, controller
    controller.stop()


def mail_options(controller: Controller, **more: str) -> dict[str, dict[str, str]]:
    return {
        "email": {
            "host": "127.0.0.1",
            "port": str(controller.port),
            "security": "none",
            "sender": "notes@example.org",
            "recipients": "ana@example.org, ben@example.org",
            **more,
        }
    }


async def test_minutes_come_as_text_as_html_and_with_a_calendar(
    tmp_path: Path, mailbox: tuple[Mailbox, Controller]
) -> None:
    box, controller = mailbox
    async with AfterMeeting(tmp_path, mail_options(controller)) as after:
        done = await after.run()
        assert done.state is DeliveryState.DONE
        assert "handed to" in await after.workflows.test("email")
    minutes, test = box.messages
    assert minutes["To"] == "ana@example.org, ben@example.org"
    assert minutes["Subject"] == "Minutes: Weekly & <search>"
    assert minutes["Message-ID"] == f"<{done.id}@example.org>"
    text, html = minutes.get_body(("plain",)), minutes.get_body(("html",))
    assert text is not None
    assert html is not None
    assert "- Send the release notes. (Ben, by Friday (27 November 2026))" in text.get_content()
    assert "<script>" not in html.get_content()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html.get_content()
    (calendar,) = minutes.iter_attachments()
    assert calendar.get_content_type() == "text/calendar"
    assert len(vobject.readOne(calendar.get_content()).vevent_list) == 2
    assert test["Subject"] == "Test of Meeting Assistant"


@pytest.mark.parametrize(
    ("code", "state"),
    [("451 Try later", DeliveryState.PENDING), ("554 No", DeliveryState.PARKED)],
)
async def test_a_mail_server_that_says_no(
    tmp_path: Path, mailbox: tuple[Mailbox, Controller], code: str, state: DeliveryState
) -> None:
    box, controller = mailbox
    box.codes.append(code)
    async with AfterMeeting(tmp_path, mail_options(controller)) as after:
        first = await after.run()
        assert first.state is state
        assert f"SMTP {code[:3]}" in (first.last_error or "")
        if state is DeliveryState.PENDING:
            await after.later()
            assert len(box.messages) == 1


async def test_without_tls_where_it_is_asked_for_nothing_is_sent(
    tmp_path: Path, mailbox: tuple[Mailbox, Controller]
) -> None:
    box, controller = mailbox
    async with AfterMeeting(tmp_path, mail_options(controller, security="starttls")) as after:
        parked = await after.run()
        assert parked.state is DeliveryState.PARKED
        assert "WORKFLOWS__EMAIL__SECURITY" in (parked.last_error or "")
    assert box.messages == []


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
async def test_a_wrong_password_is_said_and_not_shown(tmp_path: Path) -> None:
    def check(*args: Any) -> AuthResult:
        given = args[4]
        assert isinstance(given, LoginPassword)
        return AuthResult(success=given.password == b"right", handled=False)

    box = Mailbox()
    controller = Controller(
        box,
        hostname="127.0.0.1",
        port=free_port(),
        authenticator=check,
        auth_require_tls=False,
        auth_required=True,
    )
    controller.start()
    try:
        for password, state in (("wr0ng-password", DeliveryState.PARKED), ("right", DeliveryState.DONE)):
            folder = tmp_path / password
            folder.mkdir()
            options = mail_options(controller, username="notes", password=password)
            async with AfterMeeting(folder, options) as after:
                delivery = await after.run()
                assert delivery.state is state
                assert "wr0ng" not in (delivery.last_error or "")
    finally:
        controller.stop()
    assert len(box.messages) == 1


async def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    assert ssl.create_default_context().verify_mode is ssl.CERT_REQUIRED
    controller = Controller(Mailbox(), hostname="127.0.0.1", port=free_port())
    controller.start()
    try:
        async with AfterMeeting(tmp_path, mail_options(controller, security="tls")) as after:
            assert (await after.run()).state is not DeliveryState.DONE
    finally:
        controller.stop()


# --- CalDAV -----------------------------------------------------------------------------------------------


class _Quiet(WSGIRequestHandler):
    def log_message(self, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def calendars(tmp_path: Path) -> Iterator[str]:
    """Radicale with a calendar of Ana's; its address."""
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


async def test_entries_are_put_into_a_calendar_once_and_never_over_a_change(
    tmp_path: Path, calendars: str
) -> None:
    options = {"caldav": {"url": calendars, "username": "ana", "password": "secret"}}
    async with AfterMeeting(tmp_path, options) as after:
        meeting_id = await after.meeting()
        await after.dispatcher.deliver_all()
        due, again = await after.of(meeting_id)
        assert (due.state, again.state) == (DeliveryState.DONE, DeliveryState.DONE)
        assert "calendar is there" in await after.workflows.test("caldav")
        async with httpx.AsyncClient(auth=("ana", "secret")) as ana:
            stored = vobject.readOne((await ana.get(f"{calendars}/")).text)
            summaries = {event.summary.value for event in stored.vevent_list}
            assert summaries == {"Due: Ben: Send the release notes.", "Follow-up: Weekly & <search>"}
            assert due.receipt is not None
            entry = f"{calendars}/{due.receipt.reference}.ics"
            changed = (await ana.get(entry)).text.replace("Due: Ben", "Due: Cleo")
            await ana.put(entry, content=changed, headers={"Content-Type": "text/calendar"})
            await after.integrations["caldav"].deliver(due)
            assert "Due: Cleo" in (await ana.get(entry)).text


async def test_a_wrong_password_or_place_is_said(tmp_path: Path, calendars: str) -> None:
    options = {"caldav": {"url": calendars, "username": "ana", "password": "wrong"}}
    async with AfterMeeting(tmp_path, options) as after:
        parked = await after.run()
        assert parked.state is DeliveryState.PARKED
        assert "refused who we are" in (parked.last_error or "")
        with pytest.raises(DeliveryError):
            await after.workflows.test("caldav")
