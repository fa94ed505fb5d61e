"""Events of meetings between servers over Redis' publish and subscribe. Implements `RelayLink`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from meeting_assistant import observability as obs
from meeting_assistant.adapters.jobs.redis_link import PREFIX, RETRY_SECONDS, broker_errors
from meeting_assistant.adapters.jobs.sealing import FleetKeys
from meeting_assistant.domain.errors import BrokerError, JobError

_CHANNEL = f"{PREFIX}watch:"
_PLACEHOLDER = f"{_CHANNEL}-"
"""A subscriber has to subscribe to at least one channel."""
WAIT_SECONDS = 0.5


class RedisRelayLink:
    """The connections of one server."""

    def __init__(self, url: str, keys: FleetKeys) -> None:
        self._keys = keys
        self._client: Redis = Redis.from_url(url, health_check_interval=10, socket_timeout=None)
        self._inbox = self._client.pubsub(ignore_subscribe_messages=True)
        self._watched: set[str] = set()
        self._meetings: dict[str, str] = {}
        """Meetings that are watched, by the channels about them."""

    async def publish(self, meeting_id: str, message: str) -> None:
        """Send a message to the servers that watch the meeting. Raises BrokerError."""
        sealed = self._keys.seal(message.encode(), "relay", meeting_id)
        async with broker_errors():
            await self._client.publish(self._channels(meeting_id)[0], sealed)

    async def watch(self, meeting_ids: Collection[str]) -> None:
        """Subscribe to these meetings and to no others. Raises BrokerError."""
        wanted = set(meeting_ids)
        more, fewer = wanted - self._watched, self._watched - wanted
        async with broker_errors():
            if more:
                await self._inbox.subscribe(*(channel for one in more for channel in self._channels(one)))
            if fewer:
                await self._inbox.unsubscribe(*(channel for one in fewer for channel in self._channels(one)))
        self._watched = wanted
        self._meetings = {channel: one for one in wanted for channel in self._channels(one)}

    async def watched_elsewhere(self, meeting_ids: Collection[str]) -> set[str]:
        """Return which of these have another subscriber. Raises BrokerError."""
        if not meeting_ids:
            return set()
        async with broker_errors():
            meetings = {self._channels(one)[0]: one for one in meeting_ids}
            found: Any = await self._client.pubsub_numsub(*meetings)
        counts = {meetings[channel.decode()]: int(count) for channel, count in found}
        return {one for one, count in counts.items() if count > (one in self._watched)}

    async def messages(self) -> AsyncIterator[tuple[str, str]]:
        """Yield meeting and message until cancelled; messages that are sent while Redis is away are lost."""
        is_listening = False
        while True:
            try:
                if not is_listening:
                    await self._inbox.subscribe(_PLACEHOLDER)
                    is_listening = True
                message = await self._inbox.get_message(timeout=WAIT_SECONDS)
            except (RedisError, OSError):
                await asyncio.sleep(RETRY_SECONDS)
                continue
            meeting_id = self._meetings.get(message["channel"].decode()) if message is not None else None
            if message is None or meeting_id is None:
                continue
            try:
                content = self._keys.open(message["data"], "relay", meeting_id)
            except JobError:
                obs.fleet_refused_total.labels("event").inc()
                continue
            yield meeting_id, content.decode()

    def _channels(self, meeting_id: str) -> list[str]:
        """Return the channels about a meeting: the first is published to, all are subscribed to."""
        return [_CHANNEL + name for name in self._keys.names(meeting_id)]

    async def close(self) -> None:
        """Close all connections; idempotent."""
        with contextlib.suppress(BrokerError):
            async with broker_errors():
                await self._inbox.aclose()  # type: ignore[no-untyped-call]
                await self._client.aclose()
