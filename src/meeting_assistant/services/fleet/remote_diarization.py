"""Who spoke in a whole recording, told by a worker of the fleet."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple
from typing import Any

from meeting_assistant.domain.audio import BYTES_PER_SAMPLE, SAMPLE_RATE_HZ, Samples
from meeting_assistant.domain.jobs import InferenceJob, JobKind
from meeting_assistant.domain.ports import AudioPiece, FleetEvent, GatewayLink, SpeakerTurn, WorkerState
from meeting_assistant.services.fleet.remote_job import RemoteJob
from meeting_assistant.services.fleet.remote_sessions import RemoteSessions

PIECE_SAMPLES = 2 * SAMPLE_RATE_HZ
TURNS_AT_ONCE = 2000


class FleetDiarizer:
    """The workers whose engine hears whole recordings out. Implements `RecordingDiarizer`."""

    def __init__(self, sessions: RemoteSessions, wished: str) -> None:
        """`wished`: the engine that the settings name."""
        self._sessions = sessions
        self._wished = wished

    @property
    def _workers(self) -> list[WorkerState]:
        return [worker for worker in self._sessions.workers if worker.hears_out]

    @property
    def name(self) -> str:
        """Of the engine of such a worker; while there is none, of the wished one."""
        return next((worker.engines["diarization"] for worker in self._workers), self._wished)

    @property
    def max_speakers(self) -> int | None:
        """Of the engine that tells the fewest apart: any of the workers may take the recording. Not known while no such
        worker is there."""
        limits = [worker.max_speakers for worker in self._workers if worker.max_speakers is not None]
        return min(limits, default=None)

    @property
    def problem(self) -> str | None:
        """What an operator should mend; None when such a worker is there, or none at all, which others tell of."""
        if self._workers or not self._sessions.workers:
            return None
        return (
            f"No worker hears recordings out with {self._wished}: speakers stay as they were heard live, until one "
            "does. Start a worker with the same DIARIZATION_ENGINE and what it needs (docs/how-to/fleet.md)."
        )

    async def diarize_recording(
        self, meeting_id: str, samples: Samples, progress: Callable[[float], None]
    ) -> list[SpeakerTurn]:
        """By whichever worker takes it; waits for one. Raises EngineError."""
        job = self._sessions.job(JobKind.IDENTIFY_SPEAKERS, meeting_id, channels=1)
        hearing = RemoteDiarization(job, samples, progress, self._sessions.link)
        await self._sessions.run_to_completion(hearing)
        return hearing.turns


class RemoteDiarization(RemoteJob):
    """One recording, from its first sample: whoever takes it over hears all of it again."""

    def __init__(
        self, job: InferenceJob, samples: Samples, progress: Callable[[float], None], link: GatewayLink
    ) -> None:
        super().__init__(job, link)
        self._samples = samples
        self._progress = progress
        self.turns: list[SpeakerTurn] = []
        """Once it is done."""

    @property
    def what_is_left(self) -> str:
        """What was heard live."""
        return "The labels heard while people talked were kept."

    async def send_audio(self, attempt: str) -> None:
        """All of it, as fast as it is taken."""
        await self.hand(attempt, _piece(b"", 0, spec={}))
        for start in range(0, len(self._samples), PIECE_SAMPLES):
            pcm = self._samples[start : start + PIECE_SAMPLES].astype("<i2").tobytes()
            await self.hand(attempt, _piece(pcm, start * BYTES_PER_SAMPLE))
        await self.hand(attempt, _piece(b"", len(self._samples) * BYTES_PER_SAMPLE, is_end=True))

    def show(self, event: FleetEvent) -> None:
        """How far it is."""
        self._progress(float(event.body["share"]))

    async def apply(self, event: FleetEvent) -> None:
        """What was found out. The first piece of an attempt takes the place of what an earlier one told."""
        self.turns[event.body["first"] :] = [SpeakerTurn(*turn) for turn in event.body["turns"]]


def turns_to_wire(turns: Sequence[SpeakerTurn]) -> Iterator[dict[str, Any]]:
    """Bodies of `turns`: several for a day, so that none is too large for a gateway's own address."""
    for first in range(0, max(1, len(turns)), TURNS_AT_ONCE):
        yield {"first": first, "turns": [astuple(turn) for turn in turns[first : first + TURNS_AT_ONCE]]}


def _piece(
    pcm: bytes, offset: int, *, spec: dict[str, Any] | None = None, is_end: bool = False
) -> AudioPiece:
    return AudioPiece(
        pcm, offset, has_viewers=False, has_client=True, received_sample=0, is_end=is_end, spec=spec
    )
