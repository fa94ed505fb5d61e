"""E-mail through a real SMTP server."""

from __future__ import annotations

import email
import email.policy
import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
import vobject
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from meeting_assistant.domain.workflows import DeliveryState
from meeting_assistant.launcher import free_port
from meeting_assistant.testing.harness.outbox import OutboxHarness


class Mailbox:
    """A mailbox that keeps its messages, or answers with a code."""

    def __init__(self) -> None:
        self.messages: list[EmailMessage] = []
        self.recipients: list[list[str]] = []
        self.codes: list[str] = []
        self.refuses: dict[str, str] = {}
        self.farewell = "221 Bye"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        if self.codes:
            return self.codes.pop(0)
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        assert isinstance(message, EmailMessage)
        self.messages.append(message)
        self.recipients.append(list(envelope.rcpt_tos))
        return "250 OK"

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
        if address in self.refuses:
            return self.refuses.pop(address)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_QUIT(self, server: Any, session: Any, envelope: Any) -> str:
        return self.farewell


@pytest.fixture
def mailbox() -> Iterator[tuple[Mailbox, Controller]]:
    box = Mailbox()
    controller = Controller(box, hostname="127.0.0.1", port=free_port())
    controller.start()
    yield box, controller
    controller.stop()


class VanishingMailServer:
    """A mail server that accepts a message and then hangs or cuts the connection without confirming it."""

    def __init__(self, fault: str) -> None:
        self.messages = 0
        self._fault = fault
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._open: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        for one in (self._listening, *self._open):
            one.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                self._open.append(connection)
                self._talk(connection)

    def _talk(self, connection: socket.socket) -> None:
        lines = connection.makefile("rb")
        connection.sendall(b"220 ready\r\n")
        for line in lines:
            if line.upper().startswith(b"DATA"):
                connection.sendall(b"354 go on\r\n")
                while lines.readline() not in (b".\r\n", b""):
                    continue
                self.messages += 1
                if self._fault == "drops":
                    connection.shutdown(socket.SHUT_RDWR)
                return
            connection.sendall(b"250 OK\r\n")


def self_signed(folder: Path) -> tuple[Path, Path]:
    """Return a self-signed certificate for 127.0.0.1, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    now = datetime.now(tz=UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(here, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return paths


def mail_options(controller: Controller | VanishingMailServer, **more: str) -> dict[str, dict[str, str]]:
    return {
        "email": {
            "host": "127.0.0.1",
            "port": str(controller.port),
            "security": "none",
            "sender": "notes@example.org",
            "recipients": "ana@example.org",
            **more,
        }
    }


async def test_minutes_are_mailed_as_text_and_html_with_a_calendar(
    tmp_path: Path, mailbox: tuple[Mailbox, Controller]
) -> None:
    box, controller = mailbox
    options = mail_options(controller, recipients="ana@example.org, ben@example.org")
    async with OutboxHarness(tmp_path, options) as outbox:
        done = await outbox.run()
        assert done.state is DeliveryState.DONE
        assert "handed to" in await outbox.workflows.test("email")
    assert box.recipients == [
        ["ana@example.org"],
        ["ben@example.org"],
        ["ana@example.org", "ben@example.org"],
    ]
    minutes, same, test = box.messages
    assert minutes.as_string().partition("\n\n")[0].count("Message-ID") == 1
    assert (minutes["Message-ID"], minutes["To"]) == (same["Message-ID"], same["To"])
    assert minutes["To"] == "ana@example.org, ben@example.org"
    assert minutes["Subject"] == "Minutes: Weekly & <search>"
    assert done.receipt is not None
    assert minutes["Message-ID"] == done.receipt.reference
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
async def test_a_refusal_by_the_mail_server_is_retried_or_parked(
    tmp_path: Path, mailbox: tuple[Mailbox, Controller], code: str, state: DeliveryState
) -> None:
    box, controller = mailbox
    box.codes.append(code)
    async with OutboxHarness(tmp_path, mail_options(controller)) as outbox:
        first = await outbox.run()
        assert first.state is state
        assert f"SMTP {code[:3]}" in (first.last_error or "")
        if state is DeliveryState.PENDING:
            await outbox.later()
            assert len(box.messages) == 1


async def test_a_refused_recipient_is_retried_and_the_others_get_one_message(
    tmp_path: Path, mailbox: tuple[Mailbox, Controller]
) -> None:
    box, controller = mailbox
    box.refuses["ben@example.org"] = "450 Mailbox busy"
    box.refuses["cleo@example.org"] = "550 No such person"
    options = mail_options(controller, recipients="ana@example.org, ben@example.org, cleo@example.org")
    async with OutboxHarness(tmp_path, options) as outbox:
        meeting_id = (await outbox.run()).meeting_id
        assert [one.state for one in await outbox.of(meeting_id)] == [
            DeliveryState.DONE,
            DeliveryState.PENDING,
            DeliveryState.PARKED,
        ]
        await outbox.later()
        assert (await outbox.of(meeting_id))[1].state is DeliveryState.DONE
    assert box.recipients == [["ana@example.org"], ["ben@example.org"]]


async def test_an_error_after_the_message_was_accepted_is_not_a_failure(
    tmp_path: Path, mailbox: tuple[Mailbox, Controller]
) -> None:
    box, controller = mailbox
    box.farewell = "421 Going down"
    async with OutboxHarness(tmp_path, mail_options(controller)) as outbox:
        assert (await outbox.run()).state is DeliveryState.DONE
        await outbox.later()
    assert len(box.messages) == 1


async def test_a_removed_recipient_gets_no_mail(tmp_path: Path, mailbox: tuple[Mailbox, Controller]) -> None:
    box, controller = mailbox
    async with OutboxHarness(tmp_path, mail_options(controller, recipients="ben@example.org")) as before:
        waiting = await before.meeting()
    async with OutboxHarness(tmp_path, mail_options(controller)) as outbox:
        await outbox.later()
        (parked,) = await outbox.deliveries.of_meeting(waiting)
        assert parked.state is DeliveryState.PARKED
        assert "WORKFLOWS__EMAIL__RECIPIENTS" in (parked.last_error or "")
    assert box.messages == []


@pytest.mark.parametrize("fault", ["hangs", "drops"])
async def test_a_mail_server_that_vanishes_with_the_message_is_tried_once_more_and_then_parked(
    tmp_path: Path, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meeting_assistant.integrations.targets.mail.TIMEOUT_S", 0.5)
    with closing(VanishingMailServer(fault)) as server:
        options = mail_options(server)
        async with OutboxHarness(tmp_path, options) as outbox:
            first = await outbox.run()
            assert (first.state, first.is_uncertain) == (DeliveryState.PENDING, True), first.last_error
            await outbox.later()
            parked = await outbox.deliveries.get(first.id)
            assert parked.state is DeliveryState.PARKED
            assert "It may have arrived" in (parked.last_error or "")
            await outbox.later()
    assert server.messages == 2


async def test_nothing_is_sent_without_the_required_tls(
    tmp_path: Path, mailbox: tuple[Mailbox, Controller]
) -> None:
    box, controller = mailbox
    async with OutboxHarness(tmp_path, mail_options(controller, security="starttls")) as outbox:
        parked = await outbox.run()
        assert parked.state is DeliveryState.PARKED
        assert "WORKFLOWS__EMAIL__SECURITY" in (parked.last_error or "")
    assert box.messages == []


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
async def test_a_wrong_mail_password_is_reported_and_not_shown(tmp_path: Path) -> None:
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
            async with OutboxHarness(folder, options) as outbox:
                delivery = await outbox.run()
                assert delivery.state is state
                assert "wr0ng" not in (delivery.last_error or "")
    finally:
        controller.stop()
    assert len(box.messages) == 1


@pytest.mark.parametrize("is_vouched_for", [True, False])
@pytest.mark.parametrize("security", ["starttls", "tls"])
async def test_mail_over_tls_is_sent_only_to_servers_with_a_trusted_certificate(
    tmp_path: Path, security: str, is_vouched_for: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, key = self_signed(tmp_path)
    if is_vouched_for:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    box = Mailbox()
    how = (
        {"ssl_context": context} if security == "tls" else {"tls_context": context, "require_starttls": True}
    )
    controller = Controller(box, hostname="127.0.0.1", port=free_port(), **how)
    controller.start()
    try:
        async with OutboxHarness(tmp_path, mail_options(controller, security=security)) as outbox:
            delivery = await outbox.run()
    finally:
        controller.stop()
    if is_vouched_for:
        assert (delivery.state, len(box.messages)) == (DeliveryState.DONE, 1)
    else:
        assert (delivery.state, box.messages) == (DeliveryState.PARKED, [])
        assert "certificate" in (delivery.last_error or "")
