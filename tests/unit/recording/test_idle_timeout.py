"""The idle timeout reports a pause, and a cancelled reader stops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from meeting_assistant.services.recording.idle_timeout import with_idle_timeout


async def test_a_pause_is_reported_and_no_piece_is_lost() -> None:
    source: asyncio.Queue[bytes] = asyncio.Queue()

    async def audio() -> AsyncIterator[bytes]:
        while piece := await source.get():
            yield piece

    pieces = with_idle_timeout(audio(), 0.01)
    await source.put(b"one")
    assert await anext(pieces) == b"one"
    assert await anext(pieces) is None
    await source.put(b"two")
    await source.put(b"")
    assert [piece async for piece in pieces if piece] == [b"two"]


async def test_a_cancelled_reader_stops_even_if_a_piece_arrives_at_the_same_moment() -> None:
    """Otherwise a worker that was asked to stop would go on to the end of the meeting."""
    source: asyncio.Queue[bytes] = asyncio.Queue()

    async def audio() -> AsyncIterator[bytes]:
        while True:
            yield await source.get()

    async def listen() -> None:
        async for _ in with_idle_timeout(audio(), 60):
            pass

    listening = asyncio.create_task(listen())
    await asyncio.sleep(0)
    # The piece goes through the pump, so the cancellation is tried at each step of its way.
    for steps in range(6):
        source.put_nowait(b"piece")
        for _ in range(steps):
            await asyncio.sleep(0)
        listening.cancel()
        async with asyncio.timeout(5):
            await asyncio.gather(listening, return_exceptions=True)
        assert listening.cancelled()
        listening = asyncio.create_task(listen())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    listening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await listening
