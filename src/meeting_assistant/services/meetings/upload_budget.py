"""One budget for all files that are arriving: how many at once, and how much of the disk they may fill together."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from meeting_assistant.domain.errors import OverloadedError

MAX_UPLOADS, MAX_UPLOADS_OF_OWNER = 16, 8
"""Files that arrive at the same time, of everybody and of one owner."""
STEP_BYTES = 16 * 1024**2
"""How much room a file without an announced length reserves at a time."""
RETRY_S = 10


class UploadSlot:
    """The room of one file while it arrives."""

    def __init__(self, budget: UploadBudget, owner: str, reserved_bytes: int) -> None:
        self.owner = owner
        self.reserved_bytes = reserved_bytes
        self._budget = budget
        self._received_bytes = 0

    @property
    def missing_bytes(self) -> int:
        """What is reserved and has not arrived."""
        return max(0, self.reserved_bytes - self._received_bytes)

    def receive(self, size_bytes: int) -> None:
        """Count bytes that arrived. Raises StorageError when there is no room for more."""
        self._received_bytes += size_bytes
        if self._received_bytes > self.reserved_bytes:
            self.reserved_bytes = self._received_bytes + STEP_BYTES
            self._budget.check_room()


class UploadBudget:
    """Admits files as long as the disk has room for all that were admitted."""

    def __init__(self, check_room: Callable[[int], None]) -> None:
        """`check_room` raises StorageError when the disk has no room for so many bytes more."""
        self._check_room = check_room
        self._slots: set[UploadSlot] = set()

    @contextlib.contextmanager
    def admit(self, owner: str, announced_bytes: int | None) -> Iterator[UploadSlot]:
        """Reserve the announced size, or a first step of an unknown one, until the block ends.

        Raises OverloadedError when too many files are arriving, StorageError when the disk has no room.
        """
        own = sum(slot.owner == owner for slot in self._slots)
        if len(self._slots) >= MAX_UPLOADS or own >= MAX_UPLOADS_OF_OWNER:
            raise OverloadedError(
                f"{own} of your files are arriving, and {len(self._slots)} in all: no more are taken at once.",
                "Send this one when another one has arrived.",
                retry_after_s=RETRY_S,
            )
        slot = UploadSlot(self, owner, STEP_BYTES if announced_bytes is None else announced_bytes)
        self._slots.add(slot)
        try:
            self.check_room()
            yield slot
        finally:
            self._slots.discard(slot)

    def check_room(self) -> None:
        """Raise StorageError when the disk has no room for what has been admitted and has not arrived."""
        self._check_room(sum(slot.missing_bytes for slot in self._slots))
