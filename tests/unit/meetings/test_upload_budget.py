"""All files that arrive share one budget."""

from __future__ import annotations

import pytest

from meeting_assistant.domain.errors import OverloadedError, StorageError
from meeting_assistant.services.meetings.upload_budget import MAX_UPLOADS_OF_OWNER, STEP_BYTES, UploadBudget

MB = 1024**2


class Disk:
    """A disk with some room; what arrives takes it."""

    def __init__(self, free_bytes: int) -> None:
        self.free_bytes = free_bytes

    def check(self, needed_bytes: int) -> None:
        if needed_bytes > self.free_bytes:
            raise StorageError("The disk is full.", "Free some space.", code="disk_full")


def test_files_that_arrive_together_do_not_share_one_reservation_of_space() -> None:
    disk = Disk(100 * MB)
    budget = UploadBudget(disk.check)
    with budget.admit("ana", 60 * MB) as slot:
        with pytest.raises(StorageError), budget.admit("ben", 60 * MB):
            pass
        slot.receive(50 * MB)
        disk.free_bytes -= 50 * MB
        with budget.admit("ben", 40 * MB):
            pass
    with budget.admit("ben", 50 * MB):
        pass


def test_a_file_of_unknown_length_reserves_space_as_it_arrives() -> None:
    disk = Disk(STEP_BYTES + 1)
    with UploadBudget(disk.check).admit("ana", None) as slot:
        slot.receive(STEP_BYTES)
        disk.free_bytes -= STEP_BYTES
        with pytest.raises(StorageError):
            slot.receive(1)


def test_one_owner_does_not_keep_others_from_sending() -> None:
    budget = UploadBudget(lambda _: None)
    own = [budget.admit("ana", 1) for _ in range(MAX_UPLOADS_OF_OWNER)]
    for slot in own:
        slot.__enter__()
    with pytest.raises(OverloadedError) as refused, budget.admit("ana", 1):
        pass
    assert refused.value.retry_after_s
    with budget.admit("ben", 1):
        pass
    own[0].__exit__(None, None, None)
    with budget.admit("ana", 1):
        pass
