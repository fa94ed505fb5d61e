"""A link to a server that a test can cut or stall."""

from __future__ import annotations

import asyncio
import contextlib


class LinkProxy:
    """A TCP link that can be cut, so that open connections break and new ones fail, or be stalled, so that bytes to the
    server are delivered late."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._links: set[asyncio.Task[None]] = set()
        self._is_cut = False
        self._stall_at: bytes | None = None
        self._flows = asyncio.Event()
        self._flows.set()
        self.is_stalled = asyncio.Event()
        self.port = 0

    async def __aenter__(self) -> LinkProxy:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.cut()
        assert self._server is not None
        self._server.close()
        await asyncio.gather(*self._links, return_exceptions=True)

    def cut(self) -> None:
        """Break the link."""
        self._is_cut = True
        for writer in list(self._open):
            writer.transport.abort()

    def mend(self) -> None:
        """Let new connections through again."""
        self._is_cut = False

    def stall_at(self, marker: bytes) -> None:
        """Keep everything that is sent to the server, from the next bytes on that contain the marker."""
        self._stall_at = marker

    def resume(self) -> None:
        """Deliver what was kept, and all that follows."""
        self._flows.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = asyncio.current_task()
        assert link is not None
        self._links.add(link)
        link.add_done_callback(self._links.discard)
        if self._is_cut:
            writer.transport.abort()
            return
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        both = (writer, far_writer)
        self._open.update(both)

        async def pass_on(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError):
                while data := await source.read(1 << 16):
                    if sink is far_writer:
                        self._check_for_marker(data)
                        await self._flows.wait()
                    sink.write(data)
                    await sink.drain()
            for one in both:
                one.transport.abort()

        await asyncio.gather(pass_on(reader, far_writer), pass_on(far_reader, writer))
        self._open.difference_update(both)

    def _check_for_marker(self, data: bytes) -> None:
        if self._stall_at is not None and self._stall_at in data:
            self._stall_at = None
            self._flows.clear()
            self.is_stalled.set()
