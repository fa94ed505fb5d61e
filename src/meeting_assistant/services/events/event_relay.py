"""Watching a meeting through another server than the one that records it.

Durable events are in the database that the servers share: the relay only announces them, and each server also polls
the database every two seconds. Captions and progress go from server to server while a client watches; one that is
lost is replaced by the next.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets

from pydantic import TypeAdapter, ValidationError

from meeting_assistant import observability as obs
from meeting_assistant.domain.errors import BrokerError, MeetingAssistantError
from meeting_assistant.domain.events import TransientEvent, is_durable
from meeting_assistant.domain.ports import RelayLink
from meeting_assistant.services.events.meeting_channel import Channels, MeetingChannel, SequencedEvent

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.5
"""How soon watchers on other servers are noticed."""
LOOKS_BETWEEN_READINGS = 4
MAX_WAITING = 1000
"""Messages that may wait for Redis; more are dropped."""

_PASSING: TypeAdapter[TransientEvent] = TypeAdapter(TransientEvent)


class EventRelay:
    """Exchanges events of meetings with the other servers."""

    def __init__(self, link: RelayLink, channels: Channels) -> None:
        self._link = link
        self._channels = channels
        self._self = secrets.token_hex(8)
        self._waiting: asyncio.Queue[tuple[str, str]] = asyncio.Queue(MAX_WAITING)
        self._tasks: list[asyncio.Task[None]] = []
        channels.on_event = self._enqueue

    def start(self) -> None:
        """Start to exchange events; runs until `close`."""
        self._tasks = [
            asyncio.create_task(self._send(), name="relay-send"),
            asyncio.create_task(self._receive(), name="relay-receive"),
            asyncio.create_task(self._look(), name="relay-look"),
        ]

    async def close(self) -> None:
        """Stop, and close the link. Idempotent."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        await self._link.close()

    def _enqueue(self, meeting_id: str, event: SequencedEvent) -> None:
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

    async def _receive(self) -> None:
        async for meeting_id, message in self._link.heard():
            channel = self._channels.opened(meeting_id)
            if channel is None:
                continue
            try:
                received = json.loads(message)
                if received["from"] == self._self:
                    continue
                if received["event"] is None:
                    await self._catch_up(channel)
                else:
                    channel.broadcast(_PASSING.validate_python(received["event"]), is_relayed=True)
            except (ValueError, KeyError, TypeError, ValidationError):
                logger.warning("Received an event of an incompatible version from another server.")

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
                logger.warning(
                    "Failed to reach Redis for the event relay.", extra=obs.log_fields(code=error.code)
                )
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
                "Failed to read a watched meeting.",
                extra=obs.log_fields(meeting=channel.meeting_id, code=error.code),
            )
