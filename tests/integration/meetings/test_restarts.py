"""Servers that are killed or stopped again and again: whom it counts for, and how a client gets its meeting back."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from meeting_assistant.domain.errors import AudioDecryptionError, ConflictError, EngineError
from meeting_assistant.domain.meeting import MeetingState
from meeting_assistant.domain.steps import FINISH, RECORD, TRANSCRIBE
from meeting_assistant.services.events.stage_errors import MAX_ATTEMPTS
from meeting_assistant.services.live import live_transcription
from meeting_assistant.testing.harness.recording import RecordingHarness

OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()
SECOND = bytes(32_000)
RECORDING, DONE, FAILED = MeetingState.RECORDING, MeetingState.DONE, MeetingState.FAILED


async def interrupted(folder: Path, *keys: str) -> str:
    """Return a meeting of two received seconds, none of it transcribed when the server died."""
    async with RecordingHarness(folder, *keys) as harness:
        harness.engine.may_listen.clear()
        connection = await harness.start()
        connection.accept_audio(SECOND * 2)
        if keys:
            await harness.is_safe(connection.meeting_id, 64_000)
        await harness.die()
    return connection.meeting_id


async def park(folder: Path, meeting_id: str, *keys: str) -> None:
    """Let the process die of a meeting until it is marked as failed."""
    async with RecordingHarness(folder, *keys) as harness:
        for _ in range(MAX_ATTEMPTS):
            await harness.store.begin_step(meeting_id, TRANSCRIBE)
        await harness.recovery.resume_unfinished()
        assert await harness.state_of(meeting_id) is FAILED


async def test_files_that_only_waited_are_not_failed_by_deaths_of_the_server(tmp_path: Path) -> None:
    async with RecordingHarness(tmp_path, OLD) as harness:
        harness.engine.may_listen.clear()
        first, *others = [(await harness.upload(SECOND * 3)).id for _ in range(4)]
        await harness.is_counted(first, TRANSCRIBE, 1)
        await harness.engine.begun[first].wait()
        await harness.die()
    for deaths in range(2, MAX_ATTEMPTS + 1):
        async with RecordingHarness(tmp_path, OLD) as harness:
            harness.engine.may_listen.clear()
            await harness.recovery.resume_unfinished()
            await harness.is_counted(first, TRANSCRIBE, deaths)
            await harness.engine.begun[first].wait()
            await harness.die()
    async with RecordingHarness(tmp_path, OLD) as harness:
        assert [await harness.store.attempts(other, TRANSCRIBE) for other in others] == [0, 0, 0]
        await harness.recovery.resume_unfinished()
        failed = await harness.reaches(first, FAILED, DONE)
        assert (failed.state, failed.errors[-1].code) == (FAILED, "needs_attention")
        for other in others:
            assert (await harness.reaches(other, DONE, FAILED)).state is DONE


async def test_clean_stops_do_not_count_as_attempts(tmp_path: Path) -> None:
    async with RecordingHarness(tmp_path, OLD) as harness:
        harness.engine.may_listen.clear()
        ids = [(await harness.upload(SECOND * 3)).id, (await harness.start()).meeting_id]
        await harness.is_counted(ids[0], TRANSCRIBE, 1)
        await harness.engine.begun[ids[0]].wait()
        await harness.orchestrator.drain(0)
    for _ in range(MAX_ATTEMPTS):
        async with RecordingHarness(tmp_path, OLD) as harness:
            harness.engine.may_listen.clear()
            await harness.recovery.resume_unfinished()
            await harness.is_counted(ids[0], TRANSCRIBE, 1)
            await harness.engine.begun[ids[0]].wait()
            await harness.orchestrator.drain(0)
    async with RecordingHarness(tmp_path, OLD, grace_s=0) as harness:
        await harness.recovery.resume_unfinished()
        for meeting_id in ids:
            assert (await harness.reaches(meeting_id, DONE, FAILED)).state is DONE


async def test_a_meeting_stays_counted_while_a_slow_decode_may_still_kill_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_transcription, "CAUGHT_UP_S", 0.0)
    async with RecordingHarness(tmp_path, OLD) as harness:
        harness.engine.may_commit = False
        connection = await harness.start()
        connection.accept_audio(SECOND * 2)
        await harness.is_safe(connection.meeting_id, 64_000)
        await harness.die()
    for deaths in range(1, 3):
        async with RecordingHarness(tmp_path, OLD) as harness:
            harness.engine.may_commit = False
            harness.engine.decoding.add(connection.meeting_id)
            await harness.recovery.resume_unfinished()
            await harness.is_counted(connection.meeting_id, TRANSCRIBE, deaths)
            for _ in range(50):
                await asyncio.sleep(0)
            assert await harness.store.attempts(connection.meeting_id, TRANSCRIBE) == deaths
            await harness.die()
    async with RecordingHarness(tmp_path, OLD) as harness:
        harness.engine.may_commit = False
        await harness.recovery.resume_unfinished()
        await harness.is_counted(connection.meeting_id, TRANSCRIBE, 0)


@pytest.mark.parametrize("has_rest", [False, True], ids=["nothing left", "in mid-utterance"])
async def test_a_meeting_that_waits_for_its_client_survives_any_number_of_deaths(
    tmp_path: Path, has_rest: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_transcription, "CAUGHT_UP_S", 0.0)
    async with RecordingHarness(tmp_path, OLD) as harness:
        harness.engine.may_commit = not has_rest
        connection = await harness.start()
        connection.accept_audio(SECOND * 2)
        await harness.is_safe(connection.meeting_id, 64_000)
        if not has_rest:
            await harness.is_committed(connection.meeting_id, 32_000)
        await harness.die()
    for _ in range(MAX_ATTEMPTS + 2):
        async with RecordingHarness(tmp_path, OLD) as harness:
            harness.engine.may_commit = not has_rest
            await harness.recovery.resume_unfinished()
            await harness.is_counted(connection.meeting_id, TRANSCRIBE, 0)
            await harness.die()
    async with RecordingHarness(tmp_path, OLD) as harness:
        await harness.recovery.resume_unfinished()
        client = await harness.continue_meeting(connection.meeting_id)
        assert client.received_bytes == 64_000
        await client.stop()
        assert (await harness.reaches(client.meeting_id, DONE, FAILED)).state is DONE


@pytest.mark.parametrize("keys", [(OLD,), ()], ids=["journal", "memory"])
async def test_audio_that_kills_the_process_after_a_restart_is_counted_when_its_client_sends_it(
    tmp_path: Path, keys: tuple[str, ...]
) -> None:
    async with RecordingHarness(tmp_path, *keys) as harness:
        connection = await harness.start()
        await harness.die()
    async with RecordingHarness(tmp_path, *keys) as harness:
        harness.engine.may_commit = False
        await harness.recovery.resume_unfinished()
        await harness.engine.begun[connection.meeting_id].wait()
        assert await harness.store.attempts(connection.meeting_id, TRANSCRIBE) == 0, "it only waits"
        client = await harness.continue_meeting(connection.meeting_id)
        client.accept_audio(SECOND)
        await harness.is_counted(connection.meeting_id, TRANSCRIBE, 1)
        await harness.die()
    async with RecordingHarness(tmp_path, *keys) as harness:
        assert await harness.store.attempts(connection.meeting_id, TRANSCRIBE) == 1


async def test_the_end_of_a_meeting_is_counted_while_it_is_written_and_not_when_it_is_stopped(
    tmp_path: Path,
) -> None:
    async with RecordingHarness(tmp_path, OLD) as harness:
        connection = await harness.start()
        with harness.stuck("finish") as is_stuck:
            await connection.stop()
            await is_stuck.wait()
            assert await harness.store.attempts(connection.meeting_id, FINISH) == 1
            await harness.orchestrator.drain(0)
        assert await harness.store.attempts(connection.meeting_id, FINISH) == 0


@pytest.mark.parametrize("keys", [(OLD,), ()], ids=["journal", "memory"])
async def test_a_reconnecting_client_continues_its_failed_meeting(
    tmp_path: Path, keys: tuple[str, ...]
) -> None:
    meeting_id = await interrupted(tmp_path, *keys)
    await park(tmp_path, meeting_id, *keys)
    async with RecordingHarness(tmp_path, *keys) as harness:
        client = await harness.continue_meeting(meeting_id)
        assert client.received_bytes == (64_000 if keys else 0), "from here on the client sends what it kept"
        assert (await harness.store.get(meeting_id)).errors == []
        client.accept_audio(bytes(96_000 - client.received_bytes))
        await client.stop()
        done = await harness.reaches(meeting_id, DONE, FAILED)
        assert (done.state, done.committed_sample, done.errors) == (DONE, 48_000, [])


@pytest.mark.parametrize("keys", [(OLD,), ()], ids=["journal", "memory"])
async def test_a_meeting_that_an_earlier_version_marked_as_failed_is_continued(
    tmp_path: Path, keys: tuple[str, ...]
) -> None:
    meeting_id = await interrupted(tmp_path, *keys)
    await park(tmp_path, meeting_id, *keys)
    async with RecordingHarness(tmp_path, *keys) as harness:
        await harness.store.end_step(meeting_id, RECORD)  # which knew no such step
        assert await harness.store.incomplete_steps(RECORD) == []
        client = await harness.continue_meeting(meeting_id)
        assert client.received_bytes == (64_000 if keys else 0)
        await client.stop()
        assert (await harness.reaches(meeting_id, DONE, FAILED)).state is DONE


async def test_a_meeting_that_failed_while_its_client_was_connected_is_continued_too(tmp_path: Path) -> None:
    async with RecordingHarness(tmp_path, OLD) as harness:
        harness.engine.errors = [EngineError("The engine died.")]
        connection = await harness.start()
        connection.accept_audio(SECOND)
        await harness.reaches(connection.meeting_id, FAILED)
        client = await harness.continue_meeting(connection.meeting_id)
        client.accept_audio(SECOND * 2)
        await client.stop()
        done = await harness.reaches(client.meeting_id, DONE, FAILED)
        assert (done.state, done.committed_sample) == (DONE, client.received_bytes // 2)


async def test_a_client_without_the_key_of_its_recording_is_refused_and_can_return(tmp_path: Path) -> None:
    meeting_id = await interrupted(tmp_path, OLD)
    async with RecordingHarness(tmp_path, NEW) as harness:
        await harness.recovery.resume_unfinished()
        await harness.reaches(meeting_id, FAILED)
        with pytest.raises(AudioDecryptionError):
            await harness.continue_meeting(meeting_id)
        failed = await harness.store.get(meeting_id)
        assert (failed.state, [error.code for error in failed.errors]) == (FAILED, ["audio_decryption"])
    async with RecordingHarness(tmp_path, NEW, OLD) as harness:
        client = await harness.continue_meeting(meeting_id)
        await client.stop()
        assert (await harness.reaches(meeting_id, DONE, FAILED)).committed_sample == 32_000


async def test_a_meeting_that_was_stopped_before_it_failed_is_not_recorded_again(tmp_path: Path) -> None:
    async with RecordingHarness(tmp_path, OLD) as harness:
        harness.engine.may_listen.clear()
        connection = await harness.start()
        connection.accept_audio(SECOND)
        await connection.stop()
        await harness.die()
    await park(tmp_path, connection.meeting_id, OLD)
    async with RecordingHarness(tmp_path, OLD) as harness:
        with pytest.raises(ConflictError):
            await harness.continue_meeting(connection.meeting_id)
