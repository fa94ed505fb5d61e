"""A relay in memory: what `tests/contract/test_relay_link.py` requires of Redis, within one process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection


class MemoryRelay:
    """The servers that relay events to each other."""

    def __init__(self) -> None:
        self.links: list[MemoryRelayLink] = []

    def link(self) -> MemoryRelayLink:
        """Return the link of another server."""
        link = MemoryRelayLink(self)
        self.links.append(link)
        return link


class MemoryRelayLink:
    """Implements `RelayLink`."""

    def __init__(self, relay: MemoryRelay) -> None:
        self._relay = relay
        self._inbox: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
        self.watched: set[str] = set()

    async def publish(self, meeting_id: str, message: str) -> None:
        """Put the message into the inbox of each server that watches the meeting."""
        for link in self._relay.links:
            if meeting_id in link.watched:
                link._inbox.put_nowait((meeting_id, message))

    async def watch(self, meeting_ids: Collection[str]) -> None:
        """Watch these meetings and no others."""
        self.watched = set(meeting_ids)

    async def watched_elsewhere(self, meeting_ids: Collection[str]) -> set[str]:
        """Return which of these another link watches."""
        others = (link.watched for link in self._relay.links if link is not self)
        return set(meeting_ids) & set[str]().union(*others)

    async def messages(self) -> AsyncIterator[tuple[str, str]]:
        """Yield the messages about meetings that are still watched."""
        while True:
            meeting_id, message = await self._inbox.get()
            if meeting_id in self.watched:
                yield meeting_id, message

    async def close(self) -> None:
        """Watch nothing any more."""
        self.watched = set()
