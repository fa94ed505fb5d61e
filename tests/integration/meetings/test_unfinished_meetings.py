"""Meetings that were interrupted, at every moment at which a disk, a key or a program can fail."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from meeting_assistant.domain.errors import AudioDecryptionError, EngineError, StorageError
from meeting_assistant.domain.meeting import MeetingState
from meeting_assistant.domain.steps import TRANSCRIBE
from meeting_assistant.services.events.stage_errors import MAX_ATTEMPTS
from meeting_assistant.testing.harness.recording import FULL, RecordingHarness

OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()
SECOND = bytes(32_000)
RECORDING, PROCESSING, DONE, FAILED = (
    MeetingState.RECORDING,
    MeetingState.PROCESSING,
    MeetingState.DONE,
    MeetingState.FAILED,
)


async def interrupted(folder: Path, key: str) -> str:
    """Return a meeting of two acknowledged seconds, none of it transcribed when the server died."""
    async with RecordingHarness(folder, key) as harness:
        harness.engine.may_listen.clear()
        connection = await harness.start()
        connection.accept_audio(SECOND * 2)
        await harness.is_safe(connection.meeting_id, 64_000)
    return connection.meeting_id


# --- at start ---------------------------------------------------------------------------------------------


async def test_a_wrong_key_fails_a_meeting_and_keeps_its_audio_until_the_key_is_back(tmp_path: Path) -> None:
    meeting_id = await interrupted(tmp_path, OLD)
    journal = tmp_path / "audio" / f"{meeting_id}.maj"
    before = journal.read_bytes()
    async with RecordingHarness(tmp_path, NEW, retention="delete-after-minutes") as harness:
        await harness.recovery.resume_unfinished()
        failed = await harness.reaches(meeting_id, FAILED, DONE)
        assert failed.state is FAILED
        assert failed.errors[-1].code == "audio_decryption"
        await harness.retention.enforce()
        connection = await harness.start()
        connection.accept_audio(SECOND)
        await connection.stop()
        await harness.reaches(connection.meeting_id, DONE)
    assert journal.read_bytes() == before
    async with RecordingHarness(tmp_path, NEW, OLD) as harness:
        await harness.meetings.retry(meeting_id)
        done = await harness.reaches(meeting_id, DONE, FAILED)
        assert (done.state, done.committed_sample, done.errors) == (DONE, 32_000, [])


async def test_a_meeting_that_crashes_the_process_when_it_is_resumed_is_marked_failed_with_its_audio(
    tmp_path: Path,
) -> None:
    meeting_id = await interrupted(tmp_path, OLD)
    async with RecordingHarness(tmp_path, OLD) as harness:
        for _ in range(MAX_ATTEMPTS):
            await harness.store.begin_step(meeting_id, TRANSCRIBE)  # and then the process died
        await harness.recovery.resume_unfinished()
        failed = await harness.reaches(meeting_id, FAILED, DONE)
        assert failed.state is FAILED
        assert failed.errors[-1].code == "needs_attention"
        assert "try again" in failed.errors[-1].remedy
        await harness.meetings.retry(meeting_id)
        done = await harness.reaches(meeting_id, DONE, FAILED)
        assert (done.state, done.committed_sample) == (DONE, 32_000)


async def test_a_full_disk_at_start_delays_one_meeting_and_no_other(tmp_path: Path) -> None:
    stuck, other = await interrupted(tmp_path, OLD), await interrupted(tmp_path, OLD)
    async with RecordingHarness(tmp_path, OLD, grace_s=0) as harness:
        with harness.refusing("attempts", times=1), harness.refusing("add_error"):
            await harness.recovery.resume_unfinished()
            await harness.reaches(other, DONE)
        assert await harness.state_of(stuck) is RECORDING
        await harness.recovery.resume_unfinished()  # as the server does every minute
        await harness.reaches(stuck, DONE)


async def test_an_unexpected_error_does_not_keep_other_meetings_from_being_resumed(
    tmp_path: Path,
) -> None:
    strange, other = await interrupted(tmp_path, OLD), await interrupted(tmp_path, OLD)
    async with RecordingHarness(tmp_path, OLD, grace_s=0) as harness:
        with harness.refusing("resume_point", times=1, error=ValueError("no such thing")):
            await harness.recovery.resume_unfinished()
        assert (await harness.reaches(other, DONE, FAILED)).state is DONE
        assert (await harness.reaches(strange, DONE, FAILED)).errors[-1].code == "internal_error"


async def test_a_meeting_in_progress_is_not_resumed_again(tmp_path: Path) -> None:
    async with RecordingHarness(tmp_path, OLD) as harness:
        connection = await harness.start()
        connection.accept_audio(SECOND)
        await harness.recovery.resume_unfinished()
        connection.accept_audio(SECOND)
        harness.engine.may_listen.clear()
        await connection.stop()
        await harness.recovery.resume_unfinished()
        harness.engine.may_listen.set()
        done = await harness.reaches(connection.meeting_id, DONE, FAILED)
        assert (done.state, done.committed_sample, done.epoch) == (DONE, 32_000, 1)


async def test_a_job_interrupted_by_a_full_disk_is_resumed(tmp_path: Path) -> None:
    async with RecordingHarness(tmp_path, OLD) as harness:
        connection = await harness.start()
        connection.accept_audio(SECOND)
        with harness.refusing("finish", times=1) as was_refused:
            await connection.stop()
            await was_refused.wait()
        await harness.is_left(connection.meeting_id)
        assert await harness.state_of(connection.meeting_id) is PROCESSING
        await harness.recovery.resume_unfinished()
        await harness.reaches(connection.meeting_id, DONE)


async def test_a_meeting_whose_recording_was_never_created_is_finished(tmp_path: Path) -> None:
    """The server died between the record and the journal, or the disk was full for the journal."""
    async with RecordingHarness(tmp_path, OLD) as harness:
        assert harness.audio is not None
        with pytest.MonkeyPatch.context() as broken:
            broken.setattr(harness.audio, "create", _refuse)
            with pytest.raises(StorageError), harness.refusing("delete"):
                await harness.start()
        [left] = await harness.store.unfinished()
    async with RecordingHarness(tmp_path, OLD, grace_s=0) as harness:
        await harness.recovery.resume_unfinished()
        assert (await harness.reaches(left.id, DONE, FAILED)).state is DONE


async def test_a_meeting_that_could_not_begin_leaves_no_record(tmp_path: Path) -> None:
    async with RecordingHarness(tmp_path, OLD) as harness:
        assert harness.audio is not None
        with pytest.MonkeyPatch.context() as broken:
            broken.setattr(harness.audio, "create", _refuse)
            with pytest.raises(StorageError):
                await harness.start()
        assert await harness.store.recent() == []


def _refuse(*_: object) -> None:
    raise FULL


# --- while it runs ----------------------------------------------------------------------------------------


async def test_a_stop_with_a_full_database_takes_effect_once_there_is_space(tmp_path: Path) -> None:
    async with RecordingHarness(tmp_path, OLD) as harness:
        connection = await harness.start()
        connection.accept_audio(SECOND)
        with harness.refusing("set_state", times=2) as was_refused:
            await connection.stop()
            await was_refused.wait()
            await harness.reaches(connection.meeting_id, DONE)


async def test_without_a_returning_client_a_full_disk_only_delays_the_end(tmp_path: Path) -> None:
    async with RecordingHarness(tmp_path, OLD, grace_s=0.01) as harness:
        connection = await harness.start()
        connection.accept_audio(SECOND)
        with harness.refusing("set_state", times=2) as was_refused:
            await connection.leave()
            await was_refused.wait()
            await harness.reaches(connection.meeting_id, DONE)


async def test_in_memory_mode_a_full_database_after_the_last_word_only_delays_the_end(tmp_path: Path) -> None:
    async with RecordingHarness(tmp_path) as harness:
        connection = await harness.start()
        connection.accept_audio(SECOND)
        with harness.refusing("set_state", times=2) as was_refused:
            await connection.stop()
            await was_refused.wait()
            await harness.reaches(connection.meeting_id, DONE)


async def test_an_unexpected_error_fails_the_meeting_and_it_can_be_retried(tmp_path: Path) -> None:
    async with RecordingHarness(tmp_path, OLD) as harness:
        harness.engine.errors = [ValueError("unexpected")]
        connection = await harness.start()
        failed = await harness.reaches(connection.meeting_id, FAILED)
        assert failed.errors[-1].code == "internal_error"
        await harness.meetings.retry(connection.meeting_id)
        await harness.reaches(connection.meeting_id, DONE)


async def test_being_back_on_the_record_is_stored_before_it_takes_effect(tmp_path: Path) -> None:
    """Otherwise a restart would silence the speech after it."""
    async with RecordingHarness(tmp_path, OLD) as harness:
        connection = await harness.start()
        await connection.pause(forget=True)
        connection.accept_audio(SECOND)
        with harness.refusing("end_off_record", times=1), pytest.raises(StorageError):
            await connection.resume()
        connection.accept_audio(b"\x01" * 32_000)  # still off the record, as the store says
        await connection.resume()
        connection.accept_audio(b"\x02" * 32_000)
        await connection.stop()
        meeting = await harness.reaches(connection.meeting_id, DONE)
        assert [(s.start_sample, s.end_sample) for s in meeting.off_record] == [(0, 32_000)]
        journal = await harness.meetings.open_recording(meeting.id)
        assert journal.read(0, 96_000) == SECOND * 2 + b"\x02" * 32_000
        journal.close()


# --- uploads ----------------------------------------------------------------------------------------------


async def test_an_upload_interrupted_by_a_full_disk_is_read_again_later(tmp_path: Path) -> None:
    async with RecordingHarness(tmp_path, OLD) as harness:
        with harness.refusing(
            "commit_sample", times=1, error=StorageError("The disk refused.", code="damaged")
        ):
            meeting = await harness.upload(SECOND * 3)
            await harness.reaches(meeting.id, FAILED)
        assert (tmp_path / "uploads" / meeting.id).exists()
        await harness.meetings.retry(meeting.id)
        done = await harness.reaches(meeting.id, DONE, FAILED)
        assert (done.state, done.committed_sample, done.errors) == (DONE, 48_000, [])
        assert not (tmp_path / "uploads" / meeting.id).exists()


@pytest.mark.parametrize(
    ("error", "state"),
    [(FULL, PROCESSING), (EngineError("The engine died."), FAILED), (KeyError("?"), FAILED)],
)
async def test_no_failure_deletes_an_accepted_file(
    tmp_path: Path, error: Exception, state: MeetingState
) -> None:
    async with RecordingHarness(tmp_path, OLD) as harness:
        harness.engine.errors = [error]
        meeting = await harness.upload(SECOND * 3)
        await harness.is_left(meeting.id)
        assert await harness.state_of(meeting.id) is state
        assert (tmp_path / "uploads" / meeting.id).exists()
        if state is FAILED:
            await harness.meetings.retry(meeting.id)
        else:
            await harness.recovery.resume_unfinished()
        done = await harness.reaches(meeting.id, DONE)
        assert done.committed_sample == 48_000


async def test_an_upload_whose_file_is_missing_is_reported(tmp_path: Path) -> None:
    async with RecordingHarness(tmp_path, OLD) as harness:
        harness.engine.errors = [FULL]
        meeting = await harness.upload(SECOND * 3)
        await harness.is_left(meeting.id)
        (tmp_path / "uploads" / meeting.id).unlink()
        (tmp_path / "audio" / f"{meeting.id}.maj").unlink(missing_ok=True)
        await harness.recovery.resume_unfinished()
        failed = await harness.reaches(meeting.id, FAILED, DONE)
        assert failed.state is FAILED
        assert failed.errors[-1].code == "file_gone"


@pytest.mark.parametrize("keys", [(OLD,), ()], ids=["journal", "memory"])
async def test_a_completely_read_upload_is_finished_without_its_file(
    tmp_path: Path, keys: tuple[str, ...]
) -> None:
    async with RecordingHarness(tmp_path, *keys) as harness:
        with harness.refusing("finish", times=1):
            meeting = await harness.upload(SECOND * 3)
            await harness.is_left(meeting.id)
        assert not (tmp_path / "uploads" / meeting.id).exists()
        await harness.recovery.resume_unfinished()
        done = await harness.reaches(meeting.id, DONE, FAILED)
        assert (done.state, done.committed_sample, done.received_bytes) == (DONE, 48_000, 96_000)


async def test_deleting_an_upload_while_it_is_read_leaves_nothing_behind(tmp_path: Path) -> None:
    async with RecordingHarness(tmp_path, OLD) as harness:
        harness.engine.may_listen.clear()
        meeting = await harness.upload(SECOND * 3)
        journal = tmp_path / "audio" / f"{meeting.id}.maj"
        assert harness.audio is not None
        create = harness.audio.create
        deleted = asyncio.Event()
        loop = asyncio.get_running_loop()

        def create_late(meeting_id: str) -> object:
            asyncio.run_coroutine_threadsafe(deleted.wait(), loop).result()
            return create(meeting_id)

        harness.audio.create = create_late  # type: ignore[assignment, method-assign]
        await harness.meetings.delete(meeting.id)
        deleted.set()
        harness.engine.may_listen.set()
        await harness.is_left(meeting.id)
        assert not journal.exists()
        assert list((tmp_path / "uploads").glob("0*")) == []


async def test_an_upload_that_could_not_be_recorded_leaves_no_file(tmp_path: Path) -> None:
    async with RecordingHarness(tmp_path, OLD) as harness:
        with harness.refusing("create"), pytest.raises(StorageError):
            await harness.upload(SECOND)
        assert [path for path in (tmp_path / "uploads").rglob("*") if path.is_file()] == []


async def test_left_over_uploads_are_removed_at_start_and_those_that_nobody_knows_are_kept(
    tmp_path: Path,
) -> None:
    unknown = "01890a5d-ac96-774b-bcce-b302099a8057"
    async with RecordingHarness(tmp_path, OLD) as harness:
        harness.engine.errors = [EngineError("The engine died.")]
        kept = await harness.upload(SECOND)
        await harness.reaches(kept.id, FAILED)
        (harness.uploads.incoming / "half").write_bytes(SECOND)
        (tmp_path / "uploads" / unknown).write_bytes(SECOND)
    async with RecordingHarness(tmp_path, OLD) as harness:
        await harness.uploads.remove_orphans()
        left = {path.name for path in (tmp_path / "uploads").rglob("*") if path.is_file()}
        assert left == {kept.id, unknown}
        await harness.meetings.retry(kept.id)
        await harness.reaches(kept.id, DONE)


async def test_in_memory_mode_a_file_is_decoded_no_faster_than_it_is_transcribed(tmp_path: Path) -> None:
    async with RecordingHarness(tmp_path) as harness:
        meeting = await harness.upload(SECOND * 200)
        done = await harness.reaches(meeting.id, DONE, FAILED)
        assert (done.state, done.committed_sample) == (DONE, 200 * 16_000)
        assert harness.engine.most_unread_bytes < 100 * 32_000


async def test_a_retry_with_the_same_error_reports_it_again(tmp_path: Path) -> None:
    meeting_id = await interrupted(tmp_path, OLD)
    async with RecordingHarness(tmp_path, NEW) as harness:
        await harness.recovery.resume_unfinished()
        await harness.reaches(meeting_id, FAILED)
        await harness.meetings.retry(meeting_id)
        failed = await harness.store.get(meeting_id)
        assert (failed.state, [error.code for error in failed.errors]) == (FAILED, ["audio_decryption"])
        with pytest.raises(
            AudioDecryptionError
        ):  # which names the key; the client can come back when it is there
            await harness.live.resume_meeting(meeting_id, sample_rate=16_000, channels=1)
