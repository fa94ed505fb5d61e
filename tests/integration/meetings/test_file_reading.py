"""Uploaded files that cannot be read as a whole, or do not fit on the disk."""

from __future__ import annotations

import shutil
from collections import namedtuple
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from meeting_assistant.domain.errors import AudioFormatError, StorageError, TooLargeError
from meeting_assistant.domain.meeting import MeetingState
from meeting_assistant.domain.transcript import Gap
from meeting_assistant.services.meetings import file_reading
from meeting_assistant.testing.harness.recording import RecordingHarness

KEY = Fernet.generate_key().decode()
SECOND = bytes(32_000)
DAMAGED = Gap(start_ms=500, end_ms=700, reason="damaged_audio")
DONE, FAILED = MeetingState.DONE, MeetingState.FAILED
Usage = namedtuple("Usage", "total used free")


@pytest.mark.parametrize(
    "fault", [AudioFormatError("Damaged.", code="too_damaged"), TooLargeError("Too long.")]
)
async def test_a_fault_late_in_a_file_keeps_the_transcript_and_the_file(
    tmp_path: Path, fault: Exception
) -> None:
    async with RecordingHarness(tmp_path, KEY) as harness:
        harness.decoder.errors = [fault]
        meeting = await harness.upload(SECOND * 3)
        done = await harness.reaches(meeting.id, DONE, FAILED)
        assert (done.state, done.committed_sample, done.received_bytes) == (DONE, 48_000, 96_000)
        assert [error.code for error in done.errors] == [fault.code]  # type: ignore[attr-defined]
        assert "kept" in done.errors[0].remedy
        transcript = await harness.store.transcript(meeting.id)
        assert transcript.gaps == [Gap(start_ms=3000, end_ms=3000, reason=done.errors[0].code)]
    async with RecordingHarness(tmp_path, KEY) as harness:
        await harness.uploads.remove_orphans()
        assert (tmp_path / "uploads" / meeting.id).read_bytes() == SECOND * 3
        await harness.retention.delete_audio(meeting.id)
        assert not (tmp_path / "uploads" / meeting.id).exists()


async def test_damaged_stretches_are_marked_once_and_the_minutes_do_not_delete_the_file(
    tmp_path: Path,
) -> None:
    async with RecordingHarness(tmp_path, KEY, retention="delete-after-minutes") as harness:
        harness.decoder.gaps = [DAMAGED]
        with harness.refusing("begin_step", times=1):
            meeting = await harness.upload(SECOND * 3)
            await harness.is_left(meeting.id)
        await harness.recovery.resume_unfinished()  # the file is read once more
        done = await harness.reaches(meeting.id, DONE, FAILED)
        assert [error.code for error in done.errors] == ["file_incomplete"]
        assert "0.2 s" in done.errors[0].message
        assert (await harness.store.transcript(meeting.id)).gaps == [DAMAGED]
        assert (done.coverage.captured_s, done.coverage.transcribed_s) == (3.0, 2.8)
        await harness.retention.enforce()
        assert (tmp_path / "uploads" / meeting.id).exists()
        assert (await harness.store.get(meeting.id)).sound_deleted_at_ms is None


async def test_a_pause_in_a_file_is_a_gap_and_not_a_fault(tmp_path: Path) -> None:
    pause = Gap(start_ms=500, end_ms=2500, reason="missing_audio")
    async with RecordingHarness(tmp_path, KEY, retention="delete-after-minutes") as harness:
        harness.decoder.gaps = [pause]
        meeting = await harness.upload(SECOND * 3)
        done = await harness.reaches(meeting.id, DONE, FAILED)
        assert done.errors == []
        assert (await harness.store.transcript(meeting.id)).gaps == [pause]
        assert not (tmp_path / "uploads" / meeting.id).exists()
        await harness.retention.enforce()
        assert (await harness.store.get(meeting.id)).sound_deleted_at_ms is not None


async def test_redacted_audio_is_not_kept_in_the_uploaded_file(tmp_path: Path) -> None:
    async with RecordingHarness(tmp_path, KEY) as harness:
        harness.decoder.gaps = [DAMAGED]
        meeting = await harness.upload(SECOND * 3)
        await harness.reaches(meeting.id, DONE, FAILED)
        await harness.redaction.redact(meeting.id, 1000, 2000)
        assert not (tmp_path / "uploads" / meeting.id).exists()


@pytest.mark.parametrize(("seconds", "codes"), [(9, []), (11, ["no_speech"])])
async def test_a_long_recording_without_recognised_speech_is_reported(
    tmp_path: Path, seconds: int, codes: list[str]
) -> None:
    async with RecordingHarness(tmp_path, KEY) as harness:
        meeting = await harness.upload(SECOND * seconds)
        done = await harness.reaches(meeting.id, DONE, FAILED)
        assert [error.code for error in done.errors] == codes


# --- space on the disk ------------------------------------------------------------------------------------


class Disk:
    """How much is free, looked at by look."""

    def __init__(self, *looks: int) -> None:
        self._looks = [*looks]

    def usage(self, path: object) -> Usage:
        free = self._looks.pop(0) if len(self._looks) > 1 else self._looks[0]
        return Usage(1 << 40, (1 << 40) - free, free)


@pytest.fixture
def waits_without_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_reading, "SPACE_INTERVAL_S", 0)


@pytest.mark.usefixtures("waits_without_pause")
async def test_decoding_waits_for_space_that_live_meetings_need(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with RecordingHarness(tmp_path, KEY) as harness:
        monkeypatch.setattr(shutil, "disk_usage", Disk(1 << 39, 1 << 39, 1000, 1000, 1 << 39).usage)
        meeting = await harness.upload(SECOND * 40)
        done = await harness.reaches(meeting.id, DONE, FAILED)
        assert (done.state, done.received_bytes) == (DONE, 40 * 32_000)


@pytest.mark.usefixtures("waits_without_pause")
async def test_a_file_without_space_leaves_nothing_half_written_and_can_be_retried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with RecordingHarness(tmp_path, KEY) as harness:
        with monkeypatch.context() as full:
            full.setattr(shutil, "disk_usage", Disk(1 << 39, 1 << 39, 1000).usage)
            meeting = await harness.upload(SECOND * 40)
            failed = await harness.reaches(meeting.id, DONE, FAILED)
            await harness.is_left(meeting.id)
        assert (failed.state, failed.errors[-1].code) == (FAILED, "no_space")
        assert "MIN_FREE_DISK_BYTES" in failed.errors[-1].remedy
        assert not (tmp_path / "audio" / f"{meeting.id}.maj").exists()
        assert (tmp_path / "uploads" / meeting.id).exists()
        await harness.meetings.retry(meeting.id)
        done = await harness.reaches(meeting.id, DONE, FAILED)
        assert (done.state, done.committed_sample) == (DONE, 40 * 16_000)


async def test_a_file_whose_audio_does_not_fit_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twelve hours of silence are small as FLAC, and 900 MB as a recording."""
    async with RecordingHarness(tmp_path, KEY) as harness:
        monkeypatch.setattr(shutil, "disk_usage", Disk((256 << 20) + 1_000_000).usage)
        with pytest.raises(StorageError, match="free"):
            await harness.upload(SECOND * 40)
        assert await harness.store.recent() == []
        assert list((tmp_path / "uploads").glob("0*")) == []
