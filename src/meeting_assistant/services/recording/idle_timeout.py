"""Notice that a stream of audio pauses, without losing anything of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

_END = b""
"""Marks the end of the stream; no piece of audio is empty."""


async def with_idle_timeout(
    audio: AsyncIterator[bytes], idle_timeout_s: float | None
) -> AsyncIterator[bytes | None]:
    """Yield the pieces of `audio` as they come, and None each time that none came for `idle_timeout_s`."""
    pieces: asyncio.Queue[bytes | Exception] = asyncio.Queue(2)

    async def pump() -> None:
        try:
            async for piece in audio:
                await pieces.put(piece)
        except Exception as error:  # noqa: BLE001 - handed over to the reader, who raises it
            await pieces.put(error)
        else:
            await pieces.put(_END)

    pumping = asyncio.create_task(pump())
    try:
        while True:
            try:
                # Not `wait_for`: in Python 3.11 it returns a piece that came at the same moment as a cancellation,
                # and the cancellation is lost.
                async with asyncio.timeout(idle_timeout_s):
                    piece = await pieces.get()
            except TimeoutError:
                yield None
                continue
            if isinstance(piece, Exception):
                raise piece
            if piece is _END:
                return
            yield piece
    finally:
        pumping.cancel()
        await asyncio.gather(pumping, return_exceptions=True)
