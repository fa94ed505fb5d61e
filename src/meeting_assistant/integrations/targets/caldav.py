"""CalDAV (RFC 4791): entries in a calendar of Nextcloud, Radicale, iCloud, Fastmail…

An entry's name is its UID, and it is only put where there is none (`If-None-Match: *`, section 5.3.2): a second attempt
finds it there, and what somebody changed in it is never overwritten.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from pydantic import SecretStr

from meeting_assistant.domain.workflows import Action, Delivery, Description, MeetingOutcome, Receipt
from meeting_assistant.integrations.delivery.calendar_events import entries_of, to_ics
from meeting_assistant.integrations.delivery.http import HttpTarget
from meeting_assistant.integrations.options import Address, IntegrationOptions

IS_THERE = 412


class CaldavOptions(IntegrationOptions):
    """A calendar and who may write to it."""

    url: Address
    """Of the calendar itself: `https://cloud.example.org/remote.php/dav/calendars/ana/meetings`."""
    username: str = ""
    """Who writes."""
    password: SecretStr = SecretStr("")
    """An app password where there are such."""


class CaldavIntegration:
    """Implements `Integration`."""

    name = "caldav"
    Options = CaldavOptions

    def __init__(self, options: CaldavOptions) -> None:
        self._url = options.url.rstrip("/")
        password = options.password.get_secret_value()
        auth = (options.username, password) if options.username else None
        self._http = HttpTarget("The calendar", auth=auth)

    def describe(self) -> Description:
        """Host and path of the calendar."""
        parts = urlsplit(self._url)
        target = f"{(parts.hostname or '')}{parts.path}"
        return Description("Calendar (CalDAV)", target, is_exactly_once=True, parallel=2)

    def plan(self, outcome: MeetingOutcome) -> list[Action]:
        """Plan one entry for each due day and each meeting that was agreed."""
        return [
            Action(
                key=entry.key,
                title=f"{entry.title} — {entry.day:%d %B %Y}" + (f", {entry.at:%H:%M}" if entry.at else ""),
                payload={"uid": entry.uid, "ics": to_ics([entry]).decode()},
            )
            for entry in entries_of(outcome)
        ]

    async def deliver(self, delivery: Delivery) -> Receipt:
        """Puts the entry where there is none."""
        uid, ics = delivery.action.payload["uid"], delivery.action.payload["ics"]
        await self._http.send(
            "PUT",
            f"{self._url}/{uid}.ics",
            content=str(ics).encode(),
            headers={"Content-Type": "text/calendar; charset=utf-8", "If-None-Match": "*"},
            accept=frozenset({IS_THERE}),
        )
        return Receipt(reference=str(uid))

    async def test(self) -> str:
        """Asks whether it is a calendar."""
        body = (
            b'<?xml version="1.0" encoding="utf-8"?>'
            b'<d:propfind xmlns:d="DAV:"><d:prop><d:resourcetype/></d:prop></d:propfind>'
        )
        headers = {"Depth": "0", "Content-Type": "application/xml; charset=utf-8"}
        answer = await self._http.send("PROPFIND", f"{self._url}/", content=body, headers=headers)
        if answer.status != 207 or "calendar" not in answer.text:
            raise self._http.bad_answer("this is no calendar")
        return "The calendar is there; a test puts nothing into it."

    async def close(self) -> None:
        """Close all connections; idempotent."""
        await self._http.close()
