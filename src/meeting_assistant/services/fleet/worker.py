"""A worker of a fleet: takes jobs as it has free slots, runs them with the same code as a single machine, and sends the
results to the gateway."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass

from meeting_assistant import observability as obs
from meeting_assistant import tracing
from meeting_assistant.domain.audio import pcm_to_samples
from meeting_assistant.domain.errors import BrokerError, JobError, MeetingAssistantError
from meeting_assistant.domain.jobs import JobKind, version_mismatch
from meeting_assistant.domain.ports import AudioFrame, HeldJob, WorkerLink
from meeting_assistant.services.fleet.broker_warnings import log_broker_warnings
from meeting_assistant.services.fleet.messages import (
    Begin,
    DeadLettered,
    Done,
    Failed,
    Hello,
    WorkerMessage,
    WorkerState,
    encode,
)
from meeting_assistant.services.fleet.remote_diarization import split_turns
from meeting_assistant.services.fleet.remote_sink import AudioGapError, RemoteSink
from meeting_assistant.services.transcription.audio_session import process_audio_session
from meeting_assistant.services.transcription.session_types import SpeechServices

logger = logging.getLogger(__name__)

TAKE_SECONDS = 0.2
RETRY_SECONDS = 0.2
ANNOUNCE_SECONDS = 1.0
GREETING_SECONDS = 15.0
"""Within which a gateway answers a worker that took its job."""
COMMIT_SECONDS = 60.0
"""How long a worker waits for its gateway to commit the last words."""


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """Options for how a worker takes jobs."""

    name: str
    """For log lines, traces and the dashboard."""
    slots: int
    """Jobs at once."""
    lease_s: float
    """How long a job stays with this worker without a renewal."""
    max_deliveries: int
    """A job that was delivered more often than this, and never completed, is dead-lettered."""
    engines: Mapping[str, str]
    """What this worker runs: `asr`, `vad`."""


class _NoAnswerError(Exception):
    """The gateway of a job is gone, or has offered it again: this offer can go."""


class Worker:
    """Takes jobs until it is drained."""

    def __init__(self, link: WorkerLink, tools: SpeechServices, options: WorkerOptions) -> None:
        self._link = link
        self._tools = tools
        self._options = options
        self._sessions: set[asyncio.Task[None]] = set()
        self._diarizing: asyncio.Task[None] | None = None
        self._is_draining = asyncio.Event()

    async def run(self) -> None:
        """Work until `drain` is called and every job is complete or released."""
        announcing = asyncio.create_task(self._announce(), name="announce")
        try:
            await self._take_jobs()
            for session in self._sessions:
                session.cancel()
            await asyncio.gather(*self._sessions, return_exceptions=True)
        finally:
            announcing.cancel()
            await asyncio.gather(announcing, return_exceptions=True)
            await self._link.close()

    def drain(self) -> None:
        """Take no more jobs and release those that run: other workers continue from their commit points."""
        self._is_draining.set()

    async def _take_jobs(self) -> None:
        draining = asyncio.create_task(self._is_draining.wait())
        while not self._is_draining.is_set():
            if len(self._sessions) >= self._options.slots:
                await asyncio.wait({draining, *self._sessions}, return_when=asyncio.FIRST_COMPLETED)
                continue
            try:
                held = await self._link.take(TAKE_SECONDS, self._kinds)
                if held is not None and held.deliveries > self._options.max_deliveries:
                    await self._dead_letter(held)
                    continue
            except BrokerError as error:
                logger.warning("Failed to reach Redis.", extra=obs.log_fields(code=error.code))
                await asyncio.wait({draining}, timeout=RETRY_SECONDS)
                continue
            if held is not None:
                self._begin(held)
        draining.cancel()

    @property
    def _kinds(self) -> set[JobKind]:
        """The kinds of jobs that this worker can take now. Recordings are diarized one at a time: each is some hundred
        megabytes, and another worker may be free."""
        kinds = {JobKind.LIVE_SESSION, JobKind.TRANSCRIBE_FILE}
        is_free = self._diarizing is None or self._diarizing.done()
        if self._tools.diarization.recordings.is_available and is_free:
            kinds.add(JobKind.IDENTIFY_SPEAKERS)
        return kinds

    async def _dead_letter(self, held: HeldJob) -> None:
        """Move a job that was delivered too often to the dead letters. Raises BrokerError."""
        job = held.job
        obs.fleet_dead_total.inc()
        logger.error(
            "Moved a job to the dead letters: it was delivered too often.",
            extra=obs.log_fields(meeting=job.meeting_id, deliveries=held.deliveries),
        )
        await held.dead_letter(f"delivered {held.deliveries - 1} times and never completed")
        message = WorkerMessage(meeting_id=job.meeting_id, body=DeadLettered(job=job.kind, offer=job.offer))
        await self._link.send(job, encode(message))

    async def _announce(self) -> None:
        is_checked = False
        while True:
            state = self._state()
            obs.worker_slots.labels("taken").set(state.busy)
            obs.worker_slots.labels("free").set(max(0, state.slots - state.busy))
            with contextlib.suppress(BrokerError):
                await self._link.announce(encode(state))
                if not is_checked:
                    await log_broker_warnings(self._link)
                    is_checked = True
            await asyncio.sleep(ANNOUNCE_SECONDS)

    def _state(self) -> WorkerState:
        diarization = self._tools.diarization
        return WorkerState(
            name=self._options.name,
            slots=self._options.slots,
            busy=len(self._sessions),
            engines={**self._options.engines, "diarization": diarization.name},
            has_offline_diarizer=diarization.recordings.is_available,
            max_speakers=diarization.recordings.max_speakers,
        )

    # --- one job

    def _begin(self, held: HeldJob) -> None:
        session = asyncio.create_task(self._observe(held), name=f"session-{held.job.meeting_id}")
        self._sessions.add(session)
        session.add_done_callback(self._sessions.discard)
        if held.job.kind is JobKind.IDENTIFY_SPEAKERS:
            self._diarizing = session

    async def _observe(self, held: HeldJob) -> None:
        job = held.job
        with (
            obs.about(job.meeting_id),
            tracing.span(
                "session.worker",
                parent=job.traceparent,
                meeting=job.meeting_id,
                kind=job.kind,
                worker=self._options.name,
            ),
        ):
            obs.jobs_total.labels(job.kind).inc()
            began = time.monotonic()
            try:
                await self._hold(held)
            finally:
                obs.job_duration_seconds.labels(job.kind).observe(time.monotonic() - began)

    async def _hold(self, held: HeldJob) -> None:
        """Run the job while the lease is renewed; without the lease it stops at once."""
        job = held.job
        running = asyncio.create_task(self._run(held))
        renewing = asyncio.create_task(self._renew(held))
        try:
            await asyncio.wait({running, renewing}, return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                running.result()
                # The gateway withdraws the job when everything is committed. Should it not come that far, the worker
                # that takes the job next continues from the commit point.
                await asyncio.wait({renewing}, timeout=COMMIT_SECONDS)
                with contextlib.suppress(BrokerError):
                    await held.ack()
            else:
                obs.fleet_leases_lost_total.inc()
                logger.warning("Lost the lease of a job.", extra=obs.log_fields(meeting=job.meeting_id))
        except AudioGapError:
            with contextlib.suppress(BrokerError):
                await held.release()
        except _NoAnswerError:
            with contextlib.suppress(BrokerError):
                await held.ack()
        except JobError as error:
            obs.fleet_foreign_total.inc()
            logger.error(  # noqa: TRY400
                "Left a job to other workers.",
                extra=obs.log_fields(meeting=job.meeting_id, code=error.code, problem=error.message),
            )
            with contextlib.suppress(BrokerError):
                await held.nack()
        except Exception:
            # Without an ack the job is delivered again, and dead-lettered when that does not help.
            obs.job_failures_total.labels(job.kind).inc()
            logger.exception("A session failed unexpectedly.", extra=obs.log_fields(meeting=job.meeting_id))
        except asyncio.CancelledError:
            await _cancel(running)
            with contextlib.suppress(BrokerError):
                await held.release()
            raise
        finally:
            renewing.cancel()
            await _cancel(running)

    async def _renew(self, held: HeldJob) -> None:
        """Renew the lease until it is lost, also by not being renewed for as long as it lasts."""
        lease_s = self._options.lease_s
        renewed = time.monotonic()
        while time.monotonic() - renewed < lease_s:
            await asyncio.sleep(lease_s / 3)
            with contextlib.suppress(BrokerError):
                if not await held.renew():
                    return
                renewed = time.monotonic()

    async def _run(self, held: HeldJob) -> None:
        """Do the job. Raises AudioGapError, _NoAnswerError; JobError when the gateway speaks another version."""
        job, sink = held.job, RemoteSink(self._link, held.job)
        await sink.send_hello(
            Hello(
                worker=self._options.name,
                job=job.kind,
                offer=job.offer,
                lease=held.lease,
                engines=dict(self._options.engines),
            )
        )
        async with aclosing(sink.frames()) as frames:
            try:
                async with asyncio.timeout(GREETING_SECONDS):
                    begin = sink.read_begin(await anext(frames))
            except TimeoutError:
                raise _NoAnswerError from None
            try:
                await self._do(begin, sink, frames)
            except JobError:
                raise
            except MeetingAssistantError as error:
                obs.job_failures_total.labels(job.kind).inc()
                logger.exception(
                    "A session failed.", extra=obs.log_fields(meeting=job.meeting_id, code=error.code)
                )
                await sink.send(Failed.of(error))
            else:
                await sink.send(Done())

    async def _do(self, begin: Begin, sink: RemoteSink, frames: AsyncIterator[AudioFrame]) -> None:
        audio = sink.follow(frames)
        if sink.job.kind is JobKind.IDENTIFY_SPEAKERS:
            await self._diarize(sink, audio)
        elif begin.session is None:
            raise version_mismatch("The gateway did not say where the session begins.")
        else:
            await process_audio_session(begin.session, audio, sink, self._tools)

    async def _diarize(self, sink: RemoteSink, audio: AsyncIterator[bytes]) -> None:
        chunks = [pcm async for pcm in audio]
        diarization = self._tools.diarization
        samples = await asyncio.to_thread(lambda: pcm_to_samples(b"".join(chunks), 1))
        turns = await diarization.recordings.diarize_recording(
            sink.job.meeting_id, samples, sink.send_progress
        )
        for part in split_turns(turns):
            await sink.send(part)


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
