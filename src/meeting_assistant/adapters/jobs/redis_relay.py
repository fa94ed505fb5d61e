"""Events of meetings between servers over Redis' publish and subscribe. Implements `RelayLink`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from meeting_assistant.adapters.jobs.redis_link import PREFIX, RETRY_SECONDS, broker_errors
from meeting_assistant.domain.errors import BrokerError

_CHANNEL = f"{PREFIX}watch:"
_PLACEHOLDER = f"{_CHANNEL}-"
"""A subscriber has to subscribe to at least one channel."""
WAIT_SECONDS = 0.5


class RedisRelayLink:
    """The connections of one server."""

    def __init__(self, url: str) -> None:
        self._client: Redis = Redis.from_url(url, health_check_interval=10, socket_timeout=None)
        self._inbox = self._client.pubsub(ignore_subscribe_messages=True)
        self._watched: set[str] = set()

    async def publish(self, meeting_id: str, message: str) -> None:
        """Send a message to the servers that watch the meeting. Raises BrokerError."""
        async with broker_errors():
            await self._client.publish(_CHANNEL + meeting_id, message)

    async def watch(self, meeting_ids: Collection[str]) -> None:
        """Subscribe to these meetings and to no others. Raises BrokerError."""
        wanted = set(meeting_ids)
        more, fewer = wanted - self._watched, self._watched - wanted
        async with broker_errors():
            if more:
                await self._inbox.subscribe(*(_CHANNEL + one for one in more))
            if fewer:
                await self._inbox.unsubscribe(*(_CHANNEL + one for one in fewer))
        self._watched = wanted

    async def watched_elsewhere(self, meeting_ids: Collection[str]) -> set[str]:
        """Return which of these have another subscriber. Raises BrokerError."""
        if not meeting_ids:
            return set()
        async with broker_errors():
            found: Any = await self._client.pubsub_numsub(*(_CHANNEL + one for one in meeting_ids))
        counts = {channel.decode().removeprefix(_CHANNEL): int(count) for channel, count in found}
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
            if message is not None:
                yield message["channel"].decode().removeprefix(_CHANNEL), message["data"].decode()

    async def close(self) -> None:
        """Close all connections; idempotent."""
        with contextlib.suppress(BrokerError):
            async with broker_errors():
                await self._inbox.aclose()  # type: ignore[no-untyped-call]
                await self._client.aclose()
