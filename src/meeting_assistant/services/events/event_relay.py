"""Watching a meeting over another server than the one that holds it.

What is durable stands in the database that the servers share: the others are only told that there is something, and
look there every few seconds in any case. Captions and progress go from server to server, and only while somebody
watches; what is lost of them is replaced by the next."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets

from pydantic import TypeAdapter, ValidationError

from meeting_assistant import observability as obs
from meeting_assistant.domain.errors import BrokerError, MeetingAssistantError
from meeting_assistant.domain.events import PassingEvent, is_durable
from meeting_assistant.domain.ports import RelayLink
from meeting_assistant.services.events.meeting_channel import Channels, MeetingChannel, Numbered

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.5
"""How soon watchers elsewhere are noticed."""
LOOKS_BETWEEN_READINGS = 4
MAX_WAITING = 1000
"""Messages that wait for Redis; more are dropped."""

_PASSING: TypeAdapter[PassingEvent] = TypeAdapter(PassingEvent)


class EventRelay:
    """One server's part in it."""

    def __init__(self, link: RelayLink, channels: Channels) -> None:
        self._link = link
        self._channels = channels
        self._self = secrets.token_hex(8)
        self._waiting: asyncio.Queue[tuple[str, str]] = asyncio.Queue(MAX_WAITING)
        self._tasks: list[asyncio.Task[None]] = []
        channels.on_event = self._tell

    def start(self) -> None:
        """Until `close`."""
        self._tasks = [
            asyncio.create_task(self._send(), name="relay-send"),
            asyncio.create_task(self._hear(), name="relay-hear"),
            asyncio.create_task(self._look(), name="relay-look"),
        ]

    async def close(self) -> None:
        """Idempotent."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        await self._link.close()

    def _tell(self, meeting_id: str, event: Numbered) -> None:
        body = None if is_durable(event.body) else event.body.model_dump(mode="json")
        if not self._waiting.full():
            self._waiting.put_nowait((meeting_id, json.dumps({"from": self._self, "event": body})))

    async def _send(self) -> None:
        while True:
            meeting_id, message = await self._waiting.get()
            try:
                await self._link.publish(meeting_id, message)
            except BrokerError:
                continue  # the next one replaces it; what is durable is read from the database

    async def _hear(self) -> None:
        async for meeting_id, message in self._link.heard():
            channel = self._channels.opened(meeting_id)
            if channel is None:
                continue
            try:
                told = json.loads(message)
                if told["from"] == self._self:
                    continue
                if told["event"] is None:
                    await self._catch_up(channel)
                else:
                    channel.show(_PASSING.validate_python(told["event"]), is_foreign=True)
            except (ValueError, KeyError, TypeError, ValidationError):
                logger.warning("Another server runs another version.")

    async def _look(self) -> None:
        looks = 0
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            looks += 1
            channels = self._channels.all()
            watched = {channel.meeting_id for channel in channels if channel.has_watchers}
            try:
                await self._link.watch(watched)
                elsewhere = await self._link.watched_elsewhere([channel.meeting_id for channel in channels])
            except BrokerError as error:
                logger.warning("Redis cannot be reached.", extra=obs.log_fields(code=error.code))
                elsewhere = set()
            for channel in channels:
                channel.is_watched_elsewhere = channel.meeting_id in elsewhere
            if looks % LOOKS_BETWEEN_READINGS == 0:
                for channel in channels:
                    if channel.has_watchers and not self._channels.is_pinned(channel.meeting_id):
                        await self._catch_up(channel)

    async def _catch_up(self, channel: MeetingChannel) -> None:
        try:
            await channel.catch_up()
        except MeetingAssistantError as error:  # deleted, or the database is away: looked at again
            logger.info(
                "A meeting that is watched cannot be read.",
                extra=obs.log_fields(meeting=channel.meeting_id, code=error.code),
            )
