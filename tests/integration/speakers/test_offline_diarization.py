"""Offline diarization: an engine processes the whole recording and decides who spoke."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from meeting_assistant.adapters.storage.journal.keys import new_key
from meeting_assistant.bootstrap.fleet import build_fleet_diarizer, build_remote_sessions, build_worker
from meeting_assistant.bootstrap.speakers import build_diarization
from meeting_assistant.config import load_settings
from meeting_assistant.domain.audio import Samples
from meeting_assistant.domain.events import MeetingFinished, SpeakersChanged, StatusChanged, UtteranceFinished
from meeting_assistant.domain.ports import EngineInfo, SpeakerTurn
from meeting_assistant.services.diarization.diarization_service import DiarizationService
from meeting_assistant.testing.harness.finished_meeting import (
    TRANSCRIPT,
    FakeDiarizer,
    FinishedMeeting,
    events_until_finished,
    timed_utterance,
)


async def test_the_diarizer_decides_the_labels_and_their_numbers_stay(
    finished_meeting: Callable[..., FinishedMeeting],
) -> None:
    diarizer = FakeDiarizer([SpeakerTurn(0, 1950, 7), SpeakerTurn(1990, 3600, 3), SpeakerTurn(3900, 4400, 7)])
    meeting = finished_meeting(diarizer)
    watcher = await meeting.begin(*TRANSCRIPT)
    await meeting.finish()
    seen = await events_until_finished(watcher)
    assert diarizer.received_samples == [160_000]
    assert await meeting.labels() == [
        (TRANSCRIPT[0].text, "S1"),
        (TRANSCRIPT[1].text, "S2"),
        (TRANSCRIPT[2].text, "S1"),
    ]
    shown = [e for e in seen if isinstance(e, StatusChanged)]
    assert [(e.status, e.progress) for e in shown][:2] == [
        ("Identifying speakers", 0.0),
        ("Identifying speakers", 0.5),
    ]
    changes = [e for e in seen if isinstance(e, SpeakersChanged)]
    assert [[(u.utterance, u.speaker) for u in e.utterances] for e in changes] == [[(2, "S2"), (3, "S1")]]
    assert isinstance(seen[-1], MeetingFinished)
    assert seen[-1].errors == []


async def test_an_utterance_of_two_speakers_is_split_at_a_word(
    finished_meeting: Callable[..., FinishedMeeting],
) -> None:
    both = timed_utterance(1, "Shall we ship it Friday No not on Friday.", 0, "S1")
    meeting = finished_meeting(
        FakeDiarizer([SpeakerTurn(0, 1250, 0), SpeakerTurn(1200, 2400, 1), SpeakerTurn(2000, 2300, 0)])
    )
    await meeting.begin(both)
    await meeting.finish()
    assert await meeting.labels() == [("Shall we ship it Friday", "S1"), ("No not on Friday.", "S2")]
    first, second = (await meeting.store.transcript(meeting.meeting.id)).utterances
    assert (first.overlap, second.overlap) == (False, True)
    assert (first.utterance, first.rev, second.utterance, second.rev) == (1, 2, 2, 1)


async def test_labels_assigned_by_a_person_stay(finished_meeting: Callable[..., FinishedMeeting]) -> None:
    meeting = finished_meeting(FakeDiarizer([SpeakerTurn(0, 10_000, 0)]))
    await meeting.begin(*TRANSCRIPT)
    ben = await meeting.store.add_speaker(meeting.meeting.id, "Ben")
    await meeting.store.relabel(meeting.meeting.id, {2: ben}, by_person=True)
    await meeting.finish()
    assert [speaker for _, speaker in await meeting.labels()] == ["S1", ben, "S1"]


async def test_with_two_channels_only_the_second_is_diarized_and_none_of_its_speakers_is_you(
    finished_meeting: Callable[..., FinishedMeeting],
) -> None:
    diarizer = FakeDiarizer([SpeakerTurn(1990, 3600, 0), SpeakerTurn(3900, 4400, 1)])
    meeting = finished_meeting(diarizer, channels=2)
    await meeting.begin(
        TRANSCRIPT[0], timed_utterance(2, "I am not sure about that.", 2000, None), TRANSCRIPT[2]
    )
    await meeting.finish()
    assert (diarizer.received_samples, diarizer.first_samples) == ([160_000], [7])
    assert [speaker for _, speaker in await meeting.labels()] == ["S1", "S2", "S3"]


async def test_a_label_that_only_a_person_assigned_is_given_to_no_other_voice(
    finished_meeting: Callable[..., FinishedMeeting],
) -> None:
    meeting = finished_meeting(FakeDiarizer([SpeakerTurn(1990, 3600, 0)]))
    await meeting.begin(TRANSCRIPT[0], timed_utterance(2, "I am not sure about that.", 2000, None))
    await meeting.store.relabel(meeting.meeting.id, {1: "S1"}, by_person=True)
    await meeting.finish()
    assert [speaker for _, speaker in await meeting.labels()] == ["S1", "S2"]


async def test_overlap_is_marked_in_an_utterance_that_is_not_split(
    finished_meeting: Callable[..., FinishedMeeting],
) -> None:
    meeting = finished_meeting(
        FakeDiarizer([SpeakerTurn(0, 3600, 0), SpeakerTurn(2300, 3400, 1), SpeakerTurn(1650, 1750, 1)])
    )
    watcher = await meeting.begin(TRANSCRIPT[0], TRANSCRIPT[1])
    await meeting.finish()
    first, second = (await meeting.store.transcript(meeting.meeting.id)).utterances
    assert [(first.overlap, first.rev), (second.overlap, second.rev)] == [(False, 1), (True, 2)]
    sent = [e for e in await events_until_finished(watcher) if isinstance(e, UtteranceFinished)]
    assert [(e.utterance, e.rev, e.overlap) for e in sent] == [(2, 2, True)]


async def test_a_diarizer_for_four_speakers_leaves_the_labels_of_five(
    finished_meeting: Callable[..., FinishedMeeting],
) -> None:
    diarizer = FakeDiarizer([SpeakerTurn(0, 10_000, 0)], max_speakers=4)
    meeting = finished_meeting(diarizer)
    await meeting.begin(
        *(timed_utterance(n, "Good morning to all of you.", 1500 * n, f"S{n}") for n in range(1, 6))
    )
    await meeting.finish()
    assert diarizer.received_samples == []
    assert [speaker for _, speaker in await meeting.labels()] == ["S1", "S2", "S3", "S4", "S5"]
    (error,) = (await meeting.store.get(meeting.meeting.id)).errors
    assert error.code == "too_many_speakers"


class LateWorker:
    """A diarizer on a worker that joined after the recording was offered."""

    name = "far"
    max_speakers: int | None = None

    async def diarize_recording(
        self, meeting_id: str, samples: Samples, progress: Callable[[float], None]
    ) -> list[SpeakerTurn]:
        self.max_speakers = 4
        return [SpeakerTurn(0, 10_000, 0)]


async def test_a_remote_diarizer_for_four_speakers_leaves_the_labels_of_five(
    finished_meeting: Callable[..., FinishedMeeting],
) -> None:
    meeting = finished_meeting(diarization=DiarizationService(None, remote=LateWorker()))
    await meeting.begin(
        *(timed_utterance(n, "Good morning to all of you.", 1500 * n, f"S{n}") for n in range(1, 6))
    )
    await meeting.finish()
    assert [speaker for _, speaker in await meeting.labels()] == ["S1", "S2", "S3", "S4", "S5"]
    (error,) = (await meeting.store.get(meeting.meeting.id)).errors
    assert error.code == "too_many_speakers"
    assert "at most 4" in error.message
    assert "pyannote" in error.remedy


async def test_in_a_fleet_only_workers_load_the_diarizer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DIARIZATION_ENGINE", "nemo")
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1")
    monkeypatch.setenv("FLEET__SECRET", new_key())
    settings = load_settings()
    info = EngineInfo("x", "x", ("en",), max_window_s=30)
    far = build_fleet_diarizer(settings, build_remote_sessions(settings, info))
    gateway = build_diarization(settings, remote=far)
    await gateway.start()
    assert (gateway.name, gateway.recordings.is_available, gateway.load_errors) == ("nemo", True, [])
    gateway.close()
    worker = build_worker(settings)
    await worker.diarization.start()
    assert "NeMo toolkit is not installed" in str(worker.diarization.load_errors[0])
    worker.diarization.close()
    worker.threads.shutdown()
