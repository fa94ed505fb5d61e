"""The power-cut model: `kill -9` alone does not test a sync, since the page cache survives it.

After each run a journal is cut somewhere between the end of the last completed sync and its end, and zeros, garbage or
a torn byte follow: what a disk may hold after a power cut. Everything that was acknowledged must still be there.
"""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.fernet import Fernet

from meeting_assistant.adapters.storage.journal import durable_files
from meeting_assistant.adapters.storage.journal.files import FileAudioStore
from meeting_assistant.adapters.storage.journal.keys import KeyRing
from meeting_assistant.domain.errors import ConflictError, StorageError
from meeting_assistant.testing.harness.campaign import Campaign

MEETING = "01890a5d-ac96-774b-bcce-b302099a8057"
KEY = Fernet.generate_key().decode()


def sound(start: int, length: int) -> bytes:
    """Every sample names its place, so that a byte in the wrong place is seen."""
    numbers = np.arange(start // 4, -(-(start + length) // 4), dtype=">u4")
    return numbers.tobytes()[start % 4 :][:length]


class PowerCutError(Exception):
    """The machine is off."""


class Disk:
    """A disk that records how much of each file was synced, and can lose power before or after a sync, or fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.synced: dict[int, int] = {}
        self.syncs_left: int | None = None
        self.refusals: dict[str, list[OSError]] = {"write": [], "sync": [], "truncate": []}
        self._write, self._sync, self._truncate = os.write, durable_files.sync_file, os.ftruncate
        monkeypatch.setattr(durable_files, "sync_file", self.sync)
        monkeypatch.setattr("meeting_assistant.adapters.storage.journal.durable_files.os.write", self.write)
        monkeypatch.setattr("meeting_assistant.adapters.storage.journal.files.os.ftruncate", self.truncate)

    def write(self, descriptor: int, content: Any) -> int:
        if self.refusals["write"]:
            error = self.refusals["write"].pop(0)
            if error.errno == 0:  # a short write: part of it arrives
                return self._write(descriptor, bytes(content)[: max(1, len(content) // 3)])
            self._write(descriptor, bytes(content)[: len(content) // 2])
            raise error
        return self._write(descriptor, content)

    def truncate(self, descriptor: int, length: int) -> None:
        if self.refusals["truncate"]:
            raise self.refusals["truncate"].pop(0)
        self._truncate(descriptor, length)

    def sync(self, descriptor: int) -> None:
        if self.syncs_left == 0:
            raise PowerCutError
        if self.refusals["sync"]:
            raise self.refusals["sync"].pop(0)
        self._sync(descriptor)
        if self.syncs_left is not None:
            self.syncs_left -= 1


def cut_power(path: Path, synced: int, dice: random.Random) -> int:
    """Leave the file as a disk may hold it; returns how many bytes beyond the sync were damaged or lost."""
    raw = path.read_bytes()
    cut = dice.randint(synced, len(raw))
    rest = len(raw) - cut
    tail = dice.choice(
        [
            b"",
            bytes(rest),
            dice.randbytes(dice.randint(0, rest + 64)),
            bytes(dice.randint(0, 4096)),
            (bytes([raw[cut] ^ (1 << dice.randrange(8))]) + raw[cut + 1 :]) if rest else b"",
        ]
    )
    path.write_bytes(raw[:cut] + tail)
    return len(raw) - synced


@pytest.mark.short(60)
def test_acknowledged_audio_survives_a_power_cut(
    tmp_path: Path, campaign: Campaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in campaign.seeds():
        dice = random.Random(seed)
        folder = tmp_path / str(seed)
        store, path = FileAudioStore(folder, KeyRing([KEY])), folder / f"{MEETING}.maj"
        acknowledged = 0
        for _ in range(dice.randint(1, 4)):  # the power returns, and fails again
            with monkeypatch.context() as patch:
                journal = (
                    store.open(MEETING, durable_bytes=acknowledged)
                    if path.exists()
                    else store.create(MEETING)
                )
                assert journal.read(0, journal.durable_bytes) == sound(0, journal.durable_bytes)
                disk = Disk(patch)
                disk.syncs_left = dice.randint(0, 12)
                synced = journal.file_bytes
                try:
                    while True:
                        start = journal.durable_bytes
                        journal.append(sound(start, dice.randrange(2, 60_000, 2)))
                        acknowledged = journal.durable_bytes
                        synced = journal.file_bytes
                except PowerCutError:
                    synced = max(synced, journal.file_bytes)
                    journal.close()
            lost = cut_power(path, synced, dice)
            campaign.count(cycles=1, unsynced_bytes=lost, acknowledged_bytes=acknowledged)
        journal = store.open(MEETING, durable_bytes=acknowledged)
        stored = journal.durable_bytes
        assert stored >= acknowledged
        assert journal.read(0, stored) == sound(0, stored)
        journal.append(sound(stored, 100))
        journal.seal()
        journal.close()


@pytest.mark.short(30)
def test_a_failing_disk_never_causes_a_false_acknowledgement(
    tmp_path: Path, campaign: Campaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    """EIO, ENOSPC, short writes and refused syncs and truncations, in any order."""
    import errno

    for seed in campaign.seeds():
        dice = random.Random(seed)
        store = FileAudioStore(tmp_path / str(seed), KeyRing([KEY]))
        journal = store.create(MEETING)
        with monkeypatch.context() as patch:
            disk = Disk(patch)
            for _ in range(30):
                fault = dice.choice(["none", "write", "sync", "truncate", "short"])
                number = dice.choice([errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EROFS])
                if fault == "short":
                    disk.refusals["write"] += [OSError(0, "short")] * dice.randint(1, 3)
                elif fault != "none":
                    disk.refusals[fault].append(OSError(number, os.strerror(number)))
                before = journal.durable_bytes
                piece = sound(before, dice.randrange(2, 150_000, 2))
                try:
                    journal.append(piece)
                    assert journal.durable_bytes == before + len(piece)
                except StorageError:
                    assert before <= journal.durable_bytes <= before + len(piece)
                    campaign.count(refusals=1)
                stored = journal.durable_bytes
                assert journal.read(before, stored - before) == sound(before, stored - before)
                campaign.count(appends=1)
        acknowledged = journal.durable_bytes
        journal.close()
        again = store.open(MEETING, durable_bytes=acknowledged)
        stored = (
            again.durable_bytes
        )  # what was written and could be neither synced nor cut off may be there, too
        assert stored >= acknowledged
        assert again.read(0, stored) == sound(0, stored)
        again.close()


@pytest.mark.short(40)
def test_of_two_writers_only_one_writes(tmp_path: Path, campaign: Campaign) -> None:
    for seed in campaign.seeds():
        dice = random.Random(seed)
        store = FileAudioStore(tmp_path / str(seed), KeyRing([KEY]))
        store.create(MEETING).close()
        writers = [store.open(MEETING) for _ in range(2)]
        winner = None
        for _ in range(12):
            who = dice.randrange(2)
            start = writers[who].durable_bytes
            try:
                writers[who].append(sound(start, dice.randrange(2, 20_000, 2)))
                assert winner in (None, who)
                winner = who
            except ConflictError:
                assert winner == 1 - who
                campaign.count(fenced=1)
        stored = max(writer.durable_bytes for writer in writers)
        for writer in writers:
            writer.close()
        journal = store.open(MEETING, durable_bytes=stored)
        assert journal.read(0, stored) == sound(0, stored)
        journal.close()
