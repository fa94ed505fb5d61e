"""Sessions on a fleet: the gateway's side. Implements `SessionRunner`.

The gateway keeps the sound and is the only one that commits words of its meetings. It answers a worker that says hello
with where to begin, from the database, and with the sound from there on, from its journal: whichever attempt follows,
it goes on from what is stored."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence

from meeting_assistant import observability as obs
from meeting_assistant import tracing
from meeting_assistant.domain.audio import BYTES_PER_SAMPLE
from meeting_assistant.domain.errors import BrokerError
from meeting_assistant.domain.events import PartialTranscript
from meeting_assistant.domain.jobs import AudioReference, InferenceJob, JobKind
from meeting_assistant.domain.meeting import Meeting
from meeting_assistant.domain.ports import AudioPiece, EngineInfo, FleetEvent, GatewayLink, WorkerState
from meeting_assistant.domain.transcript import Gap, Utterance
from meeting_assistant.services.asr.capacity import Capacity
from meeting_assistant.services.asr.degradation import Level
from meeting_assistant.services.fleet.remote_job import RemoteJob
from meeting_assistant.services.fleet.session_wire import commit_point_from_wire, spec_to_wire
from meeting_assistant.services.live.session_runner import MakeSpec
from meeting_assistant.services.recording.audio_buffer import SecureAudioBuffer
from meeting_assistant.services.recording.idle_timeout import with_idle_timeout
from meeting_assistant.services.transcription.session_types import SessionSink

logger = logging.getLogger(__name__)

CHECK_SECONDS = 1.0
"""How often the reconciler looks whether every job is still offered."""
STATE_SECONDS = 0.5
"""With no sound for so long, a worker is told whether anybody watches or sends."""


class RemoteSessions:
    """All meetings of this gateway that workers hear."""

    def __init__(
        self,
        link: GatewayLink,
        gateway: str,
        info: EngineInfo,
        *,
        reply: str = "",
    ) -> None:
        """`info`: of the recogniser that workers are expected to run;
        `reply`: where they bring their results, if not to the inbox of this gateway."""
        self.link = link
        self._reply = reply
        self._gateway = gateway
        self._info = info
        self.on_engines: Callable[[dict[str, str]], None] = lambda engines: None
        """Called with the names of the engines that workers run; set before `start`."""
        self._running: dict[str, RemoteJob] = {}
        self._workers: Sequence[WorkerState] = ()
        self._trouble: BrokerError | None = None
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def info(self) -> EngineInfo:
        """As it is configured here."""
        return self._info

    @property
    def level(self) -> Level:
        """Workers step down by themselves."""
        return Level.NORMAL

    def on_level(self, listener: Callable[[Level], None]) -> None:
        """Never told: see `level`."""

    @property
    def workers(self) -> Sequence[WorkerState]:
        """Those that were alive a moment ago."""
        return self._workers

    @property
    def problem(self) -> str | None:
        """What an operator should mend; None when workers are there."""
        if self._trouble is not None:
            return f"{self._trouble} {self._trouble.remedy}"
        if not self._workers:
            return (
                "No worker is there: what is said is recorded, and new meetings are refused. Start one with "
                "`meeting-assistant worker`, with the same REDIS_URL."
            )
        return None

    def capacity(self, *, live: int, partial_interval_s: float, max_meetings: int | None) -> Capacity:
        """By the slots of the workers that are there. Meetings of other gateways have theirs taken."""
        slots = sum(worker.slots for worker in self._workers)
        free = sum(max(0, worker.slots - worker.busy) for worker in self._workers)
        total = live + free if max_meetings is None else min(max_meetings, live + free)
        return Capacity(
            live=live,
            comfortable=min(slots, total),
            total=total,
            more=max(0, total - live),
            level=Level.NORMAL,
            predicted_wait_s=0.0,
            load_per_meeting=0.0,
        )

    # --- life

    async def start(self) -> None:
        """Listen to workers, and look after jobs."""
        with contextlib.suppress(BrokerError):
            self._workers = await self.link.workers()
        self._tasks = [
            asyncio.create_task(self._listen(), name="fleet-events"),
            asyncio.create_task(self._reconcile(), name="fleet-reconciler"),
        ]

    async def close(self) -> None:
        """Idempotent."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        await self.link.close()

    async def run(
        self,
        kind: JobKind,
        meeting: Meeting,
        make_spec: MakeSpec,
        buffer: SecureAudioBuffer,
        sink: SessionSink,
    ) -> None:
        """Until some worker has heard it out. Raises EngineError when none can."""
        job = self.job(kind, meeting.id, channels=meeting.channels)
        await self.run_to_completion(_Hearing(job, meeting, make_spec, buffer, sink, self.link))

    def job(self, kind: JobKind, meeting_id: str, *, channels: int) -> InferenceJob:
        """With sound of this gateway."""
        return InferenceJob(
            kind=kind,
            meeting_id=meeting_id,
            gateway=self._gateway,
            reply=self._reply,
            sound=AudioReference(channels=channels),
            traceparent=tracing.traceparent(),
        )

    async def run_to_completion(self, remote: RemoteJob) -> None:
        """Offer a job, and take what comes of it. Raises EngineError when no worker can do it."""
        job = remote.job
        self._running[job.key] = remote
        with contextlib.suppress(BrokerError):
            await self.link.withdraw(job)  # of an earlier life of this gateway
        try:
            with contextlib.suppress(BrokerError):  # the reconciler offers it as soon as the carrier is back
                await self.link.submit(job)
            await remote.follow()
        finally:
            del self._running[job.key]
            await remote.stop()
            with contextlib.suppress(BrokerError):
                await self.link.withdraw(job)

    # --- what comes back

    def hear(self, event: FleetEvent) -> None:
        """Something a worker tells, whichever way it came; what is not about a meeting that runs here is dropped."""
        remotes = [one for one in self._running.values() if one.job.meeting_id == event.meeting_id]
        if remotes and event.kind == "hello":
            self.on_engines(event.body.get("engines", {}))
        for remote in remotes:
            remote.hear(event)

    async def _listen(self) -> None:
        async for event in self.link.events():
            self.hear(event)

    async def _reconcile(self) -> None:
        """What the carrier forgot is offered again; the database and the journal know where to begin."""
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            try:
                self._workers = await self.link.workers()
                self._trouble = None
                for remote in list(self._running.values()):
                    if not remote.is_over and not await self.link.is_offered(remote.job):
                        obs.fleet_reoffered_total.inc()
                        remote.forget_attempt()
                        await self.link.submit(remote.job)
                        if self._running.get(remote.job.key) is not remote:
                            await self.link.withdraw(remote.job)  # it ended while we asked
            except BrokerError as error:
                self._trouble = error
                logger.warning("Redis cannot be reached.", extra=obs.log_fields(code=error.code))


class _Hearing(RemoteJob):
    """One meeting that a worker hears."""

    def __init__(
        self,
        job: InferenceJob,
        meeting: Meeting,
        make_spec: MakeSpec,
        buffer: SecureAudioBuffer,
        sink: SessionSink,
        link: GatewayLink,
    ) -> None:
        super().__init__(job, link)
        self._meeting = meeting
        self._make_spec = make_spec
        self._buffer = buffer
        self._sink = sink

    @property
    def what_is_left(self) -> str:
        """Its sound."""
        return "The sound is stored: try again from the meeting's page."

    async def send_audio(self, attempt: str) -> None:
        """From where words are committed, as it comes."""
        spec = await self._make_spec()
        await self.hand(attempt, self._piece(b"", 0, spec=spec_to_wire(spec)))
        start = spec.resume.start_sample * self._meeting.frame_bytes
        offset = 0
        async for pcm in with_idle_timeout(self._buffer.follow(start), STATE_SECONDS):
            await self.hand(attempt, self._piece(pcm or b"", offset))
            offset += len(pcm or b"")
        await self.hand(attempt, self._piece(b"", offset, is_end=True))

    def show(self, event: FleetEvent) -> None:
        """Captions."""
        self._sink.send_partial(PartialTranscript.model_validate(event.body))

    def _piece(
        self, pcm: bytes, offset: int, *, spec: dict[str, object] | None = None, is_end: bool = False
    ) -> AudioPiece:
        return AudioPiece(
            pcm,
            offset,
            has_viewers=self._sink.has_viewers,
            has_client=self._sink.has_client,
            received_sample=self._buffer.received_bytes // (BYTES_PER_SAMPLE * self._meeting.channels),
            is_end=is_end,
            spec=spec,
        )

    async def apply(self, event: FleetEvent) -> None:
        """Words, and how far they reach."""
        body = event.body
        match event.kind:
            case "words":
                said = [Utterance.model_validate(one) for one in body["utterances"]]
                await self._sink.commit_utterances(
                    said, commit_point_from_wire(body["reached"]), takes_back=body["takes_back"]
                )
            case "silence":
                await self._sink.commit_silence(commit_point_from_wire(body["reached"]))
            case "gap":
                await self._sink.record_gap(
                    Gap.model_validate(body["gap"]), commit_point_from_wire(body["reached"])
                )
            case "relabel":
                await self._sink.relabel({int(number): label for number, label in body["speakers"].items()})
            case "name":
                await self._sink.name_speaker(body["label"], body["name"])
