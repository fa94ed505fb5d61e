"""Noticing that a stream rests, without losing anything of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

_END = b""
"""Marks the end of the stream; no piece of sound is empty."""


async def with_patience(audio: AsyncIterator[bytes], patience_s: float | None) -> AsyncIterator[bytes | None]:
    """The pieces as they come, and one None each time that the sound stays away for longer."""
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
        is_resting = False
        while True:
            try:
                piece = await asyncio.wait_for(pieces.get(), None if is_resting else patience_s)
            except TimeoutError:
                is_resting = True
                yield None
                continue
            if isinstance(piece, Exception):
                raise piece
            if piece is _END:
                return
            is_resting = False
            yield piece
    finally:
        pumping.cancel()
        await asyncio.gather(pumping, return_exceptions=True)
