"""`SecureAudioBuffer`: the sound of one meeting between the socket, the disk and the recogniser.

Invariants, each held by a test:

- Bytes are accepted in order and counted by `received_bytes`; what was accepted is stored and handed on, or an
  error says that it was not.
- What is safe only grows, and never passes what is durable (`journal`) or committed as words (`memory`).
- A follower gets every byte from its offset on, once, in order, however fast or slow it is.
- The tail in memory holds at least what is not safe yet, which is bounded by `max_pending_bytes`. Beyond that it is
  bounded by `tail_bytes`, however long the meeting.

One task per buffer writes and syncs in one call all that has come since its last sweep, tells how far the sound is
safe, then rests until the tick is over: a self-clocking group commit. On a slow disk sweeps get longer, not more.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Executor
from typing import Literal, ParamSpec, TypeVar

from meeting_assistant.domain.audio import BYTES_PER_SAMPLE, BYTES_PER_SECOND
from meeting_assistant.domain.errors import ConflictError, MeetingAssistantError, StorageError
from meeting_assistant.domain.ports import AudioJournal
from meeting_assistant.observability import log_fields

P = ParamSpec("P")
R = TypeVar("R")

logger = logging.getLogger(__name__)

Problem = Literal["full", "failing"]
"""Why the disk refuses sound."""

LONGEST_RETRY_S = 5.0
"""Between two attempts while the disk refuses."""
READ_AHEAD_BYTES = 1 << 18
"""What a slow follower takes from the journal at once: 8 s."""
TRIM_STEP_BYTES = 1 << 16
"""The tail is cut in steps: moving it for every chunk would cost more than it frees."""


class SecureAudioBuffer:
    """One per meeting. All methods belong to the event loop; only the journal's calls run on `executor`."""

    def __init__(
        self,
        journal: AudioJournal | None,
        *,
        executor: Executor,
        received_bytes: int = 0,
        on_safe: Callable[[int], Awaitable[None]] | None = None,
        on_problem: Callable[[Problem | None], None] = lambda problem: None,
        tick_s: float = 0.25,
        tail_bytes: int = 60 * BYTES_PER_SECOND,
        max_pending_bytes: int = 120 * BYTES_PER_SECOND,
    ) -> None:
        """`received_bytes` is where a meeting without a journal goes on; a journal knows that itself.

        `on_safe` is awaited with the number of safe bytes after each step forward, at most once a tick; when it
        fails it is asked again. `on_problem` hears when the disk begins to refuse, and None when it takes sound again.
        """
        start = received_bytes if journal is None else journal.durable_bytes
        self._journal = journal
        self._executor = executor
        self._on_safe = on_safe
        self._on_problem = on_problem
        self._tick_s = tick_s
        self._tail_limit = tail_bytes
        self._max_pending = max_pending_bytes
        self._tail = bytearray()
        self._tail_start = start
        """Offset of the first byte that is in memory."""
        self._safe = start
        self._told = start
        """What `on_safe` has heard."""
        self._is_sealing = False
        self._is_sealed = False
        self._is_closed = False
        self._failures = 0
        """Sweeps that failed since the last one that did not."""
        self._begun = self._ended = 0
        """Sweeps, counted."""
        self._error: MeetingAssistantError | None = None
        self._problem: Problem | None = None
        self._sealing = asyncio.Lock()
        self._news = _Signal()
        """Bytes came in, or the buffer was sealed or closed."""
        self._work = _Signal()
        self._swept = _Signal()
        self._hurry = asyncio.Event()
        """Somebody waits: the rest of the tick is skipped."""
        self._committer: asyncio.Task[None] | None = None

    @property
    def received_bytes(self) -> int:
        """Accepted so far."""
        return self._tail_start + len(self._tail)

    @property
    def storage(self) -> Literal["journal", "memory"]:
        """What "safe" means here: on the disk, or committed as words."""
        return "memory" if self._journal is None else "journal"

    @property
    def is_sealed(self) -> bool:
        """True when no more sound comes and all of it is safe (`journal`)."""
        return self._is_sealed

    @property
    def problem(self) -> Problem | None:
        """`full` or `failing` while the disk refuses sound; captions go on, acknowledgements do not."""
        return self._problem

    # --- in

    def append(self, pcm: bytes) -> None:
        """Accept canonical PCM; never blocks.

        Raises ConflictError after `seal`, StorageError when the disk is too far behind; then nothing was accepted.
        """
        if len(pcm) % BYTES_PER_SAMPLE:
            raise ValueError("canonical PCM has an even number of bytes")
        if self._is_closed or self._is_sealed or self._is_sealing:
            raise ConflictError("This recording is complete.", "Start a new meeting.")
        if self._unsafe_bytes + len(pcm) > self._max_pending:
            raise self._behind()
        self._tail += pcm
        self._trim()
        self._news.fire()
        self._wake()

    def commit(self, offset: int) -> None:
        """Words up to here are in the database; in `memory` this makes the sound safe and frees it."""
        if self._journal is None and offset > self._safe:
            self._safe = min(offset, self.received_bytes)
            self._trim()
            self._swept.fire()
            self._wake()

    # --- out

    async def follow(self, offset: int = 0, piece_bytes: int = 16_000) -> AsyncIterator[bytes]:
        """Every byte from `offset` on, in order, in pieces of at most `piece_bytes`; waits for more to come.

        Ends when the buffer is sealed and read out. Raises ConflictError when it is closed before that,
        StorageError when the sound is gone (`memory`, below what is committed), AudioDecryptionError.
        """
        while True:
            if offset < self.received_bytes:
                taken = await self.read(
                    offset, piece_bytes if self._is_in_memory(offset) else READ_AHEAD_BYTES
                )
                offset += len(taken)
                for start in range(0, len(taken), piece_bytes):
                    yield taken[start : start + piece_bytes]
            elif self._is_sealed:
                return
            else:
                self._check_open()
                await self._news.wait()

    async def read(self, offset: int, length: int) -> bytes:
        """Up to `length` bytes from `offset`, fewer only at the end of what was received. Raises as `follow`."""
        if offset < 0 or length < 0:
            raise ValueError("offset and length count from 0")
        stop = min(offset + length, self.received_bytes)
        pieces: list[bytes] = []
        while offset < stop:
            piece = await self._read_piece(offset, stop)
            pieces.append(piece)
            offset += len(piece)
        return b"".join(pieces)

    async def _read_piece(self, offset: int, stop: int) -> bytes:
        self._check_open()
        if self._is_in_memory(offset):
            return bytes(self._tail[offset - self._tail_start : stop - self._tail_start])
        if self._journal is None:
            raise StorageError(
                "This sound was kept in memory only and is gone.",
                "Use AUDIO_STORAGE=journal to keep recordings.",
                code="sound_gone",
            )
        piece = await self._on_disk(self._journal.read, offset, min(stop, self._tail_start) - offset)
        if not piece:
            raise StorageError("Stored sound could not be read back.", "Check the disk of DATA_DIR.")
        return piece

    def _is_in_memory(self, offset: int) -> bool:
        return offset >= self._tail_start

    # --- the end

    async def flush(self) -> None:
        """In `journal`: everything received so far is safe when it returns; in `memory` there is nothing to do.

        Raises StorageError when the disk refuses; the sound is kept, and written as soon as the disk takes it.
        """
        target = self.received_bytes
        first = self._begun + 1
        """The first attempt that begins after this call: an older one may have met a disk that refused then."""
        while self._journal is not None and self._safe < target:
            self._check_open()
            self._hurry.set()
            self._wake()
            await self._swept.wait()
            if self._error is not None and self._ended >= first and self._safe < target:
                raise self._error

    async def wait_until_accepted(self, timeout_s: float) -> None:
        """Back-pressure for a client: returns at once while little of its sound waits for the disk (in `memory` for the
        recogniser), else when it does again or after so long; `append` then says that there is no room."""
        limit = self._max_pending - min(self._tail_limit, self._max_pending // 2)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while self._unsafe_bytes > limit and not self._is_closed:
                    await self._swept.wait()

    async def wait_for_room(self) -> None:
        """Back-pressure for a source faster than real time: returns when little of its sound is waiting.

        In `journal` waits for the disk, in `memory` for the recogniser. Raises as `flush`.
        """
        if self._journal is not None:
            await self.flush()
        while self._unsafe_bytes > self._tail_limit:
            self._check_open()
            await self._swept.wait()

    async def seal(self) -> None:
        """No more sound comes: all of it safe (`journal`), the final record written, followers end. Idempotent.

        Raises StorageError when the disk refuses; the buffer then takes sound as before and can be sealed later.
        """
        async with self._sealing:
            if self._is_sealed:
                return
            self._check_open()
            self._is_sealing = True
            try:
                await self.flush()
                if self._journal is not None:
                    await self._on_disk(self._journal.seal)
                self._is_sealed = True
            finally:
                self._is_sealing = False
            self._news.fire()

    async def close(self) -> None:
        """Stop, and let the journal go as it is. Idempotent. Followers that wait get ConflictError."""
        if self._is_closed:
            return
        self._is_closed = True
        self._news.fire()
        self._swept.fire()
        if self._committer is not None:
            self._committer.cancel()
            await asyncio.gather(self._committer, return_exceptions=True)
        if self._journal is not None:
            await self._on_disk(self._journal.close)

    # --- the group commit

    def _wake(self) -> None:
        if self._committer is None:
            self._committer = asyncio.create_task(self._commit_in_ticks(), name="audio-commit")
        self._work.fire()

    async def _commit_in_ticks(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            while not self._has_work():
                await self._work.wait()
            self._hurry.clear()
            began = loop.time()
            self._begun += 1
            try:
                await self._sweep()
            except MeetingAssistantError as error:
                self._note_failure(error)
            except Exception as error:
                logger.exception("Storing sound failed in an unexpected way.")
                self._note_failure(_unexpected(error))
            else:
                self._failures, self._error = 0, None
            self._ended = self._begun
            self._swept.fire()
            pause = min(LONGEST_RETRY_S, self._tick_s * 2**self._failures) if self._failures else self._tick_s
            await self._rest(began + pause - loop.time())

    def _has_work(self) -> bool:
        return self._pending_bytes > 0 or self._told < self._safe

    async def _sweep(self) -> None:
        if self._journal is not None and self._pending_bytes:
            pending = bytes(self._tail[self._safe - self._tail_start :])
            try:
                await self._on_disk(self._journal.append, pending)
            finally:
                # Also after an error: a journal may have stored the first part of a long piece.
                self._safe = max(self._safe, self._journal.durable_bytes)
                self._trim()
        safe = self._safe
        if self._on_safe is not None and self._told < safe:
            await self._on_safe(safe)
        self._told = safe
        self._set_problem(None)

    def _set_problem(self, problem: Problem | None) -> None:
        if problem != self._problem:
            self._problem = problem
            self._on_problem(problem)

    def _note_failure(self, error: MeetingAssistantError) -> None:
        """Sound is kept, captions go on, acknowledgements wait; it is tried again, later each time."""
        self._error = error
        if self._has_work():
            self._set_problem("full" if error.code == "disk_full" else "failing")
        if self._failures == 0:
            logger.warning(
                "Sound cannot be stored or acknowledged for now.", extra=log_fields(code=error.code)
            )
        self._failures = min(self._failures + 1, 16)

    async def _rest(self, seconds: float) -> None:
        if seconds > 0:
            try:
                async with asyncio.timeout(seconds):
                    await self._hurry.wait()
            except TimeoutError:
                pass

    @property
    def _unsafe_bytes(self) -> int:
        return self.received_bytes - self._safe

    @property
    def _pending_bytes(self) -> int:
        """Waiting for the disk."""
        return 0 if self._journal is None else self._unsafe_bytes

    def _trim(self) -> None:
        """Give memory back, but nothing that is not safe."""
        if self._journal is None:
            keep_from, step = self._safe, 1
        else:
            keep_from = min(self._safe, self.received_bytes - self._tail_limit)
            step = min(TRIM_STEP_BYTES, self._tail_limit // 4)
        if keep_from - self._tail_start >= max(1, step):
            del self._tail[: keep_from - self._tail_start]
            self._tail_start = keep_from

    def _behind(self) -> StorageError:
        seconds = self._max_pending // BYTES_PER_SECOND
        if self._journal is None:
            message = f"More than {seconds} s of sound wait to be recognised."
            remedy = "Send it more slowly; send again what is not acknowledged."
        else:
            message = f"More than {seconds} s of sound wait to be written to the disk."
            remedy = "Free space on the disk of DATA_DIR, or check why it is slow; send again what is not acknowledged."
        return StorageError(message, remedy, code="storage_behind")

    def _check_open(self) -> None:
        if self._is_closed:
            raise ConflictError("The recording was closed.", "Open the meeting again.", code="closed")

    async def _on_disk(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, lambda: function(*args, **kwargs))


class _Signal:
    """Wakes everybody who waits now; who begins to wait later waits for the next one."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def fire(self) -> None:
        self._event.set()
        self._event = asyncio.Event()

    async def wait(self) -> None:
        await self._event.wait()


def _unexpected(error: Exception) -> StorageError:
    return StorageError(f"Storing sound failed: {type(error).__name__}.", "See the log of the server.")
