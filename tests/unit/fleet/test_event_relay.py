"""Events of meetings between servers: each is shown once, and replays are not shown."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from types import SimpleNamespace
from typing import cast

from prometheus_client import REGISTRY

from meeting_assistant.domain.events import PartialTranscript
from meeting_assistant.services.events.event_relay import MAX_AGE_US, EventRelay, RelayMessage
from meeting_assistant.services.events.meeting_channel import Channels, SequencedEvent

NOW_US = 1_800_000_000_000_000


class Link:
    """Implements `RelayLink`: delivers what the test puts into it."""

    def __init__(self) -> None:
        self.arriving: asyncio.Queue[RelayMessage | str] = asyncio.Queue()
        self.published: asyncio.Queue[RelayMessage] = asyncio.Queue()

    async def publish(self, meeting_id: str, message: str) -> None:
        self.published.put_nowait(RelayMessage.model_validate_json(message))

    async def watch(self, meeting_ids: Collection[str]) -> None:
        """Do nothing."""

    async def watched_elsewhere(self, meeting_ids: Collection[str]) -> set[str]:
        return set()

    async def messages(self) -> AsyncIterator[tuple[str, str]]:
        while True:
            message = await self.arriving.get()
            yield "meeting", message if isinstance(message, str) else message.model_dump_json()

    async def close(self) -> None:
        """Do nothing."""


class Shown:
    """The channels of one meeting that is watched here."""

    def __init__(self) -> None:
        self.texts: asyncio.Queue[str] = asyncio.Queue()
        self.on_event = None

    def opened(self, meeting_id: str) -> Shown:
        return self

    def all(self) -> list[object]:
        return []

    def broadcast(self, event: PartialTranscript, *, is_relayed: bool) -> None:
        self.texts.put_nowait(event.stable)


def caption(text: str) -> PartialTranscript:
    return PartialTranscript(utterance=1, start_ms=0, end_ms=1, stable=text, unstable="", lag_ms=0)


def message(text: str, *, sender: str = "other", after_us: int = 0) -> RelayMessage:
    return RelayMessage(sender=sender, sent_us=NOW_US + after_us, event=caption(text))


async def test_replayed_captions_are_not_shown() -> None:
    before = REGISTRY.get_sample_value("meeting_assistant_fleet_refused_total", {"kind": "event"}) or 0
    link, shown = Link(), Shown()
    relay = EventRelay(link, cast(Channels, shown), clock_us=lambda: NOW_US)
    relay.start()
    first, second = message("first"), message("second", after_us=1)
    for arriving in (
        first,
        second,
        first,
        second,
        message("of last week", sender="gone", after_us=-MAX_AGE_US - 1),
        "no JSON",
        message("third", after_us=2),
        message("of another server", sender="third"),
    ):
        link.arriving.put_nowait(arriving)
    async with asyncio.timeout(10):
        texts = [await shown.texts.get() for _ in range(4)]
    await relay.close()
    assert texts == ["first", "second", "third", "of another server"]
    after = REGISTRY.get_sample_value("meeting_assistant_fleet_refused_total", {"kind": "event"}) or 0
    assert after == before + 3


async def test_messages_have_increasing_times_whatever_the_clock_says() -> None:
    times = iter([NOW_US, NOW_US, NOW_US - 5, NOW_US + 9])
    link, channels = Link(), SimpleNamespace(all=list, on_event=None)
    relay = EventRelay(link, cast(Channels, channels), clock_us=lambda: next(times))
    relay.start()
    assert channels.on_event is not None
    for seq in range(4):
        channels.on_event("meeting", SequencedEvent(seq, caption("text")))
    async with asyncio.timeout(10):
        sent = [(await link.published.get()).sent_us - NOW_US for _ in range(4)]
    await relay.close()
    assert sent == [0, 1, 2, 9]
