"""Offline diarization that ends after the minutes, after a restart or not at all."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from meeting_assistant.domain.events import SpeakersChanged, StatusChanged
from meeting_assistant.domain.ports import SpeakerTurn
from meeting_assistant.services.events.meeting_channel import Watcher
from meeting_assistant.services.events.stage_errors import MAX_ATTEMPTS
from meeting_assistant.testing.harness.finished_meeting import (
    TRANSCRIPT,
    FakeDiarizer,
    FinishedMeeting,
    events_until_finished,
    timed_utterance,
)


async def test_minutes_do_not_wait_for_labels_that_come_late(
    finished_meeting: Callable[..., FinishedMeeting],
) -> None:
    diarizer = FakeDiarizer([SpeakerTurn(0, 1950, 0), SpeakerTurn(1990, 3600, 1), SpeakerTurn(3900, 4400, 1)])
    diarizer.may_finish.clear()
    meeting = finished_meeting(diarizer, timeout_s=0)
    watcher = await meeting.begin(*TRANSCRIPT)
    await meeting.finish()
    await events_until_finished(watcher)
    assert [speaker for _, speaker in await meeting.labels()] == ["S1", "S1", None], "the live labels"
    diarizer.may_finish.set()
    later = await anext(watcher)
    while not isinstance(later.body, SpeakersChanged):
        later = await anext(watcher)
    assert [speaker for _, speaker in await meeting.labels()] == ["S1", "S2", "S2"]


async def next_speaker_change(watcher: Watcher) -> SpeakersChanged:
    """Return the next relabelling; a step that is over is not announced."""
    async for event in watcher:
        assert not isinstance(event.body, StatusChanged) or event.body.status == "Done"
        if isinstance(event.body, SpeakersChanged):
            return event.body
    raise AssertionError("nothing was told")


async def test_late_labels_reach_later_viewers_and_update_the_minutes(
    finished_meeting: Callable[..., FinishedMeeting],
) -> None:
    diarizer = FakeDiarizer([SpeakerTurn(0, 3500, 0), SpeakerTurn(4000, 6500, 1)])
    diarizer.may_finish.clear()
    meeting = finished_meeting(diarizer, timeout_s=0)
    plan = timed_utterance(
        1, "We ship on Friday then, all of it, whatever the others may say about it.", 0, "S1"
    )
    promise = timed_utterance(2, "I will send the plan to everybody by Friday.", 4000, "S1")
    first = await meeting.begin(plan, promise)
    await meeting.finish()
    await events_until_finished(first)
    await meeting.leave(first)
    minutes = await meeting.store.minutes(meeting.meeting.id)
    assert minutes is not None
    assert [item.owner for item in minutes.action_items] == ["S1"]
    second = await meeting.watch(await meeting.store.last_seq(meeting.meeting.id))
    diarizer.may_finish.set()
    change = await next_speaker_change(second)
    assert [(u.utterance, u.rev, u.speaker) for u in change.utterances] == [(2, 2, "S2")]
    minutes = await meeting.store.minutes(meeting.meeting.id)
    assert minutes is not None
    assert [item.owner for item in minutes.action_items] == ["S2"], "without asking the writer again"


async def test_a_diarization_interrupted_by_a_restart_is_repeated(
    finished_meeting: Callable[..., FinishedMeeting], tmp_path: Path
) -> None:
    diarizer = FakeDiarizer()
    diarizer.may_finish.clear()
    meeting = finished_meeting(diarizer, timeout_s=0)
    await meeting.begin(*TRANSCRIPT)
    await meeting.finish()
    later = await meeting.after_restart(
        tmp_path, FakeDiarizer([SpeakerTurn(0, 1950, 0), SpeakerTurn(1990, 5000, 1)])
    )
    watcher = await later.watch(await later.store.last_seq(later.meeting.id))
    await later.offline_diarization.resume_incomplete()
    await next_speaker_change(watcher)
    assert [speaker for _, speaker in await later.labels()] == ["S1", "S2", "S2"]
    await later.offline_diarization.wait_idle()  # the step ends after the event has been sent
    again = await later.after_restart(tmp_path, FakeDiarizer())
    assert await again.store.incomplete_steps("speakers") == []
    await again.close()


async def test_a_recording_that_crashes_the_process_is_not_tried_for_ever(
    finished_meeting: Callable[..., FinishedMeeting], tmp_path: Path
) -> None:
    diarizer = FakeDiarizer()
    diarizer.may_finish.clear()
    meeting = finished_meeting(diarizer, timeout_s=0)
    await meeting.begin(*TRANSCRIPT)
    await meeting.finish()
    later = await meeting.after_restart(tmp_path, engine := FakeDiarizer())
    for _ in range(MAX_ATTEMPTS):
        await later.store.begin_step(later.meeting.id, "speakers")  # and then the process died
    await later.offline_diarization.resume_incomplete()
    await later.offline_diarization.wait_idle()
    assert engine.received_samples == []
    assert [e.code for e in (await later.store.get(later.meeting.id)).errors] == ["needs_attention"]
    await later.close()


async def test_no_utterance_is_split_while_minutes_are_written(
    finished_meeting: Callable[..., FinishedMeeting], monkeypatch: pytest.MonkeyPatch
) -> None:
    diarizer = FakeDiarizer([SpeakerTurn(0, 1250, 0), SpeakerTurn(1250, 2400, 1), SpeakerTurn(3000, 9000, 0)])
    diarizer.may_finish.clear()
    meeting = finished_meeting(diarizer, timeout_s=0)
    write = meeting.minutes.write

    async def write_slowly(*args: Any, **more: Any) -> Any:
        diarizer.may_finish.set()
        await meeting.offline_diarization.wait_idle()
        return await write(*args, **more)

    monkeypatch.setattr(meeting.minutes, "write", write_slowly)
    both = "Shall we ship it Friday No not on Friday."
    await meeting.begin(
        timed_utterance(1, both, 0, "S1"), timed_utterance(2, "Well then that is that.", 3000, "S2")
    )
    await meeting.finish()
    assert [text for text, _ in await meeting.labels()] == [both, "Well then that is that."]


async def test_a_recording_deleted_meanwhile_is_reported(
    finished_meeting: Callable[..., FinishedMeeting], tmp_path: Path
) -> None:
    diarizer = FakeDiarizer()
    diarizer.may_finish.clear()
    meeting = finished_meeting(diarizer, timeout_s=0)
    await meeting.begin(*TRANSCRIPT)
    await meeting.finish()
    await meeting.store.set_audio_deleted(meeting.meeting.id, 1)
    later = await meeting.after_restart(tmp_path, FakeDiarizer())
    await later.offline_diarization.resume_incomplete()
    await later.offline_diarization.wait_idle()
    assert [e.code for e in (await later.store.get(later.meeting.id)).errors] == ["no_sound"]
    await later.close()


async def test_a_shutdown_does_not_wait_for_a_running_diarization(
    finished_meeting: Callable[..., FinishedMeeting],
) -> None:
    diarizer = FakeDiarizer()
    diarizer.may_finish.clear()
    meeting = finished_meeting(diarizer, timeout_s=0)
    await meeting.begin(*TRANSCRIPT)
    await meeting.finish()
    async with asyncio.timeout(60):
        await meeting.offline_diarization.close()


def test_the_process_can_end_during_a_diarization() -> None:
    script = """
import asyncio, threading
import numpy as np
from meeting_assistant.services.diarization.diarization_service import DiarizationService

class ForEver:
    name, max_speakers = "for ever", None
    begun = threading.Event()
    def load(self): pass
    def close(self): pass
    def diarize(self, samples, progress):
        self.begun.set()
        threading.Event().wait()

async def main():
    service = DiarizationService(None, [ForEver()])
    await service.start()
    asyncio.ensure_future(service.recordings.diarize_recording("a-meeting", np.zeros(1, np.int16), print))
    await asyncio.to_thread(ForEver.begun.wait)
    service.close()

asyncio.run(main())
print("over")
"""
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stdout) == (0, "over\n"), ended.stderr
