"""E-mail by SMTP: the minutes as text and as HTML, with due days as a calendar file.

Each recipient is a delivery of its own, for a server may take one and refuse another; all get the same message. Its
`Message-ID` comes from the meeting's id, so that mail programs can tell a second copy; SMTP itself cannot: an attempt
that is cut short after the message was handed over may arrive twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import smtplib
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime
from html import escape
from typing import Annotated, Literal
from uuid import uuid4

from pydantic import Field, JsonValue, SecretStr, StringConstraints, field_validator

from meeting_assistant.domain.errors import DeliveryError
from meeting_assistant.domain.text import one_line
from meeting_assistant.domain.workflows import (
    Action,
    Delivery,
    Description,
    MeetingOutcome,
    Receipt,
    delivery_id,
)
from meeting_assistant.integrations.delivery.calendar_events import entries_of, to_ics
from meeting_assistant.integrations.delivery.texts import MinutesSection, cut, headline, sections_of
from meeting_assistant.integrations.options import IntegrationOptions, Texts
from meeting_assistant.net.failures import tls_problem
from meeting_assistant.net.http import trusted_certificates

TIMEOUT_S = 30.0
MAX_SUBJECT = 150


class MailOptions(IntegrationOptions):
    """A server, a sender and who gets the minutes."""

    host: str = Field(min_length=1, max_length=255)
    """Of the SMTP server."""
    port: Annotated[int, Field(ge=1, le=65535)] = 587
    """587 for STARTTLS, 465 for TLS from the start."""
    security: Literal["starttls", "tls", "none"] = "starttls"
    """`none` only for a server on this machine or in a network that is trusted."""
    username: str = ""
    """To sign in with, if the server asks for it."""
    password: SecretStr = SecretStr("")
    """To sign in with."""
    sender: Annotated[str, StringConstraints(pattern=r"^[^@\s<>,]+@[^@\s<>,]+$")]
    """Address that the mail comes from."""
    recipients: Texts = Field(min_length=1)
    """Addresses, comma separated. Who gets minutes is said here, never in a meeting."""

    @field_validator("recipients")
    @classmethod
    def _are_addresses(cls, recipients: tuple[str, ...]) -> tuple[str, ...]:
        if any(not _is_address(recipient) for recipient in recipients):
            raise ValueError("addresses such as ana@example.org, comma separated, are needed")
        return recipients


def _is_address(text: str) -> bool:
    try:
        return bool(Address(addr_spec=text).domain)
    except (ValueError, IndexError):
        return False


class MailIntegration:
    """Implements `Integration`."""

    name = "email"
    Options = MailOptions

    def __init__(self, options: MailOptions) -> None:
        self._options = options

    def describe(self) -> Description:
        """Return a description that names the recipients."""
        return Description("E-mail", ", ".join(self._options.recipients))

    def plan(self, outcome: MeetingOutcome) -> list[Action]:
        """Plan one message for each recipient; none when there is nothing to tell."""
        if not outcome.has_something_to_tell:
            return []
        parts, entries = sections_of(outcome), entries_of(outcome)
        message: dict[str, JsonValue] = {
            "message_id": self._message_id(delivery_id(outcome.meeting.id, self.name, "minutes")),
            "from": self._options.sender,
            "to": list(self._options.recipients),
            "subject": one_line(cut(f"Minutes: {outcome.title}", MAX_SUBJECT)),
            "text": _text(outcome, parts),
            "html": _html(outcome, parts),
            "ics": to_ics(entries, outcome.title).decode() if entries else None,
        }
        return [
            Action(
                key=f"minutes-{hashlib.sha256(recipient.encode()).hexdigest()[:16]}",
                title=f"Minutes to {recipient}",
                payload={"recipient": recipient, **message},
            )
            for recipient in self._options.recipients
        ]

    async def deliver(self, delivery: Delivery) -> Receipt:
        """Hands it to the server."""
        payload = delivery.action.payload
        # Planned by a version that wrote to all at once, when it names nobody.
        recipients = [str(payload["recipient"])] if "recipient" in payload else self._options.recipients
        if not set(recipients) <= set(self._options.recipients):
            raise DeliveryError(
                "This address is not among WORKFLOWS__EMAIL__RECIPIENTS any more.",
                "Put it back and try again, or dismiss this.",
                code="delivery_missing",
            )
        message_id = str(payload.get("message_id") or self._message_id(delivery.id))
        message = self._message(str(payload["subject"]), str(payload["text"]), message_id)
        message.add_alternative(str(payload["html"]), subtype="html")
        if payload.get("ics"):
            ics = str(payload["ics"]).encode()
            message.add_attachment(ics, maintype="text", subtype="calendar", filename="due-dates.ics")
        await self._send(message, recipients)
        return Receipt(reference=str(message["Message-ID"]))

    async def test(self) -> str:
        """Sends a line to the recipients."""
        message = self._message(
            "Test of Meeting Assistant", "Meeting Assistant can write to you.", self._message_id(str(uuid4()))
        )
        await self._send(message, self._options.recipients)
        return f"A line was handed to {self._options.host}."

    async def close(self) -> None:
        """Do nothing: no resources are held."""

    def _message_id(self, unique: str) -> str:
        return f"<{unique}@{self._options.sender.rpartition('@')[2]}>"

    def _message(self, subject: str, text: str, message_id: str) -> EmailMessage:
        message = EmailMessage()
        message["Subject"] = subject
        message["From"] = Address("Meeting Assistant", addr_spec=self._options.sender)
        message["To"] = tuple(Address(addr_spec=recipient) for recipient in self._options.recipients)
        message["Date"] = format_datetime(datetime.now(tz=UTC))
        message["Message-ID"] = message_id
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(text)
        return message

    async def _send(self, message: EmailMessage, recipients: Sequence[str]) -> None:
        await asyncio.to_thread(self._send_now, message, recipients)

    def _send_now(self, message: EmailMessage, recipients: Sequence[str]) -> None:
        is_handed_over = False
        refused: object = None
        try:
            with contextlib.closing(self._connect()) as server:
                if self._options.username:
                    server.login(self._options.username, self._options.password.get_secret_value())
                is_handed_over = True
                refused = server.send_message(message, to_addrs=recipients)
                # What the server says to the farewell changes nothing: the message is its own by now.
                with contextlib.suppress(OSError, smtplib.SMTPException):
                    server.quit()
        except smtplib.SMTPAuthenticationError as error:
            raise _error("refused the name or the password", "delivery_auth", "Check them.") from error
        except smtplib.SMTPNotSupportedError as error:
            raise _error(
                "does not know what is asked of it", "delivery_rejected", "Check WORKFLOWS__EMAIL__SECURITY."
            ) from error
        except smtplib.SMTPRecipientsRefused as error:
            codes = [code for code, _ in error.recipients.values()]
            raise _by_code("refused a recipient", max(codes, default=550)) from error
        except smtplib.SMTPResponseException as error:
            raise _by_code("refused the message", int(error.smtp_code)) from error
        except ssl.SSLCertVerificationError as error:
            problem = tls_problem(error)
            raise _error(problem.cause, "delivery_rejected", problem.remedy) from error
        except ssl.SSLError as error:
            raise _error(
                "cannot be spoken to safely",
                "delivery_rejected",
                "Check its name and certificate, and WORKFLOWS__EMAIL__SECURITY.",
            ) from error
        except (OSError, smtplib.SMTPException) as error:
            raise DeliveryError(
                "The mail server cannot be reached, or hung up.",
                "Check WORKFLOWS__EMAIL__HOST and __PORT.",
                code="delivery_unreachable",
                retryable=True,
                is_uncertain=is_handed_over,
            ) from error
        if refused:  # only when it went to several at once
            raise _error(
                "took the message for some recipients and refused others",
                "delivery_rejected",
                "Check the addresses. A second attempt goes to all of them.",
            )

    def _connect(self) -> smtplib.SMTP:
        options = self._options
        context = trusted_certificates()
        if options.security == "tls":
            return smtplib.SMTP_SSL(options.host, options.port, timeout=TIMEOUT_S, context=context)
        server = smtplib.SMTP(options.host, options.port, timeout=TIMEOUT_S)
        try:
            if options.security == "starttls":
                server.starttls(context=context)
        except BaseException:
            server.close()
            raise
        return server


def _by_code(what: str, code: int) -> DeliveryError:
    """4xx may pass, 5xx does not (RFC 5321)."""
    passing = 400 <= code < 500
    return DeliveryError(
        f"The mail server {what} (SMTP {code}).",
        "It is tried again." if passing else "Check sender and recipients.",
        code="delivery_server_error" if passing else "delivery_rejected",
        retryable=passing,
    )


def _error(what: str, code: str, remedy: str) -> DeliveryError:
    return DeliveryError(f"The mail server {what}.", remedy, code=code)


def _text(outcome: MeetingOutcome, parts: list[MinutesSection]) -> str:
    lines = [one_line(outcome.title), headline(outcome), outcome.link, ""]
    for part in parts:
        lines += [part.title.upper()]
        lines += [f"- {line.text}" + (f" ({line.detail})" if line.detail else "") for line in part.lines]
        lines.append("")
    return "\n".join(lines)


def _html(outcome: MeetingOutcome, parts: list[MinutesSection]) -> str:
    pieces = [
        '<div style="font-family: sans-serif; max-width: 40rem; line-height: 1.5">',
        f"<h1 style='font-size: 1.25rem'>{escape(one_line(outcome.title))}</h1>",
        f"<p style='color: #666'>{escape(headline(outcome))} · ",
        f'<a href="{escape(outcome.link)}">Transcript and evidence</a></p>',
    ]
    for part in parts:
        pieces.append(f"<h2 style='font-size: 1rem'>{escape(part.title)}</h2><ul>")
        for line in part.lines:
            detail = f" — <strong>{escape(line.detail)}</strong>" if line.detail else ""
            pieces.append(f'<li>{escape(line.text)}{detail} <a href="{escape(line.link)}">▸</a></li>')
        pieces.append("</ul>")
    return "\n".join([*pieces, "</div>"])
