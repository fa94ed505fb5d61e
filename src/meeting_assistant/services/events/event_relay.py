"""Watching a meeting through another server than the one that records it.

Durable events are in the database that the servers share: the relay only announces them, and each server also polls
the database every two seconds. Captions and progress go from server to server while a client watches; one that is
lost is replaced by the next.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from meeting_assistant import observability as obs
from meeting_assistant.domain.errors import BrokerError, MeetingAssistantError
from meeting_assistant.domain.events import TransientEvent, is_durable
from meeting_assistant.domain.jobs import FLEET_PROTOCOL_VERSION
from meeting_assistant.domain.ports import RelayLink
from meeting_assistant.services.events.meeting_channel import Channels, MeetingChannel, SequencedEvent

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.5
"""How soon watchers on other servers are noticed."""
LOOKS_BETWEEN_READINGS = 4
MAX_WAITING = 1000
"""Messages that may wait for Redis; more are dropped."""
MAX_AGE_US = 300 * 1_000_000
"""More than the clocks of two machines may differ."""
MAX_SENDERS = 1000


class RelayMessage(BaseModel):
    """A message between servers that share a database, about a meeting that is watched over both."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    protocol: int = FLEET_PROTOCOL_VERSION
    """Version of the fleet protocol."""
    sender: str
    """Identifies the process, which ignores its own messages."""
    sent_us: int
    """When it was sent (Unix, microseconds), later for each message of a sender. One that is not later than the last,
    or older than five minutes, was recorded and sent again, and is dropped."""
    event: Annotated[TransientEvent, Field(discriminator="type")] | None = None
    """A transient event; null: there is a new durable event, to be read from the database."""


class EventRelay:
    """Exchanges events of meetings with the other servers."""

    def __init__(
        self,
        link: RelayLink,
        channels: Channels,
        *,
        clock_us: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        self._link = link
        self._channels = channels
        self._clock_us = clock_us
        self._self = secrets.token_hex(8)
        self._last_us = 0
        """When the newest message was sent."""
        self._newest_us: dict[str, int] = {}
        """When the newest message of each other process was sent."""
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
        self._last_us = max(self._last_us + 1, self._clock_us())
        body = None if is_durable(event.body) else event.body
        message = RelayMessage(sender=self._self, sent_us=self._last_us, event=body)
        if not self._waiting.full():
            self._waiting.put_nowait((meeting_id, message.model_dump_json()))

    async def _send(self) -> None:
        while True:
            meeting_id, message = await self._waiting.get()
            try:
                await self._link.publish(meeting_id, message)
            except BrokerError:
                continue  # the next one replaces it; what is durable is read from the database

    async def _receive(self) -> None:
        async for meeting_id, text in self._link.messages():
            channel = self._channels.opened(meeting_id)
            if channel is None:
                continue
            try:
                message = RelayMessage.model_validate_json(text)
            except ValidationError:
                message = None
            if message is None or message.protocol != FLEET_PROTOCOL_VERSION:
                logger.warning(
                    "Dropped a message of another server; run the same version on all machines.",
                    extra=obs.log_fields(code="version_mismatch"),
                )
            elif message.sender == self._self:
                continue
            elif not self._is_fresh(message):
                obs.fleet_refused_total.labels("event").inc()
            elif message.event is None:
                await self._catch_up(channel)
            else:
                channel.broadcast(message.event, is_relayed=True)

    def _is_fresh(self, message: RelayMessage) -> bool:
        """Return False for a message that was recorded and is sent again."""
        is_old = message.sent_us < self._clock_us() - MAX_AGE_US
        if is_old or message.sent_us <= self._newest_us.get(message.sender, 0):
            return False
        if len(self._newest_us) >= MAX_SENDERS:
            self._newest_us.clear()
        self._newest_us[message.sender] = message.sent_us
        return True

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
