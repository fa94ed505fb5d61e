"""Retention deletes recordings and meetings, and steps are done once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import uuid_utils
from cryptography.fernet import Fernet
from pydantic import SecretStr

from meeting_assistant.adapters.audio.resampler import StreamResampler
from meeting_assistant.bootstrap.speech import SpeechParts
from meeting_assistant.domain.errors import ConflictError, StorageError
from meeting_assistant.domain.events import GapFound
from meeting_assistant.domain.jobs import InferenceJob, JobKind
from meeting_assistant.domain.meeting import Coverage, Meeting, MeetingState
from meeting_assistant.domain.minutes import Minutes
from meeting_assistant.domain.transcript import Utterance
from meeting_assistant.services.diarization.diarization_service import DiarizationService
from meeting_assistant.services.events.stage_errors import MAX_ATTEMPTS
from meeting_assistant.services.meetings.retention import DAY_MS
from meeting_assistant.testing.harness.database import sqlite_url
from meeting_assistant.testing.harness.parts import build_parts, settings_for
from meeting_assistant.testing.harness.recording import PlainDecoder, SilentEngine

BEGAN_MS = 1_700_000_000_000


class StoredMeetings:
    """Store, recordings and the services that look after them, without a server."""

    def __init__(self, folder: Path, retention: str = "keep", days_later: float = 0) -> None:
        sqlite_url(folder)
        settings = settings_for(
            folder,
            audio_encryption_key=SecretStr(KEY),
            audio_retention=retention,
            diarization_engine="off",
        )
        speech = SpeechParts(SilentEngine(), DiarizationService(None), PlainDecoder(), StreamResampler, {})
        self.parts = build_parts(settings, speech, now_ms=lambda: BEGAN_MS + int(days_later * DAY_MS))
        self.store = self.parts.storage.store
        audio = self.parts.storage.reading.audio
        assert audio is not None
        self.audio = audio
        self.retention, self.redaction = self.parts.meetings.retention, self.parts.meetings.redaction
        self.finisher = self.parts.meetings.finisher

    async def meeting(self, state: MeetingState = MeetingState.PROCESSING) -> Meeting:
        meeting = Meeting(
            id=str(uuid_utils.uuid7()), title="", state=state, source="live", created_at_ms=BEGAN_MS
        )
        await self.store.create(meeting)
        journal = self.audio.create(meeting.id)
        journal.append(bytes(32_000))
        journal.seal()
        journal.close()
        utterance = Utterance(
            utterance=1, start_ms=0, end_ms=900, speaker="S1", text="I will send the plan by Friday."
        )
        await self.store.commit_utterances(meeting.id, [utterance], 16_000)
        return meeting

    async def finish(self, meeting: Meeting, minutes: Minutes | None = None) -> None:
        await self.store.finish(
            meeting.id, minutes=minutes, coverage=Coverage(), duration_ms=1000, engines={}
        )


KEY = Fernet.generate_key().decode()


@pytest.fixture
async def fixtures(tmp_path: Path) -> AsyncIterator[list[StoredMeetings]]:
    opened: list[StoredMeetings] = []
    yield opened
    for fixture in opened:
        await fixture.parts.__aexit__()


async def services_at(
    fixtures: list[StoredMeetings], folder: Path, retention: str = "keep", days_later: float = 0
) -> StoredMeetings:
    fixture = StoredMeetings(folder, retention, days_later)
    await fixture.store.open()
    fixtures.append(fixture)
    return fixture


# --- retention --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("retention", "days_later", "is_kept"),
    [("keep", 9999, True), ("days:30", 29.9, True), ("days:30", 30.1, False), ("days:1", 1, False)],
)
async def test_recordings_are_kept_as_long_as_configured(
    fixtures: list[StoredMeetings], tmp_path: Path, retention: str, days_later: float, is_kept: bool
) -> None:
    fixture = await services_at(fixtures, tmp_path, retention, days_later)
    meeting = await fixture.meeting()
    await fixture.finish(meeting)
    if not fixture.retention.keeps_all:
        await fixture.retention.enforce()
    assert fixture.audio.exists(meeting.id) is is_kept
    assert (await fixture.store.transcript(meeting.id)).utterances, "words stay"


async def test_a_recording_can_be_deleted_once_minutes_are_written(
    fixtures: list[StoredMeetings], tmp_path: Path
) -> None:
    fixture = await services_at(fixtures, tmp_path, "delete-after-minutes")
    meeting = await fixture.meeting()
    await fixture.finisher.finish(InferenceJob(kind=JobKind.FINISH_MEETING, meeting_id=meeting.id))
    assert not fixture.audio.exists(meeting.id)
    assert (await fixture.store.minutes(meeting.id)) is not None


@pytest.mark.parametrize(("reason", "is_kept"), [("engine_failed", True), ("off_the_record", False)])
async def test_an_untranscribed_recording_outlives_the_minutes(
    fixtures: list[StoredMeetings], tmp_path: Path, reason: str, is_kept: bool
) -> None:
    fixture = await services_at(fixtures, tmp_path, "delete-after-minutes")
    meeting = await fixture.meeting()
    await fixture.store.append_event(meeting.id, GapFound(start_ms=0, end_ms=500, reason=reason))
    await fixture.finisher.finish(InferenceJob(kind=JobKind.FINISH_MEETING, meeting_id=meeting.id))
    assert fixture.audio.exists(meeting.id) is is_kept


async def test_a_recording_with_audio_beyond_the_last_commit_outlives_the_minutes(
    fixtures: list[StoredMeetings], tmp_path: Path
) -> None:
    fixture = await services_at(fixtures, tmp_path, "delete-after-minutes")
    meeting = await fixture.meeting()
    await fixture.store.set_received(meeting.id, 64_000)  # of which 16 000 samples are committed
    await fixture.finisher.finish(InferenceJob(kind=JobKind.FINISH_MEETING, meeting_id=meeting.id))
    assert fixture.audio.exists(meeting.id)


async def test_without_minutes_the_recording_is_kept(fixtures: list[StoredMeetings], tmp_path: Path) -> None:
    fixture = await services_at(fixtures, tmp_path, "delete-after-minutes")
    meeting = await fixture.meeting()
    await fixture.finish(meeting, minutes=None)
    await fixture.retention.enforce()
    assert fixture.audio.exists(meeting.id)


async def test_an_unfinished_meeting_keeps_its_recording(
    fixtures: list[StoredMeetings], tmp_path: Path
) -> None:
    fixture = await services_at(fixtures, tmp_path, "days:1", days_later=99)
    meeting = await fixture.meeting(MeetingState.RECORDING)
    await fixture.retention.enforce()
    assert fixture.audio.exists(meeting.id)
    with pytest.raises(ConflictError, match="not over"):
        await fixture.retention.delete_audio(meeting.id)


async def test_a_recording_that_cannot_be_deleted_does_not_block_the_others(
    fixtures: list[StoredMeetings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fixture = await services_at(fixtures, tmp_path, "days:1", days_later=2)
    stubborn, other = await fixture.meeting(), await fixture.meeting()
    for meeting in (stubborn, other):
        await fixture.finish(meeting)
    delete = fixture.audio.delete

    def refuse(meeting_id: str) -> None:
        if meeting_id == stubborn.id:
            raise StorageError("Recordings cannot be written.", code="read_only")
        delete(meeting_id)

    monkeypatch.setattr(fixture.audio, "delete", refuse)
    await fixture.retention.enforce()
    assert [fixture.audio.exists(m.id) for m in (stubborn, other)] == [True, False]
    assert (await fixture.store.get(stubborn.id)).sound_deleted_at_ms is None


# --- forgetting -------------------------------------------------------------------------------------------


async def test_an_interrupted_deletion_is_completed_at_the_next_start(
    fixtures: list[StoredMeetings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fixture = await services_at(fixtures, tmp_path)
    meeting = await fixture.meeting()
    journal = fixture.audio.open(meeting.id)
    assert journal.durable_bytes == 32_000
    journal.close()
    await fixture.finish(meeting)

    def die(*_: object) -> None:
        raise StorageError("The disk refused.")

    with monkeypatch.context() as broken:
        broken.setattr(fixture.audio, "erase", die)
        with pytest.raises(StorageError):
            await fixture.redaction.redact(meeting.id, 0, 1000)
    assert (await fixture.store.transcript(meeting.id)).utterances == [], "words go first"
    assert await fixture.store.incomplete_steps("forget") == [meeting.id]
    later = await services_at(fixtures, tmp_path)
    await later.redaction.resume_incomplete()
    assert await later.store.incomplete_steps("forget") == []
    assert (await later.store.minutes(meeting.id)) is not None


# --- finishing --------------------------------------------------------------------------------------------


async def test_finishing_a_hundred_times_at_once_gives_one_result(
    fixtures: list[StoredMeetings], tmp_path: Path
) -> None:
    fixture = await services_at(fixtures, tmp_path)
    meeting = await fixture.meeting()
    job = InferenceJob(kind=JobKind.FINISH_MEETING, meeting_id=meeting.id)
    await asyncio.gather(*(fixture.finisher.finish(job) for _ in range(100)))
    events = await fixture.store.events_after(meeting.id, 0)
    assert [event.body.type for event in events].count("final") == 1
    minutes = await fixture.store.minutes(meeting.id)
    assert minutes is not None
    assert minutes.version == 1
    assert (await fixture.store.get(meeting.id)).state is MeetingState.DONE


async def test_a_meeting_that_crashes_the_process_repeatedly_fails_and_can_be_retried(
    fixtures: list[StoredMeetings], tmp_path: Path
) -> None:
    fixture = await services_at(fixtures, tmp_path)
    meeting = await fixture.meeting()
    for _ in range(MAX_ATTEMPTS):
        await fixture.store.begin_step(meeting.id, "finish")  # and then the process died
    job = InferenceJob(kind=JobKind.FINISH_MEETING, meeting_id=meeting.id)
    await fixture.finisher.finish(job)
    parked = await fixture.store.get(meeting.id)
    assert parked.state is MeetingState.FAILED
    assert parked.errors[-1].code == "needs_attention"
    assert "try again" in parked.errors[-1].remedy
    await fixture.store.reset_steps(meeting.id)
    await fixture.store.set_state(meeting.id, MeetingState.PROCESSING)
    await fixture.finisher.finish(job)
    assert (await fixture.store.get(meeting.id)).state is MeetingState.DONE
