"""Offline diarization on a fleet: a whole recording, by a worker that has an engine for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from meeting_assistant.domain.audio import BYTES_PER_SAMPLE, SAMPLE_RATE_HZ, Samples
from meeting_assistant.domain.jobs import InferenceJob, JobKind
from meeting_assistant.domain.ports import GatewayLink, SpeakerTurn
from meeting_assistant.services.fleet.messages import (
    Audio,
    Begin,
    End,
    NumberedBody,
    Progress,
    TransientBody,
    Turns,
    WorkerState,
)
from meeting_assistant.services.fleet.remote_job import RemoteJob
from meeting_assistant.services.fleet.remote_sessions import RemoteSessions

FRAME_SAMPLES = 2 * SAMPLE_RATE_HZ
TURNS_PER_MESSAGE = 2000
"""A day of turns is split, so that each message fits into one request to a gateway's own address."""


class FleetDiarizer:
    """The workers whose engine diarizes whole recordings. Implements `RecordingDiarizer`."""

    def __init__(self, sessions: RemoteSessions, requested: str) -> None:
        """`requested`: the engine that the settings name."""
        self._sessions = sessions
        self._requested = requested

    @property
    def _workers(self) -> list[WorkerState]:
        return [worker for worker in self._sessions.workers if worker.has_offline_diarizer]

    @property
    def name(self) -> str:
        """The engine of such a worker; while there is none, the requested one."""
        return next((worker.engines["diarization"] for worker in self._workers), self._requested)

    @property
    def max_speakers(self) -> int | None:
        """The smallest limit of these workers, as any of them may take the recording; None while it is unknown, and
        where there is no limit."""
        limits = [worker.max_speakers for worker in self._workers if worker.max_speakers is not None]
        return min(limits, default=None)

    @property
    def problem(self) -> str | None:
        """The problem that an operator should fix: no worker diarizes with the requested engine.

        None when there is such a worker, and when there is no worker at all, which
        `RemoteSessions.problem` reports.
        """
        if self._workers or not self._sessions.workers:
            return None
        return (
            f"No worker diarizes recordings with {self._requested}: speakers keep their live labels until one does. "
            "Start a worker with the same DIARIZATION_ENGINE and what it needs (docs/how-to/fleet.md)."
        )

    async def diarize_recording(
        self, meeting_id: str, samples: Samples, progress: Callable[[float], None]
    ) -> list[SpeakerTurn]:
        """Return the speaker turns of a recording; waits for a worker. Raises EngineError."""
        job = self._sessions.job(JobKind.IDENTIFY_SPEAKERS, meeting_id, channels=1)
        diarization = RemoteDiarization(job, samples, progress, self._sessions.link)
        await self._sessions.run_to_completion(diarization)
        return diarization.turns


class RemoteDiarization(RemoteJob):
    """The diarization of one recording; a worker that takes it over begins again at the first sample."""

    def __init__(
        self, job: InferenceJob, samples: Samples, progress: Callable[[float], None], link: GatewayLink
    ) -> None:
        super().__init__(job, link)
        self._samples = samples
        self._progress = progress
        self.turns: list[SpeakerTurn] = []
        """Complete once the job is."""

    @property
    def remedy(self) -> str:
        """The labels from the live session stand."""
        return "The speaker labels from the live session were kept."

    async def stream_audio(self, attempt: str) -> None:
        """Send the whole recording, as fast as the broker accepts it."""
        await self.send_audio(attempt, Begin())
        for start in range(0, len(self._samples), FRAME_SAMPLES):
            pcm = self._samples[start : start + FRAME_SAMPLES].astype("<i2").tobytes()
            await self.send_audio(attempt, Audio(offset=start * BYTES_PER_SAMPLE), pcm)
        await self.send_audio(attempt, End(offset=len(self._samples) * BYTES_PER_SAMPLE))

    def show(self, body: TransientBody) -> None:
        """Report the progress."""
        if isinstance(body, Progress):
            self._progress(body.share)

    async def apply(self, body: NumberedBody) -> None:
        """Keep turns. The first part of an attempt replaces the turns of an earlier one."""
        if isinstance(body, Turns):
            self.turns[body.first :] = body.turns


def split_turns(turns: Sequence[SpeakerTurn]) -> Iterator[Turns]:
    """Yield the messages that carry these turns; at least one, so that turns of an earlier attempt are replaced."""
    for first in range(0, max(1, len(turns)), TURNS_PER_MESSAGE):
        yield Turns(first=first, turns=list(turns[first : first + TURNS_PER_MESSAGE]))
