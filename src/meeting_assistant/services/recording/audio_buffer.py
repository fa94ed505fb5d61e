"""`SecureAudioBuffer`: the audio of one meeting between the socket, the disk and the recogniser.

Invariants, each held by a test:

- Bytes are accepted in order and counted by `received_bytes`; what was accepted is stored and handed on, or an
  error says that it was not.
- A follower gets every byte from its offset on, once, in order, however fast or slow it is.

`GroupCommit` decides what is stored when, and what stays in memory; `Committer`, one task per buffer, does it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Executor
from typing import Literal

from meeting_assistant.domain.audio import BYTES_PER_SAMPLE
from meeting_assistant.domain.errors import ConflictError, StorageError
from meeting_assistant.domain.ports import AudioJournal
from meeting_assistant.services.recording.committer import Committer, Signal
from meeting_assistant.services.recording.group_commit import BufferLimits, GroupCommit, Problem

READ_AHEAD_BYTES = 1 << 18
"""What a slow follower takes from the journal at once: 8 s."""
DEFAULT_LIMITS = BufferLimits()


class SecureAudioBuffer:
    """Buffers the audio of one meeting.

    All methods belong to the event loop; only the journal's calls run on `executor`.
    """

    def __init__(
        self,
        journal: AudioJournal | None,
        *,
        executor: Executor,
        received_bytes: int = 0,
        on_safe: Callable[[int], Awaitable[None]] | None = None,
        on_problem: Callable[[Problem | None], None] = lambda problem: None,
        limits: BufferLimits = DEFAULT_LIMITS,
    ) -> None:
        """`received_bytes` is where a meeting without a journal goes on; a journal knows that itself.

        `on_safe` is awaited with the number of safe bytes after each step forward, at most once a tick, and again
        after it failed. `on_problem` is called when the disk begins to refuse, and with None when it accepts again.
        """
        self._journal = journal
        start = received_bytes if journal is None else journal.durable_bytes
        self._commits = GroupCommit(start, has_journal=journal is not None, limits=limits)
        self._committer = Committer(self._commits, journal, executor, on_safe, on_problem)
        self._is_sealing = self._is_sealed = self._is_closed = False
        self._sealing = asyncio.Lock()
        self._before_reading: Callable[[], Awaitable[object]] | None = None
        self._is_read = asyncio.Event()
        """Set while a follower waits for audio to come."""
        self._news = Signal()
        """Fires when audio came in, and when the buffer was sealed or closed."""

    @property
    def received_bytes(self) -> int:
        """Number of bytes accepted so far."""
        return self._commits.received_bytes

    @property
    def storage(self) -> Literal["journal", "memory"]:
        """The meaning of "safe" here: on the disk (`journal`), or committed as words (`memory`)."""
        return "memory" if self._journal is None else "journal"

    @property
    def is_sealed(self) -> bool:
        """True when no more audio comes and all of it is safe (`journal`)."""
        return self._is_sealed

    @property
    def problem(self) -> Problem | None:
        """`full` or `failing` while the disk refuses audio; captions go on, acknowledgements do not."""
        return self._commits.problem

    # --- in

    def append(self, pcm: bytes) -> None:
        """Accept canonical PCM; never blocks.

        Raises ConflictError after `seal`, StorageError when the disk is too far behind; then nothing was accepted.
        """
        if len(pcm) % BYTES_PER_SAMPLE:
            raise ValueError("canonical PCM has an even number of bytes")
        if self._is_closed or self._is_sealed or self._is_sealing:
            raise ConflictError("This recording is complete.", "Start a new meeting.")
        self._commits.append(pcm)
        self._is_read.clear()
        self._news.fire()
        self._committer.wake()

    def commit(self, offset: int) -> None:
        """Note that words up to here are in the database; in `memory` this makes the audio safe and frees it."""
        if self._commits.commit(offset):
            self._committer.progress.fire()
            self._committer.wake()

    # --- out

    def before_reading(self, hook: Callable[[], Awaitable[object]]) -> None:
        """Await `hook` once, as soon as there is audio for a follower and before it gets any."""
        self._before_reading = hook

    async def follow(self, offset: int = 0, piece_bytes: int = 16_000) -> AsyncIterator[bytes]:
        """Yield every byte from `offset` on, in order, in pieces of at most `piece_bytes`; wait for more to come.

        Ends when the buffer is sealed and read to its end. Raises ConflictError when it is closed before that,
        StorageError when the audio is gone (`memory`, below what is committed), AudioDecryptionError.
        """
        while True:
            if offset < self._commits.received_bytes:
                hook, self._before_reading = self._before_reading, None
                if hook is not None:
                    await hook()
                is_in_memory = offset >= self._commits.tail_start
                taken = await self.read(offset, piece_bytes if is_in_memory else READ_AHEAD_BYTES)
                offset += len(taken)
                for start in range(0, len(taken), piece_bytes):
                    yield taken[start : start + piece_bytes]
            elif self._is_sealed:
                return
            else:
                self._check_open()
                self._is_read.set()
                await self._news.wait()

    async def read(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes from `offset`, fewer only at the end of what was received.

        Raises as `follow`.
        """
        if offset < 0 or length < 0:
            raise ValueError("offset and length count from 0")
        stop = min(offset + length, self._commits.received_bytes)
        pieces: list[bytes] = []
        while offset < stop:
            piece = await self._read_piece(offset, stop)
            pieces.append(piece)
            offset += len(piece)
        return b"".join(pieces)

    async def _read_piece(self, offset: int, stop: int) -> bytes:
        self._check_open()
        tail_start = self._commits.tail_start
        if offset >= tail_start:
            return self._commits.read_tail(offset, stop)
        if self._journal is None:
            raise StorageError(
                "This audio was kept in memory only and is gone.",
                "Use AUDIO_STORAGE=journal to keep recordings.",
                code="sound_gone",
            )
        piece = await self._committer.on_disk(self._journal.read, offset, min(stop, tail_start) - offset)
        if not piece:
            raise StorageError("Stored audio could not be read back.", "Check the disk of DATA_DIR.")
        return piece

    # --- waiting

    async def wait_for_room(self, timeout_s: float) -> None:
        """Hold a live client back: return when it may send on, or after `timeout_s`.

        While little of its audio waits (in `journal` for the disk, in `memory` for the recogniser) that is at once.
        After the timeout, `append` says that there is no room.
        """
        if self._commits.has_room:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while not self._commits.has_room and not self._is_closed:
                    await self._committer.progress.wait()

    async def caught_up(self, quiet_s: float) -> None:
        """Return when a follower has read everything, and nothing more has come for `quiet_s`."""
        while True:
            await self._is_read.wait()
            received_bytes = self.received_bytes
            await asyncio.sleep(quiet_s)
            if self._is_read.is_set() and received_bytes == self.received_bytes:
                return

    async def drain(self) -> None:
        """Hold back a source that is faster than real time: return when little of its audio waits.

        In `journal` wait for the disk, in `memory` for the recogniser. Raises as `flush`.
        """
        await self.flush()
        while not self._commits.is_drained:
            self._check_open()
            await self._committer.progress.wait()

    async def flush(self) -> None:
        """Store everything received so far when `storage` is `journal`; there is nothing to do in `memory`.

        Raises StorageError when the disk refuses; the audio is kept, and written as soon as the disk accepts it.
        """
        flush = self._commits.flush()
        while not self._commits.is_flushed(flush):
            self._check_open()
            self._committer.hurry()
            await self._committer.progress.wait()

    async def seal(self) -> None:
        """End the recording: all of it safe (`journal`), the final record written, followers end. Idempotent.

        Raises StorageError when the disk refuses; the buffer then accepts audio as before and can be sealed later.
        """
        async with self._sealing:
            if self._is_sealed:
                return
            self._check_open()
            self._is_sealing = True
            try:
                await self.flush()
                if self._journal is not None:
                    await self._committer.on_disk(self._journal.seal)
                self._is_sealed = True
            finally:
                self._is_sealing = False
            self._news.fire()

    async def close(self) -> None:
        """Stop, and close the journal as it is. Idempotent. Followers that wait get ConflictError."""
        if self._is_closed:
            return
        self._is_closed = True
        self._news.fire()
        self._committer.progress.fire()
        await self._committer.close()
        if self._journal is not None:
            await self._committer.on_disk(self._journal.close)

    def _check_open(self) -> None:
        if self._is_closed:
            raise ConflictError("The recording was closed.", "Open the meeting again.", code="closed")
