"""The contract of relays of events between servers: in memory, and Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from meeting_assistant.adapters.jobs.redis_relay import RedisRelayLink
from meeting_assistant.domain.ports import RelayLink
from meeting_assistant.testing.doubles.memory_relay import MemoryRelay
from meeting_assistant.testing.harness.fleet import KEYS
from meeting_assistant.testing.servers.redis import RedisProcess


class Relays:
    """Opens links of several servers to one relay, and closes them."""

    def __init__(self, redis_url: str | None) -> None:
        self._redis_url = redis_url
        self._memory = MemoryRelay()
        self._opened: list[RelayLink] = []

    def link(self) -> RelayLink:
        url = self._redis_url
        link: RelayLink = self._memory.link() if url is None else RedisRelayLink(url, KEYS)
        self._opened.append(link)
        return link

    async def close(self) -> None:
        for link in self._opened:
            await link.close()


@pytest.fixture(params=["memory", "redis"])
async def relays(request: pytest.FixtureRequest) -> AsyncIterator[Relays]:
    url = None
    if request.param == "redis":
        process: RedisProcess = request.getfixturevalue("redis_process")
        url = process.url
    relays = Relays(url)
    yield relays
    await relays.close()


async def receive(link: RelayLink, count: int) -> list[tuple[str, str]]:
    """Return the next messages of a link."""
    received: list[tuple[str, str]] = []
    async with asyncio.timeout(20), aclosing(link.messages()) as messages:  # type: ignore[type-var]
        async for message in messages:
            received.append(message)
            if len(received) == count:
                return received
    raise AssertionError("The messages ended.")


async def watching(relays: Relays, *meetings: str) -> RelayLink:
    """Return the link of a server once it watches these meetings."""
    link, other = relays.link(), relays.link()
    await link.watch(meetings)
    async with asyncio.timeout(20):
        while await other.watched_elsewhere(meetings) != set(meetings):  # noqa: ASYNC110 - asked of the broker
            await asyncio.sleep(0)
    return link


async def test_messages_about_a_meeting_reach_the_servers_that_watch_it_in_order(relays: Relays) -> None:
    viewer, recorder = await watching(relays, "a"), relays.link()
    for number in range(5):
        await recorder.publish("a", f"message {number}")
    assert await receive(viewer, 5) == [("a", f"message {number}") for number in range(5)]


async def test_messages_about_other_meetings_are_not_received(relays: Relays) -> None:
    viewer, recorder = await watching(relays, "a"), relays.link()
    await recorder.publish("b", "not watched")
    await recorder.publish("a", "watched")
    assert await receive(viewer, 1) == [("a", "watched")]


async def test_a_meeting_that_is_no_longer_watched_is_not_received(relays: Relays) -> None:
    viewer, recorder = await watching(relays, "a", "b"), relays.link()
    await viewer.watch({"b"})
    async with asyncio.timeout(20):
        while await recorder.watched_elsewhere({"a"}):  # noqa: ASYNC110 - asked of the broker
            await asyncio.sleep(0)
    await recorder.publish("a", "not watched any more")
    await recorder.publish("b", "watched")
    assert await receive(viewer, 1) == [("b", "watched")]


async def test_a_server_knows_which_meetings_others_watch(relays: Relays) -> None:
    viewer, recorder = await watching(relays, "a"), relays.link()
    assert await recorder.watched_elsewhere({"a", "b"}) == {"a"}
    assert await viewer.watched_elsewhere({"a", "b"}) == set(), "its own viewers do not count"
    assert await recorder.watched_elsewhere(set()) == set()


async def test_closing_twice_has_no_effect(relays: Relays) -> None:
    link = relays.link()
    await link.close()
    await link.close()
