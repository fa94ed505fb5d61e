"""A network that can be cut: a TCP proxy on loopback for tests."""

from __future__ import annotations

import asyncio
import contextlib
import random
from dataclasses import dataclass, field


@dataclass(slots=True)
class CuttingProxy:
    """Forwards to a port; each connection is torn after a random number of bytes, in either direction.

    An async context manager. Writes are split at random places, so that no frame arrives as it was sent.
    """

    target_port: int
    seed: int
    cut_after: tuple[int, int] = (20_000, 400_000)
    """Bounds of the bytes that pass before a connection is torn."""
    cuts: int = 0
    is_cutting: bool = True
    port: int = 0
    _random: random.Random = field(init=False)
    _server: asyncio.Server | None = None
    _open: set[asyncio.Task[None]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    async def __aenter__(self) -> CuttingProxy:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            await self._forward(reader, writer)
        finally:
            self._open.discard(task)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self.target_port)
        except OSError:
            writer.transport.abort()
            return
        left = [self._random.randint(*self.cut_after)]

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            while data := await source.read(self._random.randint(1, 20_000)):
                if self.is_cutting and left[0] < len(data):
                    sink.write(data[: max(0, left[0])])
                    self.cuts += 1
                    return
                left[0] -= len(data)
                sink.write(data)
                await sink.drain()

        pumps = {asyncio.create_task(pump(reader, back)), asyncio.create_task(pump(there, writer))}
        try:
            with contextlib.suppress(OSError):
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in pumps:
                task.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            # Torn, not closed: neither side is notified.
            writer.transport.abort()
            back.transport.abort()
