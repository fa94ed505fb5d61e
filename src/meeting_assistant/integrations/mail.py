"""E-mail by SMTP: the minutes as text and as HTML, with due days as a calendar file.

The `Message-ID` is the delivery's id, so that mail programs can tell a second copy; SMTP itself cannot: an attempt
that is cut short after the message was handed over may arrive twice.
"""

from __future__ import annotations

import asyncio
import smtplib
import ssl
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime
from html import escape
from typing import Annotated, Literal

from pydantic import Field, SecretStr, StringConstraints, field_validator

from meeting_assistant.domain.errors import DeliveryError
from meeting_assistant.domain.workflows import Action, Delivery, Description, MeetingOutcome, Receipt
from meeting_assistant.integrations.calendar_events import entries_of, to_ics
from meeting_assistant.integrations.options import IntegrationOptions, Texts
from meeting_assistant.integrations.texts import Part, cut, headline, one_line, parts_of

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
        """Who gets it."""
        return Description("E-mail", ", ".join(self._options.recipients))

    def plan(self, outcome: MeetingOutcome) -> list[Action]:
        """One message to all."""
        if not outcome.has_something_to_tell:
            return []
        parts, entries = parts_of(outcome), entries_of(outcome)
        subject = cut(f"Minutes: {outcome.title}", MAX_SUBJECT)
        return [
            Action(
                key="minutes",
                title=f"Minutes to {', '.join(self._options.recipients)}",
                payload={
                    "subject": one_line(subject),
                    "text": _text(outcome, parts),
                    "html": _html(outcome, parts),
                    "ics": to_ics(entries, outcome.title).decode() if entries else None,
                },
            )
        ]

    async def deliver(self, delivery: Delivery) -> Receipt:
        """Hands it to the server."""
        payload = delivery.action.payload
        message = self._message(str(payload["subject"]), str(payload["text"]), delivery.id)
        message.add_alternative(str(payload["html"]), subtype="html")
        if payload.get("ics"):
            ics = str(payload["ics"]).encode()
            message.add_attachment(ics, maintype="text", subtype="calendar", filename="due-dates.ics")
        await self._send(message)
        return Receipt(reference=str(message["Message-ID"]))

    async def test(self) -> str:
        """Sends a line to the recipients."""
        await self._send(
            self._message("Test of Meeting Assistant", "Meeting Assistant can write to you.", None)
        )
        return f"A line was handed to {self._options.host}."

    async def close(self) -> None:
        """Nothing is held."""

    def _message(self, subject: str, text: str, delivery_id: str | None) -> EmailMessage:
        from datetime import UTC, datetime
        from email.utils import make_msgid

        domain = self._options.sender.rpartition("@")[2]
        message = EmailMessage()
        message["Subject"] = subject
        message["From"] = Address("Meeting Assistant", addr_spec=self._options.sender)
        message["To"] = tuple(Address(addr_spec=recipient) for recipient in self._options.recipients)
        message["Date"] = format_datetime(datetime.now(tz=UTC))
        message["Message-ID"] = f"<{delivery_id}@{domain}>" if delivery_id else make_msgid(domain=domain)
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(text)
        return message

    async def _send(self, message: EmailMessage) -> None:
        await asyncio.to_thread(self._send_now, message)

    def _send_now(self, message: EmailMessage) -> None:
        is_handed_over = False
        try:
            with self._connect() as server:
                if self._options.username:
                    server.login(self._options.username, self._options.password.get_secret_value())
                is_handed_over = True
                server.send_message(message)
        except smtplib.SMTPAuthenticationError as error:
            raise _error("refused the name or the password", "delivery_auth", "Check them.") from error
        except smtplib.SMTPNotSupportedError as error:
            raise _error(
                "does not know what is asked of it", "delivery_rejected", "Check WORKFLOWS__EMAIL__SECURITY."
            ) from error
        except smtplib.SMTPRecipientsRefused as error:
            codes = [code for code, _ in error.recipients.values()]
            raise _by_code("refused every recipient", max(codes, default=550)) from error
        except smtplib.SMTPResponseException as error:
            raise _by_code("refused the message", int(error.smtp_code)) from error
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

    def _connect(self) -> smtplib.SMTP:
        options = self._options
        context = ssl.create_default_context()
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


def _text(outcome: MeetingOutcome, parts: list[Part]) -> str:
    lines = [one_line(outcome.title), headline(outcome), outcome.link, ""]
    for part in parts:
        lines += [part.title.upper()]
        lines += [f"- {line.text}" + (f" ({line.detail})" if line.detail else "") for line in part.lines]
        lines.append("")
    return "\n".join(lines)


def _html(outcome: MeetingOutcome, parts: list[Part]) -> str:
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
