"""The two sides of a fleet, each with a link that does what the test says: what is counted when hold changes hands."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from types import SimpleNamespace
from typing import Any, cast

from prometheus_client import REGISTRY

from meeting_assistant.domain.jobs import InferenceJob, JobKind
from meeting_assistant.domain.meeting import Meeting, MeetingState
from meeting_assistant.domain.ports import AudioPiece, EngineInfo, FleetEvent, HeldJob, WorkerState
from meeting_assistant.services.diarization.diarization_service import DiarizationService
from meeting_assistant.services.fleet.remote_sessions import RemoteSessions
from meeting_assistant.services.fleet.worker import Worker
from meeting_assistant.services.recording.audio_buffer import SecureAudioBuffer
from meeting_assistant.services.transcription.session_types import SessionSink, SessionSpec, SpeechServices

JOB = InferenceJob(kind=JobKind.LIVE_SESSION, meeting_id="m", gateway="north")
MEETING = Meeting(id="m", title="", state=MeetingState.RECORDING, source="live", created_at_ms=0)
ENGINE = EngineInfo("numbers", "numbers", ("en",), max_window_s=30)


def figure(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"meeting_assistant_{name}", labels) or 0.0


class LostJob:
    """Somebody else has it."""

    def __init__(self, job: InferenceJob = JOB) -> None:
        self.job = job

    async def keep(self) -> bool:
        return False

    async def done(self) -> bool:
        return False

    async def give_back(self) -> None:
        """Nothing to give."""


class OneJobLink:
    """A worker's side: one job, and no sound."""

    def __init__(self, job: InferenceJob = JOB) -> None:
        self._jobs: list[HeldJob] = [LostJob(job)]
        self.is_asked_again = asyncio.Event()
        self.asked: list[Collection[JobKind]] = []

    async def take(self, timeout_s: float, kinds: Collection[JobKind]) -> HeldJob | None:
        self.asked.append(kinds)
        if self._jobs:
            return self._jobs.pop()
        self.is_asked_again.set()
        await asyncio.sleep(timeout_s)
        return None

    async def tell(self, job: InferenceJob, event: FleetEvent) -> None:
        """Nobody listens."""

    async def sound(self, attempt: str) -> AsyncIterator[AudioPiece]:
        await asyncio.Event().wait()
        yield AudioPiece(b"", 0, has_viewers=False, has_client=False, received_sample=0)

    async def announce(self, state: WorkerState) -> None:
        """Nobody counts."""

    async def close(self) -> None:
        """Nothing is open."""


async def test_a_worker_that_lost_its_lease_counts_it_and_stops_hearing() -> None:
    before, link = figure("fleet_leases_lost_total"), OneJobLink()
    tools = cast(SpeechServices, SimpleNamespace(diarization=DiarizationService(None)))
    worker = Worker(link, tools, name="w", slots=1, lease_s=0.03, engines={})
    running = asyncio.create_task(worker.run())
    await link.is_asked_again.wait()  # with one place, it asks for more when that one is free
    worker.drain()
    await running
    assert figure("fleet_leases_lost_total") == before + 1


async def test_a_worker_hears_one_recording_out_at_a_time_and_goes_on_with_meetings() -> None:
    job = InferenceJob(kind=JobKind.IDENTIFY_SPEAKERS, meeting_id="m", gateway="north")
    link = OneJobLink(job)
    diarization = cast(
        DiarizationService, SimpleNamespace(has_offline_diarizer=True, max_speakers=None, name="fine")
    )
    tools = cast(SpeechServices, SimpleNamespace(diarization=diarization))
    worker = Worker(link, tools, name="w", slots=2, lease_s=60, engines={})
    running = asyncio.create_task(worker.run())
    await link.is_asked_again.wait()
    worker.drain()
    await running
    before, meanwhile = link.asked[:2]
    assert set(before) - set(meanwhile) == {JobKind.IDENTIFY_SPEAKERS}
    assert JobKind.LIVE_SESSION in meanwhile


class ToldLink:
    """A gateway's side: workers say what the test says."""

    def __init__(self, events: Sequence[FleetEvent]) -> None:
        self._events = events
        self._is_submitted = asyncio.Event()
        self.offered: list[InferenceJob] = []

    async def submit(self, job: InferenceJob) -> None:
        self.offered.append(job)
        self._is_submitted.set()

    async def is_offered(self, job: InferenceJob) -> bool:
        return True

    async def withdraw(self, job: InferenceJob) -> None:
        """It is gone."""

    async def feed(self, attempt: str, piece: AudioPiece) -> None:
        """Nobody hears."""

    async def drop_feed(self, attempt: str) -> None:
        """Nobody hears."""

    async def events(self) -> AsyncIterator[FleetEvent]:
        await self._is_submitted.wait()
        for event in self._events:
            yield event

    async def workers(self) -> Sequence[WorkerState]:
        return ()

    async def close(self) -> None:
        """Nothing is open."""


async def test_what_a_worker_says_that_has_the_meeting_no_more_is_counted_and_not_taken() -> None:
    def told(attempt: str, number: int, kind: Any) -> FleetEvent:
        return FleetEvent("m", attempt, number, kind, {"job": "live_session"} if kind == "hello" else {})

    async def never() -> SessionSpec:
        await asyncio.Event().wait()
        raise AssertionError

    fenced, taken_over = figure("fleet_fenced_total"), figure("fleet_takeovers_total")
    link = ToldLink(
        [
            told("first", 0, "hello"),
            told("second", 0, "hello"),
            FleetEvent("m", "third", 0, "hello", {"job": "identify_speakers"}),  # about something else
            told("first", 1, "done"),
            told("second", 1, "done"),
        ]
    )
    sessions = RemoteSessions(link, "north", ENGINE)
    await sessions.start()
    buffer, sink = cast(SecureAudioBuffer, None), cast(SessionSink, None)
    await sessions.run(JobKind.LIVE_SESSION, MEETING, never, buffer, sink)
    await sessions.close()
    assert figure("fleet_fenced_total") == fenced + 1
    assert figure("fleet_takeovers_total") == taken_over + 1
    (offered,) = link.offered
    assert offered.sound is not None
    assert offered.sound.channels == 1
