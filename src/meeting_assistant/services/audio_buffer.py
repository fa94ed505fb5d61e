"""`SecureAudioBuffer`: the sound of one meeting between the socket, the disk and the recogniser.

Invariants:

- Bytes are accepted in order; `received_bytes` counts them; nothing accepted is ever dropped.
- `safe_bytes` only grows and never passes what is durable (`journal`) or committed as words (`memory`).
- Every follower gets every byte from its offset on, once, in order, whether it keeps up or not.
- Memory is bounded: the newest `tail_bytes`, and what is not safe yet (at most `max_pending_bytes`).

One task per buffer writes and syncs all that has come since the last sweep, then says how far it is safe, then rests
until the tick is over (a self-clocking group commit: on a slow disk sweeps get longer, not more).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Executor
from typing import Literal, TypeVar

from meeting_assistant.domain.audio import BYTES_PER_SECOND
from meeting_assistant.domain.errors import ConflictError, StorageError
from meeting_assistant.domain.ports import AudioJournal
from meeting_assistant.observability import log_fields

R = TypeVar("R")

logger = logging.getLogger(__name__)

TICK_SECONDS = 0.25
RETRY_SECONDS = (0.25, 0.5, 1.0, 2.0, 5.0)
"""Waits after a disk refused; the last one repeats."""


class SecureAudioBuffer:
    """Lives on one event loop; only the journal's calls run elsewhere."""

    def __init__(
        self,
        journal: AudioJournal | None,
        *,
        executor: Executor,
        received_bytes: int = 0,
        on_safe: Callable[[int], Awaitable[None]] | None = None,
        tick_s: float = TICK_SECONDS,
        tail_bytes: int = 60 * BYTES_PER_SECOND,
        max_pending_bytes: int = 120 * BYTES_PER_SECOND,
    ) -> None:
        self._journal = journal
        self._executor = executor
        self._on_safe = on_safe
        self._tick_s = tick_s
        self._tail_limit = tail_bytes
        self._max_pending = max_pending_bytes
        self._tail = bytearray()
        self._tail_start = received_bytes
        """Offset of the first byte that is in memory."""
        self._written = received_bytes
        """Everything below is in the journal."""
        self._safe = received_bytes
        self._is_sealed = False
        self._is_closed = False
        self.problem: str | None = None
        """Code of what keeps sound from being stored, while it lasts."""
        self._news = asyncio.Event()
        """Set when bytes came in or the buffer was sealed or closed; replaced by a new one each time."""
        self._work = asyncio.Event()
        self._sweep = asyncio.Lock()
        self._committer = asyncio.create_task(self._commit_in_ticks(), name="audio-commit")

    @property
    def received_bytes(self) -> int:
        """Accepted so far."""
        return self._tail_start + len(self._tail)

    @property
    def safe_bytes(self) -> int:
        """Everything below is safe: the client may forget it."""
        return self._safe

    @property
    def storage(self) -> Literal["journal", "memory"]:
        """What "safe" means here."""
        return "memory" if self._journal is None else "journal"

    def append(self, pcm: bytes) -> None:
        """Accept canonical PCM; never blocks. Raises ConflictError when sealed, StorageError when the disk is stuck."""
        if self._is_sealed or self._is_closed:
            raise ConflictError("This recording is complete.", "Start a new meeting.")
        if self.received_bytes - self._safe + len(pcm) > self._max_pending:
            raise StorageError(
                f"More than {self._max_pending // BYTES_PER_SECOND} s of sound wait to be stored.",
                "Free disk space or wait for the server to catch up; the client keeps what is not acknowledged.",
                code="storage_behind",
            )
        self._tail += pcm
        self._work.set()
        self._tell()

    def commit(self, offset: int) -> None:
        """Words up to here are in the database; in `memory` that makes the sound safe."""
        if self._journal is None and offset > self._safe:
            self._safe = min(offset, self.received_bytes)
            self._trim()
            self._work.set()
            self._tell()

    async def follow(self, offset: int = 0, piece_bytes: int = 16_000) -> AsyncIterator[bytes]:
        """Every byte from `offset` on, in pieces, until the buffer is sealed or closed and read out."""
        while True:
            if offset < self.received_bytes:
                piece = await self.read(offset, piece_bytes)
                if not piece:
                    raise StorageError("Stored sound could not be read back.", "Check the disk of DATA_DIR.")
                offset += len(piece)
                yield piece
            elif self._is_sealed or self._is_closed:
                return
            else:
                await self._wait_for_news()

    async def read(self, offset: int, length: int) -> bytes:
        """Up to `length` bytes from memory or from the journal. Raises StorageError when they are gone."""
        if offset >= self._tail_start:
            start = offset - self._tail_start
            return bytes(self._tail[start : start + length])
        if self._journal is None:
            raise StorageError(
                "This sound was kept in memory only and is gone.", "Use AUDIO_STORAGE=journal to keep it."
            )
        length = min(length, self._tail_start - offset)
        return await self._on_disk(self._journal.read, offset, length)

    async def flush(self) -> None:
        """In `journal`: everything received so far is safe when it returns. Raises StorageError."""
        if self._journal is not None:
            await self._write_pending()

    async def seal(self) -> None:
        """No more sound comes; idempotent. Raises StorageError, then it is not sealed and can be tried again."""
        if self._is_sealed:
            return
        await self.flush()
        if self._journal is not None and not self._is_closed:
            await self._on_disk(self._journal.seal)
        self._is_sealed = True
        self._tell()

    async def close(self) -> None:
        """Stop and let the journal go without sealing it; idempotent."""
        if self._is_closed:
            return
        self._is_closed = True
        self._tell()
        self._committer.cancel()
        await asyncio.gather(self._committer, return_exceptions=True)
        if self._journal is not None:
            async with self._sweep:
                await self._on_disk(self._journal.close)

    async def _commit_in_ticks(self) -> None:
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            await self._work.wait()
            self._work.clear()
            began = loop.time()
            try:
                await (self._write_pending() if self._journal is not None else self._announce())
                failures = 0
                pause = self._tick_s
            except StorageError as error:
                logger.warning("Sound cannot be stored for now.", extra=log_fields(code=error.code))
                pause = RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)]
                failures += 1
                self._work.set()
            await asyncio.sleep(max(0.0, began + pause - loop.time()))

    async def _write_pending(self) -> None:
        assert self._journal is not None
        async with self._sweep:
            pending = bytes(self._tail[self._written - self._tail_start :])
            if pending:
                try:
                    await self._on_disk(self._journal.append, pending)
                except StorageError as error:
                    self.problem = error.code
                    raise
                self.problem = None
                self._written += len(pending)
                self._safe = self._written
                self._trim()
            await self._announce()

    async def _announce(self) -> None:
        if self._on_safe is not None:
            await self._on_safe(self._safe)

    def _trim(self) -> None:
        """Give memory back: beyond the tail, and never what is not safe."""
        keep_from = min(self._safe, max(self._tail_start, self.received_bytes - self._tail_limit))
        if self._journal is None:
            keep_from = self._safe
        # In steps: moving a minute of sound for every tick would cost more than it frees.
        if keep_from - self._tail_start >= min(self._tail_limit // 4, 1 << 18) or self._journal is None:
            del self._tail[: keep_from - self._tail_start]
            self._tail_start = keep_from

    def _tell(self) -> None:
        """Wake all followers; who begins to wait after this waits for the next news."""
        self._news.set()
        self._news = asyncio.Event()

    async def _wait_for_news(self) -> None:
        await self._news.wait()

    async def _on_disk(self, function: Callable[..., R], *args: object) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._executor, function, *args)
