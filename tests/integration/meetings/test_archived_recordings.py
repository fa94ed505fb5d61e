"""Recordings of finished meetings in an object store: read from every machine, deleted completely."""

from __future__ import annotations

import contextlib
import secrets
import sqlite3
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from meeting_assistant.adapters.storage.journal.keys import KeyRing, fingerprint_of
from meeting_assistant.domain.errors import AudioDecryptionError, ConflictError, NotFoundError, StorageError
from meeting_assistant.domain.meeting import MeetingState
from meeting_assistant.testing.harness.archive import (
    KEY,
    SOUND,
    Machine,
    SharedArchive,
    archive_metric,
    cached_files,
)
from meeting_assistant.testing.servers.s3 import S3Server

NEW_KEY = Fernet.generate_key().decode()

SILENCE = bytes(len(SOUND))


async def test_another_machine_can_play_erase_and_delete_a_recording(archive: SharedArchive) -> None:
    one, other = await archive.machine("one"), await archive.machine("other")
    meeting = await one.record(SOUND * 3)
    await one.archiver.run_once()
    assert one.audio.local_ids() == []
    assert await other.call(other.audio.exists, meeting)
    assert await other.sound_of(meeting) == SOUND * 3
    await other.call(other.audio.erase, meeting, [(len(SOUND), 2 * len(SOUND))])
    assert await one.sound_of(meeting) == SOUND + SILENCE + SOUND
    assert len(archive.objects()) == 1, "the object before is gone"
    await one.call(one.audio.delete, meeting)
    assert archive.objects() == {}
    await one.store.set_audio_deleted(meeting, 1)
    assert not await other.call(other.audio.exists, meeting)
    with pytest.raises(NotFoundError):
        await other.sound_of(meeting)


async def test_a_recording_on_the_disk_of_another_machine_is_reported_as_such(archive: SharedArchive) -> None:
    one, other = await archive.machine("one"), await archive.machine("other")
    meeting = await one.record()
    with pytest.raises(ConflictError, match="still on the machine that recorded it"):
        await other.call(other.audio.exists, meeting)
    # Deleted there: the machine that has it destroys it as soon as it looks.
    await other.call(other.audio.delete, meeting)
    await other.store.delete(meeting)
    assert one.local.exists(meeting)
    await one.archiver.run_once()
    assert not one.local.exists(meeting)
    assert archive.objects() == {}


async def test_only_sealed_recordings_of_ended_meetings_move(sqlite_archive: SharedArchive) -> None:
    machine = await sqlite_archive.machine()
    running = await machine.record(state=MeetingState.RECORDING)
    processing = await machine.record(state=MeetingState.PROCESSING)
    open_end = await machine.record(state=MeetingState.FAILED, is_sealed=False)
    failed = await machine.record(state=MeetingState.FAILED)
    await machine.archiver.run_once()
    assert machine.audio.local_ids() == sorted([running, processing, open_end])
    assert archive_metric("pending", work="move") == 0
    assert await machine.sound_of(failed) == SOUND, "it can be tried again"
    await machine.store.set_state(processing, MeetingState.FAILED)
    machine.archiver.wake(processing)
    await machine.archiver.run_once()
    assert machine.audio.local_ids() == sorted([running, open_end])


async def test_old_versions_in_a_bucket_are_unreadable(tmp_path: Path, s3_server: S3Server) -> None:
    bucket, prefix = f"versioned-{secrets.token_hex(4)}", "meetings"
    s3_server.make_bucket(bucket, is_versioned=True)
    url = s3_server.url(prefix, bucket)
    database = f"sqlite+aiosqlite:///{tmp_path / 'meetings.db'}"
    machine = await Machine(tmp_path, database, url, [KEY]).open()
    meeting = await machine.record()
    await machine.archiver.run_once()
    await machine.call(machine.audio.erase, meeting, [(0, 10_000)])
    await machine.call(machine.audio.delete, meeting)
    assert s3_server.objects(prefix, bucket) == {}
    kept = s3_server.all_versions(prefix, bucket)
    assert len(kept) == 2
    assert all(content[512:1536] == bytes(1024) for content in kept), "no wrapped key"
    assert await machine.catalogue.needed_keys() == {}
    await machine.close()


async def test_fetched_recordings_stay_within_the_cache_limit(sqlite_archive: SharedArchive) -> None:
    machine = await sqlite_archive.machine(cache_bytes=150_000)
    meetings = [await machine.record(SOUND * 2) for _ in range(4)]
    await machine.archiver.run_once()
    for meeting in [*meetings, *meetings]:
        assert await machine.sound_of(meeting) == SOUND * 2
    kept = cached_files(machine)
    assert len(kept) == 2
    assert all(path.read_bytes()[512:1536] == bytes(1024) for path in kept), "no keys in it"


async def test_nothing_is_fetched_onto_a_nearly_full_disk(tmp_path: Path, s3_server: S3Server) -> None:
    def refuse(size_bytes: int) -> None:
        raise StorageError("Only 1 MB is free.", code="disk_full")

    url = s3_server.url(secrets.token_hex(8))
    machine = await Machine(
        tmp_path, f"sqlite+aiosqlite:///{tmp_path / 'meetings.db'}", url, [KEY], check_space=refuse
    ).open()
    meeting = await machine.record()
    await machine.archiver.run_once()
    with pytest.raises(StorageError, match="free"):
        await machine.sound_of(meeting)
    await machine.close()


async def test_rotating_keys_changes_no_object(archive: SharedArchive) -> None:
    machine = await archive.machine("one")
    meeting = await machine.record()
    await machine.archiver.run_once()
    before = archive.objects()
    assert await machine.catalogue.needed_keys() == {fingerprint_of(KEY): 1}
    moved, failed = await machine.catalogue.rewrap(KeyRing([NEW_KEY]))
    assert (moved, [name for name, _ in failed]) == (0, [meeting]), "without the old key nothing happens"
    moved, failed = await machine.catalogue.rewrap(KeyRing([NEW_KEY, KEY]))
    assert (moved, failed) == (1, [])
    assert await machine.catalogue.needed_keys() == {fingerprint_of(NEW_KEY): 1}
    assert archive.objects() == before
    rotated = await archive.machine("two", keys=(NEW_KEY,))
    assert await rotated.sound_of(meeting) == SOUND
    with pytest.raises(AudioDecryptionError, match=fingerprint_of(NEW_KEY)):
        await machine.sound_of(meeting)


async def test_deleting_a_meeting_destroys_its_key_even_without_an_object_store(
    sqlite_archive: SharedArchive, tmp_path: Path
) -> None:
    """`AUDIO_STORE_URL` has been removed from the settings."""
    machine = await sqlite_archive.machine()
    one, other = await machine.record(), await machine.record()
    await machine.archiver.run_once()
    await machine.store.delete(one)
    await machine.store.set_audio_deleted(other, 1)
    assert await machine.catalogue.needed_keys() == {}
    with contextlib.closing(sqlite3.connect(tmp_path / "meetings.db")) as connection:
        rows = connection.execute("SELECT state, wrapped_key FROM remote_recordings").fetchall()
    assert rows == [("doomed", None)] * 2
    await machine.archiver.run_once()
    assert sqlite_archive.objects() == {}
