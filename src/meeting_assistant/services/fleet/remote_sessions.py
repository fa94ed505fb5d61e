"""Sessions on a fleet, as their gateway sees them. Implements `SessionRunner`.

The gateway keeps the recording and is the only one that commits words of its meetings. It answers a worker's `hello`
with where to begin, from the database, and with the audio from there on, from its journal. So every attempt, whichever
worker makes it, continues from what is stored.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence

from meeting_assistant import observability as obs
from meeting_assistant import tracing
from meeting_assistant.domain.audio import BYTES_PER_SAMPLE
from meeting_assistant.domain.errors import BrokerError, JobError
from meeting_assistant.domain.events import PartialTranscript
from meeting_assistant.domain.jobs import AudioReference, InferenceJob, JobKind
from meeting_assistant.domain.meeting import Meeting
from meeting_assistant.domain.ports import EngineInfo, GatewayLink
from meeting_assistant.services.asr.capacity import Capacity
from meeting_assistant.services.asr.degradation import Level
from meeting_assistant.services.fleet.broker_warnings import log_broker_warnings
from meeting_assistant.services.fleet.messages import (
    Audio,
    Begin,
    End,
    Hello,
    NameSpeaker,
    NumberedBody,
    Relabel,
    Silence,
    TransientBody,
    Untranscribed,
    Utterances,
    WorkerMessage,
    WorkerState,
    decode_worker_message,
    decode_worker_state,
)
from meeting_assistant.services.fleet.remote_job import RemoteJob
from meeting_assistant.services.fleet.result_checks import check_times
from meeting_assistant.services.live.session_runner import MakeSpec
from meeting_assistant.services.recording.audio_buffer import SecureAudioBuffer
from meeting_assistant.services.recording.idle_timeout import with_idle_timeout
from meeting_assistant.services.transcription.session_types import SessionSink

logger = logging.getLogger(__name__)

CHECK_SECONDS = 1.0
"""Interval of the reconciler, which offers jobs again that the broker lost."""
STATE_SECONDS = 0.5
"""After so long without audio a worker is sent the state of the meeting: viewers, newest sample."""


class RemoteSessions:
    """The jobs of this gateway that workers do."""

    def __init__(self, link: GatewayLink, gateway: str, info: EngineInfo, *, reply: str = "") -> None:
        """`info`: of the recogniser that workers are expected to run; `reply`: the address for their results, if not
        the inbox of this gateway at the broker."""
        self.link = link
        self._reply = reply
        self._gateway = gateway
        self._info = info
        self.on_engines: Callable[[dict[str, str]], None] = lambda engines: None
        """Called with the names of the engines that workers run; set before `start`."""
        self._running: dict[str, RemoteJob] = {}
        self._workers: Sequence[WorkerState] = ()
        self._mismatches: set[str] = set()
        """Errors about workers of another version."""
        self._broker_error: BrokerError | None = None
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def info(self) -> EngineInfo:
        """The recogniser, as it is configured here."""
        return self._info

    @property
    def level(self) -> Level:
        """Always normal: workers step down by themselves."""
        return Level.NORMAL

    def on_level(self, listener: Callable[[Level], None]) -> None:
        """Do nothing: see `level`."""

    @property
    def workers(self) -> Sequence[WorkerState]:
        """The workers of this version that were alive a moment ago."""
        return self._workers

    @property
    def problem(self) -> str | None:
        """The problem an operator should fix; None while there are workers and all speak this version."""
        if self._broker_error is not None:
            return f"{self._broker_error} {self._broker_error.remedy}"
        if self._mismatches:
            return " ".join(sorted(self._mismatches))
        if not self._workers:
            return (
                "No worker is there: meetings that run are recorded, and new ones are refused. Start one with "
                "`meeting-assistant worker`, with the same REDIS_URL and FLEET__SECRET."
            )
        return None

    def capacity(self, *, live: int, partial_interval_s: float, max_meetings: int | None) -> Capacity:
        """Return how many meetings fit, by the slots of the workers; meetings of other gateways occupy theirs."""
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

    def is_decoding(self, meeting_id: str) -> bool:
        """Return False: workers decode, and a decode that kills one leaves this process alone."""
        return False

    # --- life

    async def start(self) -> None:
        """Begin to receive messages and to reconcile jobs."""
        with contextlib.suppress(BrokerError):
            await self._update_workers()
        self._tasks = [
            asyncio.create_task(self._receive(), name="fleet-messages"),
            asyncio.create_task(self._reconcile(), name="fleet-reconciler"),
        ]

    async def close(self) -> None:
        """Cancel the background tasks and close the link; idempotent."""
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
        """Run a session until a worker has transcribed all of it. Raises EngineError when none can."""
        job = self.job(kind, meeting.id, channels=meeting.channels)
        await self.run_to_completion(_RemoteSession(job, meeting, make_spec, buffer, sink, self.link))

    def job(self, kind: JobKind, meeting_id: str, *, channels: int) -> InferenceJob:
        """Return a job with audio of this gateway."""
        return InferenceJob(
            kind=kind,
            meeting_id=meeting_id,
            gateway=self._gateway,
            reply=self._reply,
            sound=AudioReference(channels=channels),
            traceparent=tracing.traceparent(),
        )

    async def run_to_completion(self, remote: RemoteJob) -> None:
        """Offer a job and store its results until it is complete. Raises EngineError when no worker can do it."""
        self._running[remote.job.key] = remote
        try:
            with contextlib.suppress(BrokerError):  # the reconciler offers it as soon as the broker is back
                await self.link.submit(remote.new_offer())
            await remote.follow()
        finally:
            del self._running[remote.job.key]
            await remote.stop()
            with contextlib.suppress(BrokerError):
                await self.link.withdraw(remote.job)

    # --- what comes back

    def on_message(self, message: WorkerMessage) -> None:
        """Pass a worker's message to the jobs of its meeting; one about a meeting that does not run here is dropped."""
        remotes = [one for one in self._running.values() if one.job.meeting_id == message.meeting_id]
        if remotes and isinstance(message.body, Hello):
            self.on_engines(message.body.engines)
        for remote in remotes:
            remote.on_message(message)

    async def _receive(self) -> None:
        async for text in self.link.messages():
            try:
                message = decode_worker_message(text)
            except JobError as error:
                logger.warning("Dropped a fleet message.", extra=obs.log_fields(code=error.code))
            else:
                self.on_message(message)

    async def _reconcile(self) -> None:
        """Offer again what the broker lost; the database and the journal know where to begin."""
        is_checked = False
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            try:
                await self._update_workers()
                for remote in list(self._running.values()):
                    await self._reconcile_job(remote)
                if not is_checked:
                    await log_broker_warnings(self.link)
                    is_checked = True
            except BrokerError as error:
                self._broker_error, is_checked = error, False
                logger.warning("Failed to reach Redis.", extra=obs.log_fields(code=error.code))
            else:
                self._broker_error = None

    async def _reconcile_job(self, remote: RemoteJob) -> None:
        if remote.is_over:
            return
        if remote.is_withdrawal_due:
            await remote.withdraw()
        if await self.link.is_offered(remote.job):
            lease = remote.lease
            if lease and not await self.link.is_held(remote.job, lease) and remote.lease == lease:
                remote.forget_attempt()
            return
        obs.fleet_reoffered_total.inc()
        await self.link.submit(remote.new_offer())
        if self._running.get(remote.job.key) is not remote:
            await self.link.withdraw(remote.job)  # it ended meanwhile

    async def _update_workers(self) -> None:
        workers: list[WorkerState] = []
        mismatches: set[str] = set()
        for state in await self.link.workers():
            try:
                workers.append(decode_worker_state(state))
            except JobError as error:
                mismatches.add(f"{error} {error.remedy}")
        for problem in mismatches - self._mismatches:
            logger.error("A worker of another version is not used.", extra=obs.log_fields(problem=problem))
        self._workers, self._mismatches = workers, mismatches
        busy = sum(min(worker.busy, worker.slots) for worker in workers)
        obs.fleet_slots.labels("taken").set(busy)
        obs.fleet_slots.labels("free").set(sum(worker.slots for worker in workers) - busy)


class _RemoteSession(RemoteJob):
    """One meeting that a worker transcribes."""

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
    def remedy(self) -> str:
        """The recording stands."""
        return "The recording is stored: try again from the meeting's page."

    async def stream_audio(self, attempt: str) -> None:
        """Send the audio from the commit point on, as it comes."""
        spec = await self._make_spec()
        await self.send_audio(attempt, Begin(session=spec))
        start = spec.resume.start_sample * self._meeting.frame_bytes
        offset = 0
        async for chunk in with_idle_timeout(self._buffer.follow(start), STATE_SECONDS):
            pcm = chunk or b""
            await self.send_audio(attempt, self._audio(offset), pcm)
            offset += len(pcm)
        await self.send_audio(attempt, End(offset=offset))

    def show(self, body: TransientBody) -> None:
        """Show a partial."""
        if isinstance(body, PartialTranscript):
            self._sink.send_partial(body)

    async def apply(self, body: NumberedBody) -> None:
        """Commit words, and how far they reach. Raises ValueError for what lies outside of the recording."""
        check_times(body, self._received_sample)
        match body:
            case Utterances(utterances=utterances, commit_point=commit_point, takes_back=takes_back):
                await self._sink.commit_utterances(utterances, commit_point, takes_back=takes_back)
            case Silence(commit_point=commit_point):
                await self._sink.commit_silence(commit_point)
            case Untranscribed(gap=gap, commit_point=commit_point):
                await self._sink.record_gap(gap, commit_point)
            case Relabel(speakers=speakers):
                await self._sink.relabel(speakers)
            case NameSpeaker(label=label, name=name):
                await self._sink.name_speaker(label, name)
            case _:
                logger.warning("Ignored a result that does not belong to a session.")

    def _audio(self, offset: int) -> Audio:
        return Audio(
            offset=offset,
            has_viewers=self._sink.has_viewers,
            received_sample=self._received_sample,
        )

    @property
    def _received_sample(self) -> int:
        return self._buffer.received_bytes // (BYTES_PER_SAMPLE * self._meeting.channels)
