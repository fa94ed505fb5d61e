"""Meetings that were cut short, at every moment at which a disk, a key or a program can fail."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from meeting_assistant.domain.errors import ConflictError, EngineError, StorageError
from meeting_assistant.domain.meeting import MeetingState
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


async def cut_short(folder: Path, key: str) -> str:
    """A meeting of two acknowledged seconds of which nothing was transcribed when the server died."""
    async with RecordingHarness(folder, key) as house:
        house.engine.may_listen.clear()
        connection = await house.start()
        connection.accept_audio(SECOND * 2)
        await house.is_safe(connection.meeting_id, 64_000)
    return connection.meeting_id


# --- at start ---------------------------------------------------------------------------------------------


async def test_a_wrong_key_fails_a_meeting_and_keeps_its_sound_until_the_key_is_back(tmp_path: Path) -> None:
    meeting_id = await cut_short(tmp_path, OLD)
    journal = tmp_path / "audio" / f"{meeting_id}.maj"
    before = journal.read_bytes()
    async with RecordingHarness(tmp_path, NEW, retention="delete-after-minutes") as house:
        await house.recovery.resume_unfinished()
        failed = await house.reaches(meeting_id, FAILED, DONE)
        assert failed.state is FAILED
        assert failed.errors[-1].code == "audio_decryption"
        await house.retention.enforce()
        connection = await house.start()
        connection.accept_audio(SECOND)
        await connection.stop()
        await house.reaches(connection.meeting_id, DONE)
    assert journal.read_bytes() == before
    async with RecordingHarness(tmp_path, NEW, OLD) as house:
        await house.meetings.retry(meeting_id)
        done = await house.reaches(meeting_id, DONE, FAILED)
        assert (done.state, done.committed_sample, done.errors) == (DONE, 32_000, [])


async def test_a_meeting_that_takes_the_process_down_when_it_is_taken_up_is_parked_with_its_sound(
    tmp_path: Path,
) -> None:
    meeting_id = await cut_short(tmp_path, OLD)
    async with RecordingHarness(tmp_path, OLD) as house:
        meeting = await house.store.get(meeting_id)
        step = f"resume_meeting:{meeting.committed_sample}:{meeting.received_bytes}"
        for _ in range(MAX_ATTEMPTS):
            await house.store.begin_step(meeting_id, step)  # and then the process died
        await house.recovery.resume_unfinished()
        parked = await house.reaches(meeting_id, FAILED, DONE)
        assert parked.state is FAILED
        assert parked.errors[-1].code == "needs_attention"
        assert "try again" in parked.errors[-1].remedy
        await house.meetings.retry(meeting_id)
        done = await house.reaches(meeting_id, DONE, FAILED)
        assert (done.state, done.committed_sample) == (DONE, 32_000)


async def test_a_full_disk_at_start_delays_one_meeting_and_stops_nobody(tmp_path: Path) -> None:
    stuck, other = await cut_short(tmp_path, OLD), await cut_short(tmp_path, OLD)
    async with RecordingHarness(tmp_path, OLD, grace_s=0) as house:
        with house.refusing("begin_step", times=1), house.refusing("add_error"):
            await house.recovery.resume_unfinished()
            await house.reaches(other, DONE)
        assert await house.state_of(stuck) is RECORDING
        await house.recovery.resume_unfinished()  # as the server does every minute
        await house.reaches(stuck, DONE)


async def test_a_meeting_that_nobody_foresaw_does_not_keep_the_others_from_being_taken_up(
    tmp_path: Path,
) -> None:
    strange, other = await cut_short(tmp_path, OLD), await cut_short(tmp_path, OLD)
    async with RecordingHarness(tmp_path, OLD, grace_s=0) as house:
        with house.refusing("resume_point", times=1, error=ValueError("no such thing")):
            await house.recovery.resume_unfinished()
        assert (await house.reaches(other, DONE, FAILED)).state is DONE
        assert (await house.reaches(strange, DONE, FAILED)).errors[-1].code == "internal_error"


async def test_what_is_worked_on_is_not_taken_up_again(tmp_path: Path) -> None:
    async with RecordingHarness(tmp_path, OLD) as house:
        connection = await house.start()
        connection.accept_audio(SECOND)
        await house.recovery.resume_unfinished()
        connection.accept_audio(SECOND)
        house.engine.may_listen.clear()
        await connection.stop()
        await house.recovery.resume_unfinished()
        house.engine.may_listen.set()
        done = await house.reaches(connection.meeting_id, DONE, FAILED)
        assert (done.state, done.committed_sample, done.epoch) == (DONE, 32_000, 1)


async def test_a_job_that_met_a_full_disk_is_found_again(tmp_path: Path) -> None:
    async with RecordingHarness(tmp_path, OLD) as house:
        connection = await house.start()
        connection.accept_audio(SECOND)
        with house.refusing("finish", times=1) as was_refused:
            await connection.stop()
            await was_refused.wait()
        await house.is_left(connection.meeting_id)
        assert await house.state_of(connection.meeting_id) is PROCESSING
        await house.recovery.resume_unfinished()
        await house.reaches(connection.meeting_id, DONE)


async def test_a_meeting_whose_recording_was_never_made_is_no_trouble(tmp_path: Path) -> None:
    """The server died between the record and the journal, or the disk was full for the journal."""
    async with RecordingHarness(tmp_path, OLD) as house:
        assert house.audio is not None
        with pytest.MonkeyPatch.context() as broken:
            broken.setattr(house.audio, "create", _refuse)
            with pytest.raises(StorageError), house.refusing("delete"):
                await house.start()
        [left] = await house.store.unfinished()
    async with RecordingHarness(tmp_path, OLD, grace_s=0) as house:
        await house.recovery.resume_unfinished()
        assert (await house.reaches(left.id, DONE, FAILED)).state is DONE


async def test_a_meeting_that_could_not_begin_leaves_no_record(tmp_path: Path) -> None:
    async with RecordingHarness(tmp_path, OLD) as house:
        assert house.audio is not None
        with pytest.MonkeyPatch.context() as broken:
            broken.setattr(house.audio, "create", _refuse)
            with pytest.raises(StorageError):
                await house.start()
        assert await house.store.recent() == []


def _refuse(*_: object) -> None:
    raise FULL


# --- while it runs ----------------------------------------------------------------------------------------


async def test_stop_on_a_full_database_ends_the_meeting_when_there_is_room(tmp_path: Path) -> None:
    async with RecordingHarness(tmp_path, OLD) as house:
        connection = await house.start()
        connection.accept_audio(SECOND)
        with house.refusing("set_state", times=2) as was_refused:
            await connection.stop()
            await was_refused.wait()
            await house.reaches(connection.meeting_id, DONE)


async def test_when_nobody_comes_back_a_full_disk_only_delays_the_end(tmp_path: Path) -> None:
    async with RecordingHarness(tmp_path, OLD, grace_s=0.01) as house:
        connection = await house.start()
        connection.accept_audio(SECOND)
        with house.refusing("set_state", times=2) as was_refused:
            await connection.leave()
            await was_refused.wait()
            await house.reaches(connection.meeting_id, DONE)


async def test_in_memory_a_full_database_after_the_last_word_only_delays_the_end(tmp_path: Path) -> None:
    async with RecordingHarness(tmp_path) as house:
        connection = await house.start()
        connection.accept_audio(SECOND)
        with house.refusing("set_state", times=2) as was_refused:
            await connection.stop()
            await was_refused.wait()
            await house.reaches(connection.meeting_id, DONE)


async def test_a_mistake_in_the_session_fails_the_meeting_and_it_can_be_tried_again(tmp_path: Path) -> None:
    async with RecordingHarness(tmp_path, OLD) as house:
        house.engine.errors = [ValueError("nobody foresaw this")]
        connection = await house.start()
        failed = await house.reaches(connection.meeting_id, FAILED)
        assert failed.errors[-1].code == "internal_error"
        await house.meetings.retry(connection.meeting_id)
        await house.reaches(connection.meeting_id, DONE)


async def test_back_on_the_record_is_stored_before_it_counts(tmp_path: Path) -> None:
    """Otherwise a restart would silence what was said after it, and nobody would know."""
    async with RecordingHarness(tmp_path, OLD) as house:
        connection = await house.start()
        await connection.pause(forget=True)
        connection.accept_audio(SECOND)
        with house.refusing("set_off_record", times=1), pytest.raises(StorageError):
            await connection.resume()
        connection.accept_audio(b"\x01" * 32_000)  # still off the record, as the store says
        await connection.resume()
        connection.accept_audio(b"\x02" * 32_000)
        await connection.stop()
        meeting = await house.reaches(connection.meeting_id, DONE)
        assert [(s.start_sample, s.end_sample) for s in meeting.off_record] == [(0, 32_000)]
        journal = await house.meetings.open_recording(meeting.id)
        assert journal.read(0, 96_000) == SECOND * 2 + b"\x02" * 32_000
        journal.close()


# --- uploads ----------------------------------------------------------------------------------------------


async def test_an_upload_that_meets_a_full_disk_is_read_again_later(tmp_path: Path) -> None:
    async with RecordingHarness(tmp_path, OLD) as house:
        with house.refusing(
            "commit_sample", times=1, error=StorageError("The disk refused.", code="damaged")
        ):
            meeting = await house.upload(SECOND * 3)
            await house.reaches(meeting.id, FAILED)
        assert (tmp_path / "uploads" / meeting.id).exists()
        await house.meetings.retry(meeting.id)
        done = await house.reaches(meeting.id, DONE, FAILED)
        assert (done.state, done.committed_sample, done.errors) == (DONE, 48_000, [])
        assert not (tmp_path / "uploads" / meeting.id).exists()


@pytest.mark.parametrize(
    ("error", "state"),
    [(FULL, PROCESSING), (EngineError("The engine died."), FAILED), (KeyError("?"), FAILED)],
)
async def test_no_failure_of_ours_deletes_a_file_that_was_accepted(
    tmp_path: Path, error: Exception, state: MeetingState
) -> None:
    async with RecordingHarness(tmp_path, OLD) as house:
        house.engine.errors = [error]
        meeting = await house.upload(SECOND * 3)
        await house.is_left(meeting.id)
        assert await house.state_of(meeting.id) is state
        assert (tmp_path / "uploads" / meeting.id).exists()
        if state is FAILED:
            await house.meetings.retry(meeting.id)
        else:
            await house.recovery.resume_unfinished()
        done = await house.reaches(meeting.id, DONE)
        assert done.committed_sample == 48_000


async def test_an_upload_whose_file_is_gone_says_so(tmp_path: Path) -> None:
    async with RecordingHarness(tmp_path, OLD) as house:
        house.engine.errors = [FULL]
        meeting = await house.upload(SECOND * 3)
        await house.is_left(meeting.id)
        (tmp_path / "uploads" / meeting.id).unlink()
        (tmp_path / "audio" / f"{meeting.id}.maj").unlink(missing_ok=True)
        await house.recovery.resume_unfinished()
        failed = await house.reaches(meeting.id, FAILED, DONE)
        assert failed.state is FAILED
        assert failed.errors[-1].code == "file_gone"


@pytest.mark.parametrize("keys", [(OLD,), ()], ids=["journal", "memory"])
async def test_an_upload_that_was_read_to_its_end_is_finished_without_its_file(
    tmp_path: Path, keys: tuple[str, ...]
) -> None:
    async with RecordingHarness(tmp_path, *keys) as house:
        with house.refusing("finish", times=1):
            meeting = await house.upload(SECOND * 3)
            await house.is_left(meeting.id)
        assert not (tmp_path / "uploads" / meeting.id).exists()
        await house.recovery.resume_unfinished()
        done = await house.reaches(meeting.id, DONE, FAILED)
        assert (done.state, done.committed_sample, done.received_bytes) == (DONE, 48_000, 96_000)


async def test_deleting_an_upload_while_it_is_read_leaves_nothing_behind(tmp_path: Path) -> None:
    async with RecordingHarness(tmp_path, OLD) as house:
        house.engine.may_listen.clear()
        meeting = await house.upload(SECOND * 3)
        journal = tmp_path / "audio" / f"{meeting.id}.maj"
        assert house.audio is not None
        create = house.audio.create
        deleted = asyncio.Event()
        loop = asyncio.get_running_loop()

        def create_late(meeting_id: str) -> object:
            asyncio.run_coroutine_threadsafe(deleted.wait(), loop).result()
            return create(meeting_id)

        house.audio.create = create_late  # type: ignore[assignment, method-assign]
        await house.meetings.delete(meeting.id)
        deleted.set()
        house.engine.may_listen.set()
        await house.is_left(meeting.id)
        assert not journal.exists()
        assert list((tmp_path / "uploads").glob("0*")) == []


async def test_an_upload_that_could_not_be_recorded_leaves_no_file(tmp_path: Path) -> None:
    async with RecordingHarness(tmp_path, OLD) as house:
        with house.refusing("create"), pytest.raises(StorageError):
            await house.upload(SECOND)
        assert [path for path in (tmp_path / "uploads").rglob("*") if path.is_file()] == []


async def test_what_an_earlier_server_left_of_uploads_is_swept_at_start(tmp_path: Path) -> None:
    async with RecordingHarness(tmp_path, OLD) as house:
        house.engine.errors = [EngineError("The engine died.")]
        kept = await house.upload(SECOND)
        await house.reaches(kept.id, FAILED)
        (house.uploads.incoming / "half").write_bytes(SECOND)
        (tmp_path / "uploads" / "01890a5d-ac96-774b-bcce-b302099a8057").write_bytes(SECOND)
    async with RecordingHarness(tmp_path, OLD) as house:
        await house.uploads.remove_orphans()
        assert [path.name for path in (tmp_path / "uploads").rglob("*") if path.is_file()] == [kept.id]
        await house.meetings.retry(kept.id)
        await house.reaches(kept.id, DONE)


async def test_in_memory_a_file_is_decoded_no_faster_than_it_is_heard(tmp_path: Path) -> None:
    async with RecordingHarness(tmp_path) as house:
        meeting = await house.upload(SECOND * 400)
        done = await house.reaches(meeting.id, DONE, FAILED)
        assert (done.state, done.committed_sample) == (DONE, 400 * 16_000)
        assert house.engine.most_unread_bytes < 100 * 32_000


async def test_a_retry_that_finds_the_same_trouble_says_so_again(tmp_path: Path) -> None:
    meeting_id = await cut_short(tmp_path, OLD)
    async with RecordingHarness(tmp_path, NEW) as house:
        await house.recovery.resume_unfinished()
        await house.reaches(meeting_id, FAILED)
        await house.meetings.retry(meeting_id)
        failed = await house.store.get(meeting_id)
        assert (failed.state, [error.code for error in failed.errors]) == (FAILED, ["audio_decryption"])
        with pytest.raises(ConflictError):
            await house.live.resume_meeting(meeting_id, sample_rate=16_000, channels=1)
