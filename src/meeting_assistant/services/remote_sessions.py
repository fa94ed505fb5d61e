"""Sessions on a fleet: the gateway's side. Implements `SessionRunner`.

The gateway keeps the sound and is the only one that commits words of its meetings. A worker that takes a job says
hello with a fresh attempt id; from then on only that attempt counts. The gateway answers with where to begin, from the
database, and with the sound from there on, from its journal. So a worker that dies, one that was thought dead, a
carrier that was restarted or emptied: each is followed by another attempt from what is stored, and nothing an earlier
one still says is taken."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence

from meeting_assistant import observability as obs
from meeting_assistant.domain.audio import BYTES_PER_SAMPLE
from meeting_assistant.domain.errors import CarrierError, EngineError, MeetingAssistantError
from meeting_assistant.domain.events import PartialTranscript
from meeting_assistant.domain.jobs import InferenceJob, JobKind
from meeting_assistant.domain.meeting import Meeting
from meeting_assistant.domain.ports import EngineInfo, FleetEvent, GatewayLink, SoundPiece, WorkerState
from meeting_assistant.domain.transcript import Gap, Utterance
from meeting_assistant.services.audio_buffer import SecureAudioBuffer
from meeting_assistant.services.capacity import Capacity
from meeting_assistant.services.degradation import Level
from meeting_assistant.services.patience import with_patience
from meeting_assistant.services.session_runner import MakeSpec
from meeting_assistant.services.session_types import SessionSink
from meeting_assistant.services.session_wire import reached_from_wire, spec_to_wire

logger = logging.getLogger(__name__)

CHECK_SECONDS = 1.0
"""How often the reconciler looks whether every job is still offered."""
STATE_SECONDS = 0.5
"""With no sound for so long, a worker is told whether anybody watches or sends."""
RETRY_SECONDS = 0.2


class RemoteSessions:
    """All meetings of this gateway that workers hear."""

    def __init__(
        self,
        link: GatewayLink,
        gateway: str,
        info: EngineInfo,
        *,
        on_engines: Callable[[dict[str, str]], None],
        reply: str = "",
    ) -> None:
        """`info`: of the recogniser that workers are expected to run; `on_engines` is told what they do run;
        `reply`: where they bring their results, if not to the inbox of this gateway."""
        self._link = link
        self._reply = reply
        self._gateway = gateway
        self._info = info
        self._on_engines = on_engines
        self._running: dict[str, _Remote] = {}
        self._workers: Sequence[WorkerState] = ()
        self._trouble: CarrierError | None = None
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
        with contextlib.suppress(CarrierError):
            self._workers = await self._link.workers()
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
        await self._link.close()

    async def run(
        self,
        kind: JobKind,
        meeting: Meeting,
        make_spec: MakeSpec,
        buffer: SecureAudioBuffer,
        sink: SessionSink,
    ) -> None:
        """Until some worker has heard it out. Raises EngineError when none can."""
        job = InferenceJob(kind=kind, meeting_id=meeting.id, gateway=self._gateway, reply=self._reply)
        remote = _Remote(job, meeting, make_spec, buffer, sink, self._link)
        self._running[meeting.id] = remote
        with contextlib.suppress(CarrierError):
            await self._link.withdraw(job)  # of an earlier life of this gateway
        try:
            with contextlib.suppress(CarrierError):  # the reconciler offers it as soon as the carrier is back
                await self._link.submit(job)
            await remote.follow()
        finally:
            del self._running[meeting.id]
            await remote.stop()
            with contextlib.suppress(CarrierError):
                await self._link.withdraw(job)

    # --- what comes back

    def hear(self, event: FleetEvent) -> None:
        """Something a worker tells, whichever way it came; what is not about a meeting that runs here is dropped."""
        remote = self._running.get(event.meeting_id)
        if remote is None:
            return
        if event.kind == "hello":
            self._on_engines(event.body.get("engines", {}))
        remote.hear(event)

    async def _listen(self) -> None:
        async for event in self._link.events():
            self.hear(event)

    async def _reconcile(self) -> None:
        """What the carrier forgot is offered again; the database and the journal know where to begin."""
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            try:
                self._workers = await self._link.workers()
                self._trouble = None
                for remote in list(self._running.values()):
                    if not remote.is_over and not await self._link.is_offered(remote.job):
                        obs.fleet_reoffered_total.inc()
                        remote.forget_attempt()
                        await self._link.submit(remote.job)
                        if self._running.get(remote.job.meeting_id) is not remote:
                            await self._link.withdraw(remote.job)  # it ended while we asked
            except CarrierError as error:
                self._trouble = error
                logger.warning("Redis cannot be reached.", extra=obs.log_fields(code=error.code))


class _Remote:
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
        self.job = job
        self.is_over = False
        """The worker has said everything, or cannot."""
        self._meeting = meeting
        self._make_spec = make_spec
        self._buffer = buffer
        self._sink = sink
        self._link = link
        self._attempt: str | None = None
        """Whose word counts; None while nobody's does."""
        self._fed: str | None = None
        """Who is given the sound."""
        self._number = 0
        self._gets_on = False
        """Something was committed since it was last offered."""
        self._events: asyncio.Queue[FleetEvent] = asyncio.Queue()
        self._feeding: asyncio.Task[None] | None = None

    def hear(self, event: FleetEvent) -> None:
        """In the order in which they came."""
        self._events.put_nowait(event)

    def forget_attempt(self) -> None:
        """Whoever hears it now is not believed any more."""
        self._attempt = None

    async def follow(self) -> None:
        """Apply what the worker tells until the meeting is heard out."""
        while True:
            event = await self._events.get()
            if event.kind == "hello":
                await self._begin(event)
            elif event.kind == "dead":
                if self._gets_on:
                    # Workers came and went for other reasons: a meeting that gets on is never given up.
                    self._gets_on = False
                    self._attempt = None
                    continue  # the reconciler offers it again
                self.is_over = True
                obs.fleet_given_up_total.inc()
                raise EngineError(
                    "Every worker that took this meeting died of it.",
                    "See the logs of the workers; the sound is stored: try again from the meeting's page.",
                    code="needs_attention",
                )
            elif event.attempt != self._attempt:
                obs.fleet_fenced_total.inc()
            elif event.kind == "partial":
                self._sink.show_partial(PartialTranscript.model_validate(event.body))
            elif event.number <= self._number:
                continue  # told once more by somebody who could not know that it had arrived
            elif event.number != self._number + 1:
                # Something is missing that the carrier lost: whoever hears it now loses the job, and the reconciler
                # offers it again from what is stored.
                self._attempt = None
                with contextlib.suppress(CarrierError):
                    await self._link.withdraw(self.job)
            else:
                self._number = event.number
                self._gets_on = True
                if await self._apply(event):
                    return

    async def _begin(self, event: FleetEvent) -> None:
        """A worker took it: everything before is void, and the words that are committed say where it begins."""
        if self._attempt is not None:
            obs.fleet_takeovers_total.inc()
        await self.stop()
        self._attempt = self._fed = event.attempt
        self._number = 0
        self._feeding = asyncio.create_task(self._feed(event.attempt), name=f"feed-{self.job.meeting_id}")

    async def _feed(self, attempt: str) -> None:
        try:
            spec = await self._make_spec()
            await self._hand(attempt, self._piece(b"", 0, spec=spec_to_wire(spec)))
            start = spec.resume.start_sample * self._meeting.frame_bytes
            offset = 0
            async for pcm in with_patience(self._buffer.follow(start), STATE_SECONDS):
                await self._hand(attempt, self._piece(pcm or b"", offset))
                offset += len(pcm or b"")
            await self._hand(attempt, self._piece(b"", offset, is_end=True))
        except MeetingAssistantError as error:
            self.hear(
                FleetEvent(
                    self.job.meeting_id,
                    attempt,
                    self._number + 1,
                    "failed",
                    {"code": error.code, **_words_of(error)},
                )
            )

    async def _hand(self, attempt: str, piece: SoundPiece) -> None:
        while True:
            try:
                await self._link.feed(attempt, piece)
            except CarrierError:
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return

    def _piece(
        self, pcm: bytes, offset: int, *, spec: dict[str, object] | None = None, is_end: bool = False
    ) -> SoundPiece:
        return SoundPiece(
            pcm,
            offset,
            is_watched=self._sink.is_watched,
            is_attended=self._sink.is_attended,
            received_sample=self._buffer.received_bytes // (BYTES_PER_SAMPLE * self._meeting.channels),
            is_end=is_end,
            spec=spec,
        )

    async def _apply(self, event: FleetEvent) -> bool:
        """True at the end."""
        body = event.body
        match event.kind:
            case "words":
                said = [Utterance.model_validate(one) for one in body["utterances"]]
                await self._sink.commit_utterances(
                    said, reached_from_wire(body["reached"]), takes_back=body["takes_back"]
                )
            case "silence":
                await self._sink.commit_silence(reached_from_wire(body["reached"]))
            case "gap":
                await self._sink.record_gap(
                    Gap.model_validate(body["gap"]), reached_from_wire(body["reached"])
                )
            case "relabel":
                await self._sink.relabel({int(number): label for number, label in body["speakers"].items()})
            case "name":
                await self._sink.name_speaker(body["label"], body["name"])
            case "failed":
                self.is_over = True
                raise EngineError(body["message"], body["remedy"], code=body["code"])
            case "done":
                self.is_over = True
                return True
        return False

    async def stop(self) -> None:
        """No more sound for the present attempt."""
        if self._feeding is not None:
            self._feeding.cancel()
            await asyncio.gather(self._feeding, return_exceptions=True)
            self._feeding = None
        if self._fed is not None:
            with contextlib.suppress(CarrierError):
                await self._link.drop_feed(self._fed)


def _words_of(error: MeetingAssistantError) -> dict[str, str]:
    return {"message": error.message, "remedy": error.remedy}
