"""`GroupCommit`: which audio to store next, when, and how far it is safe. Sans-I/O: no loop, no clock, no disk.

A self-clocking group commit. Audio collects in a tail in memory. While there is work, `due_at` is the time of the next
attempt; the caller then takes what `begin` returns, writes it, reports `stored` and `acknowledged`, and ends the
attempt by `succeed` or `fail`. After a success the next attempt waits until the tick is over, after a failure longer
each time, unless `hurry` skips the wait: on a slow disk attempts get longer, not more.

    idle --append--> due --begin--> running --succeed/fail--> resting --time, hurry--> due (or idle without work)

Invariants, each held by a test:

- What is safe only grows, and never passes what is durable (with a journal) or committed as words (without one).
- The tail holds at least what is not safe yet, which is bounded by `max_pending_bytes`. Beyond that it is bounded by
  `tail_bytes`, however long the meeting.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from meeting_assistant.domain.audio import BYTES_PER_SECOND
from meeting_assistant.domain.errors import MeetingAssistantError, StorageError
from meeting_assistant.net.backoff import Backoff

Problem = Literal["full", "failing"]
"""Why the disk refuses audio."""

LONGEST_RETRY_S = 5.0
"""Longest pause between two attempts while the disk refuses."""
TRIM_STEP_BYTES = 1 << 16
"""The tail is cut in steps: moving it for every chunk would cost more than it frees."""


@dataclass(frozen=True, slots=True)
class BufferLimits:
    """Limits on how often audio is stored, and how much of it stays in memory."""

    tick_s: float = 0.25
    """Shortest time from one attempt to the next."""
    tail_bytes: int = 60 * BYTES_PER_SECOND
    """Audio that stays in memory although it is safe: the recogniser reads it from there."""
    max_pending_bytes: int = 120 * BYTES_PER_SECOND
    """Audio that may wait for the disk, or without a journal for its words, before more is refused."""


@dataclass(frozen=True, slots=True)
class Flush:
    """A request that everything received so far be stored."""

    target_bytes: int
    first_attempt: int
    """The first attempt that begins after the request; an older one may have met a disk that refused then."""


class GroupCommit:
    """The state of one recording's audio between arrival and safety. Offsets count bytes from its beginning."""

    def __init__(self, start: int, *, has_journal: bool, limits: BufferLimits) -> None:
        """`start` bytes are stored already. Without a journal, audio is safe once its words are committed."""
        self.has_journal = has_journal
        self._tick_s = limits.tick_s
        self._retry = Backoff(first_s=2 * limits.tick_s, longest_s=LONGEST_RETRY_S)
        self._tail_limit = limits.tail_bytes
        self._max_pending = limits.max_pending_bytes
        self._tail = bytearray()
        self._tail_start = start
        self.safe_bytes = start
        """End of the audio that is durable, or without a journal committed as words."""
        self._acknowledged = start
        self._attempts = self._ended = 0
        self._began_at = self._rests_until = -math.inf
        self._is_hurried = False
        self.failures = 0
        """Attempts that failed since the last one that succeeded."""
        self._error: MeetingAssistantError | None = None
        self.problem: Problem | None = None
        """`full` or `failing` while the disk refuses audio."""

    # --- audio comes in

    @property
    def received_bytes(self) -> int:
        """End of the audio accepted so far."""
        return self._tail_start + len(self._tail)

    @property
    def unsafe_bytes(self) -> int:
        """Length of the audio that waits for the disk, or without a journal for its words."""
        return self._tail_start + len(self._tail) - self.safe_bytes

    def append(self, pcm: bytes) -> None:
        """Accept audio. Raises StorageError when the disk is too far behind; then nothing was accepted."""
        if self.unsafe_bytes + len(pcm) > self._max_pending:
            raise self._behind()
        self._tail += pcm
        self._trim()

    def commit(self, offset: int) -> bool:
        """Note that the words up to `offset` are stored. Returns True when more became safe.

        Has no effect with a journal.
        """
        if self.has_journal or offset <= self.safe_bytes:
            return False
        self.safe_bytes = min(offset, self.received_bytes)
        self._trim()
        return True

    # --- attempts

    @property
    def has_work(self) -> bool:
        """True while audio waits for the disk, or safe audio is not acknowledged yet."""
        return (self.has_journal and self.unsafe_bytes > 0) or self._acknowledged < self.safe_bytes

    @property
    def due_at(self) -> float | None:
        """The time of the next attempt, on the clock of `begin`; None while there is nothing to do."""
        if not self.has_work:
            return None
        return -math.inf if self._is_hurried else self._rests_until

    def hurry(self) -> None:
        """Make the next attempt due at once."""
        self._is_hurried = True

    def begin(self, now: float) -> bytes:
        """Begin an attempt. Returns the audio to append to the journal, all of it or from the front on."""
        self._attempts += 1
        self._began_at = now
        self._is_hurried = False
        return bytes(self._tail[self.safe_bytes - self._tail_start :]) if self.has_journal else b""

    def stored(self, durable_bytes: int) -> None:
        """Note how far the journal is durable; also after an error, since it may have stored the first part."""
        self.safe_bytes = max(self.safe_bytes, durable_bytes)
        self._trim()

    @property
    def unacknowledged(self) -> int | None:
        """The offset to acknowledge next; None when everything safe is acknowledged."""
        return self.safe_bytes if self._acknowledged < self.safe_bytes else None

    def acknowledged(self, offset: int) -> None:
        """Note that the client knows that its audio is safe up to `offset`."""
        self._acknowledged = offset

    def succeed(self) -> None:
        """End the attempt: the disk takes audio."""
        self.failures, self._error, self.problem = 0, None, None
        self._rest(self._tick_s)

    def fail(self, error: MeetingAssistantError) -> None:
        """End the attempt: the audio stays in the tail, and the next attempt waits longer."""
        self._error = error
        if self.has_work:
            self.problem = "full" if error.code == "disk_full" else "failing"
        self.failures += 1
        self._rest(self._retry.pause_s(self.failures))

    def _rest(self, pause_s: float) -> None:
        self._ended = self._attempts
        self._rests_until = self._began_at + pause_s

    # --- waiting for it

    def flush(self) -> Flush:
        """Request that everything received so far be stored, without waiting for the tick."""
        return Flush(self.received_bytes, self._attempts + 1)

    def is_flushed(self, flush: Flush) -> bool:
        """True when that is done. Raises the error of an attempt that began after the request and failed."""
        if not self.has_journal or self.safe_bytes >= flush.target_bytes:
            return True
        if self._error is not None and self._ended >= flush.first_attempt:
            raise self._error
        return False

    @property
    def has_room(self) -> bool:
        """True while a client may send on: what waits is well below the limit of `append`."""
        return self.unsafe_bytes <= self._max_pending - min(self._tail_limit, self._max_pending // 2)

    @property
    def is_drained(self) -> bool:
        """True while a source faster than real time may go on: what waits is no more than the tail."""
        return self.unsafe_bytes <= self._tail_limit

    # --- the tail

    @property
    def tail_start(self) -> int:
        """Offset of the oldest byte in memory."""
        return self._tail_start

    def read_tail(self, start: int, stop: int) -> bytes:
        """Return a copy of the audio in memory between two offsets; `start` is at least `tail_start`."""
        return bytes(self._tail[start - self._tail_start : stop - self._tail_start])

    def _trim(self) -> None:
        """Give memory back, but nothing that is not safe."""
        if self.has_journal:
            keep_from = min(self.safe_bytes, self.received_bytes - self._tail_limit)
            step = min(TRIM_STEP_BYTES, self._tail_limit // 4)
        else:
            keep_from, step = self.safe_bytes, 1
        if keep_from - self._tail_start >= max(1, step):
            del self._tail[: keep_from - self._tail_start]
            self._tail_start = keep_from

    def _behind(self) -> StorageError:
        seconds = self._max_pending // BYTES_PER_SECOND
        if self.has_journal:
            message = f"More than {seconds} s of audio wait to be written to the disk."
            remedy = "Free space on the disk of DATA_DIR, or check why it is slow; send again what is not acknowledged."
        else:
            message = f"More than {seconds} s of audio wait to be recognised."
            remedy = "Send it more slowly; send again what is not acknowledged."
        return StorageError(message, remedy, code="storage_behind")
