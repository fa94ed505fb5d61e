"""A worker of a fleet: takes sessions by its free slots, hears them with the same code as anywhere, tells the
gateway."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from meeting_assistant import observability as obs
from meeting_assistant import tracing
from meeting_assistant.domain.audio import pcm_to_samples
from meeting_assistant.domain.errors import BrokerError, EngineError, MeetingAssistantError
from meeting_assistant.domain.events import PartialTranscript
from meeting_assistant.domain.jobs import InferenceJob, JobKind
from meeting_assistant.domain.ports import AudioPiece, EventKind, FleetEvent, HeldJob, WorkerLink, WorkerState
from meeting_assistant.domain.transcript import Gap, Utterance
from meeting_assistant.services.fleet.remote_diarization import turns_to_wire
from meeting_assistant.services.fleet.session_wire import commit_point_to_wire, spec_from_wire
from meeting_assistant.services.transcription.audio_session import process_audio_session
from meeting_assistant.services.transcription.session_types import CommitPoint, SpeechServices

logger = logging.getLogger(__name__)

TAKE_SECONDS = 0.2
RETRY_SECONDS = 0.2
ANNOUNCE_SECONDS = 1.0
FRESH_SECONDS = 1.2
"""Less than a session's patience (`SessionSpec.idle_timeout_s`), more than twice the pace of the gateway's word."""
GREETING_SECONDS = 15.0
"""In which a gateway answers a worker that took its meeting."""
COMMIT_SECONDS = 60.0
"""Longer a worker does not wait for a gateway to commit its last words."""


class AudioGapError(Exception):
    """Redis forgot some of the sound: whoever takes the meeting next is given it again."""


class Worker:
    """Takes work until it is drained."""

    def __init__(
        self,
        link: WorkerLink,
        tools: SpeechServices,
        *,
        name: str,
        slots: int,
        lease_s: float,
        engines: Mapping[str, str],
    ) -> None:
        self._link = link
        self._tools = tools
        self._name = name
        self._slots = slots
        self._lease_s = lease_s
        self._engines = dict(engines)
        self._sessions: set[asyncio.Task[None]] = set()
        self._hearing_out: asyncio.Task[None] | None = None
        self._is_draining = asyncio.Event()

    async def run(self) -> None:
        """Until `drain` was asked for and what runs is over or handed on."""
        announcing = asyncio.create_task(self._announce(), name="announce")
        try:
            await self._take_work()
            for session in self._sessions:
                session.cancel()
            await asyncio.gather(*self._sessions, return_exceptions=True)
        finally:
            announcing.cancel()
            await asyncio.gather(announcing, return_exceptions=True)
            await self._link.close()

    def drain(self) -> None:
        """Take nothing more; sessions are handed to other workers, who begin where words are committed."""
        self._is_draining.set()

    async def _take_work(self) -> None:
        draining = asyncio.create_task(self._is_draining.wait())
        while not self._is_draining.is_set():
            if len(self._sessions) >= self._slots:
                await asyncio.wait({draining, *self._sessions}, return_when=asyncio.FIRST_COMPLETED)
                continue
            try:
                held = await self._link.take(TAKE_SECONDS, self._kinds)
            except BrokerError as error:
                logger.warning("Redis cannot be reached.", extra=obs.log_fields(code=error.code))
                await asyncio.wait({draining}, timeout=RETRY_SECONDS)
                continue
            if held is not None:
                session = asyncio.create_task(self._observed(held), name=f"session-{held.job.meeting_id}")
                self._sessions.add(session)
                session.add_done_callback(self._sessions.discard)
                if held.job.kind is JobKind.IDENTIFY_SPEAKERS:
                    self._hearing_out = session
        draining.cancel()

    @property
    def _kinds(self) -> set[JobKind]:
        """What this worker can do now. Recordings are heard out one at a time: each is some hundred megabytes, and
        another worker may be free."""
        kinds = {JobKind.LIVE_SESSION, JobKind.TRANSCRIBE_FILE}
        is_free = self._hearing_out is None or self._hearing_out.done()
        if self._tools.diarization.has_offline_diarizer and is_free:
            kinds.add(JobKind.IDENTIFY_SPEAKERS)
        return kinds

    async def _announce(self) -> None:
        diarization = self._tools.diarization
        while True:
            obs.worker_slots.labels("taken").set(len(self._sessions))
            obs.worker_slots.labels("free").set(max(0, self._slots - len(self._sessions)))
            with contextlib.suppress(BrokerError):
                await self._link.announce(
                    WorkerState(
                        self._name,
                        self._slots,
                        len(self._sessions),
                        {**self._engines, "diarization": diarization.name},
                        hears_out=diarization.has_offline_diarizer,
                        max_speakers=diarization.max_speakers,
                    )
                )
            await asyncio.sleep(ANNOUNCE_SECONDS)

    # --- one session

    async def _observed(self, held: HeldJob) -> None:
        job = held.job
        with (
            obs.about(job.meeting_id),
            tracing.span(
                "session.worker",
                parent=job.traceparent,
                meeting=job.meeting_id,
                kind=job.kind,
                worker=self._name,
            ),
        ):
            await self._hold(held)

    async def _hold(self, held: HeldJob) -> None:
        """Hear the meeting while the lease is renewed; whoever loses the lease stops at once."""
        job = held.job
        obs.jobs_total.labels(job.kind).inc()
        began = time.monotonic()
        hearing = asyncio.create_task(self._hear(held))
        keeping = asyncio.create_task(self._keep(held))
        try:
            await asyncio.wait({hearing, keeping}, return_when=asyncio.FIRST_COMPLETED)
            if hearing.done():
                hearing.result()
                # The gateway takes the job off the list when everything is committed; should it not have come that far,
                # whoever takes the job next begins where it came to.
                await asyncio.wait({keeping}, timeout=COMMIT_SECONDS)
                with contextlib.suppress(BrokerError):
                    await held.done()
            else:
                obs.fleet_leases_lost_total.inc()
                logger.warning(
                    "Another worker has this meeting now.", extra=obs.log_fields(meeting=job.meeting_id)
                )
        except AudioGapError:
            with contextlib.suppress(BrokerError):
                await held.give_back()
        except Exception:
            # Not acknowledged: it is delivered again, and put aside when that does not help.
            obs.job_failures_total.labels(job.kind).inc()
            logger.exception("A session failed unexpectedly.", extra=obs.log_fields(meeting=job.meeting_id))
        except asyncio.CancelledError:
            await self._stop(hearing)
            with contextlib.suppress(BrokerError):
                await held.give_back()
            raise
        finally:
            keeping.cancel()
            await self._stop(hearing)
            obs.job_duration_seconds.labels(job.kind).observe(time.monotonic() - began)

    @staticmethod
    async def _stop(hearing: asyncio.Task[None]) -> None:
        hearing.cancel()
        await asyncio.gather(hearing, return_exceptions=True)

    async def _keep(self, held: HeldJob) -> None:
        """Returns when the lease is lost, also when it could not be renewed for as long as it lasts."""
        renewed = time.monotonic()
        while time.monotonic() - renewed < self._lease_s:
            await asyncio.sleep(self._lease_s / 3)
            with contextlib.suppress(BrokerError):
                if not await held.keep():
                    return
                renewed = time.monotonic()

    async def _hear(self, held: HeldJob) -> None:
        job, sink = held.job, RemoteSink(self._link, held.job)
        hello = {"worker": self._name, "job": job.kind, "engines": self._engines}
        await sink.tell("hello", hello, is_first=True)
        pieces = self._link.sound(sink.attempt)
        try:
            async with asyncio.timeout(GREETING_SECONDS):
                first = await anext(pieces)
        except TimeoutError:
            return  # nobody waits for it any more: a gateway that does offers it again
        if first.spec is None:
            raise EngineError(
                "The gateway did not say where to begin.", "Run the same version on all machines."
            )
        try:
            if job.kind == JobKind.IDENTIFY_SPEAKERS:
                await self._identify_speakers(sink, sink.follow(pieces))
            else:
                spec = spec_from_wire(first.spec)
                await process_audio_session(spec, sink.follow(pieces), sink, self._tools)
        except MeetingAssistantError as error:
            obs.job_failures_total.labels(job.kind).inc()
            logger.exception(
                "A session failed.", extra=obs.log_fields(meeting=job.meeting_id, code=error.code)
            )
            await sink.tell("failed", {"code": error.code, "message": error.message, "remedy": error.remedy})
        else:
            await sink.tell("done", {})

    async def _identify_speakers(self, sink: RemoteSink, sound: AsyncIterator[bytes]) -> None:
        pieces = [pcm async for pcm in sound]
        diarization = self._tools.diarization
        samples = await diarization.compute(lambda: pcm_to_samples(b"".join(pieces), 1))
        turns = await diarization.diarize_recording(sink.job.meeting_id, samples, sink.show_progress)
        for body in turns_to_wire(turns):
            await sink.tell("turns", body)


class RemoteSink:
    """Where a session's results go from here: back to the gateway. Implements `SessionSink`."""

    def __init__(self, link: WorkerLink, job: InferenceJob) -> None:
        self._link = link
        self.job = job
        self.attempt = secrets.token_hex(8)
        self._number = 0
        self._order = asyncio.Lock()
        self._newest_shown: tuple[EventKind, dict[str, Any]] | None = None
        self._showing: asyncio.Task[None] | None = None
        self.has_viewers = False
        self._is_attended = True
        self._newest = time.monotonic()
        self._received_sample = 0

    @property
    def has_client(self) -> bool:
        """By the gateway, which says so several times a second. While nothing comes from it nobody can know: the sound
        may only be held up, and nobody has stopped speaking."""
        return self._is_attended and time.monotonic() - self._newest < FRESH_SECONDS

    def received_sample(self) -> int:
        """By the gateway, when the newest sound came."""
        return self._received_sample

    async def follow(self, pieces: AsyncIterator[AudioPiece]) -> AsyncIterator[bytes]:
        """The sound; what comes with it is remembered. Raises AudioGapError when some of it is missing."""
        heard = 0
        async for piece in pieces:
            self.has_viewers, self._is_attended = piece.has_viewers, piece.has_client
            self._newest = time.monotonic()
            self._received_sample = piece.received_sample
            if piece.offset > heard:
                raise AudioGapError
            # It may be handed over twice by somebody who could not know that it had arrived.
            new = piece.pcm[heard - piece.offset :]
            if new:
                heard += len(new)
                yield new
            if piece.is_end:
                return
        raise AudioGapError

    async def commit_utterances(
        self, utterances: Sequence[Utterance], commit_point: CommitPoint, *, takes_back: bool
    ) -> None:
        """The gateway commits them, in this order; what it has not committed is heard again by whoever takes over."""
        said = [utterance.model_dump(mode="json") for utterance in utterances]
        body = {"utterances": said, "reached": commit_point_to_wire(commit_point), "takes_back": takes_back}
        await self.tell("words", body)

    async def commit_silence(self, commit_point: CommitPoint) -> None:
        """As words."""
        await self.tell("silence", {"reached": commit_point_to_wire(commit_point)})

    async def record_gap(self, gap: Gap, commit_point: CommitPoint) -> None:
        """As words."""
        await self.tell("gap", {"gap": gap.model_dump(), "reached": commit_point_to_wire(commit_point)})

    async def relabel(self, speakers: Mapping[int, str | None]) -> None:
        """As words."""
        await self.tell("relabel", {"speakers": {str(number): label for number, label in speakers.items()}})

    async def name_speaker(self, label: str, name: str) -> None:
        """As words."""
        await self.tell("name", {"label": label, "name": name})

    def send_partial(self, partial: PartialTranscript) -> None:
        """The newest one goes when the one before has gone."""
        self._show("partial", partial.model_dump(mode="json", exclude={"type"}))

    def show_progress(self, share: float) -> None:
        """As captions."""
        self._show("progress", {"share": share})

    def _show(self, kind: EventKind, body: dict[str, Any]) -> None:
        self._newest_shown = kind, body
        if self._showing is None or self._showing.done():
            self._showing = asyncio.create_task(self._send_shown())

    async def _send_shown(self) -> None:
        while self._newest_shown is not None:
            (kind, body), self._newest_shown = self._newest_shown, None
            with contextlib.suppress(BrokerError):
                async with self._order:
                    await self._send(0, kind, body)

    async def tell(self, kind: EventKind, body: dict[str, Any], *, is_first: bool = False) -> None:
        """In order, and until it is taken."""
        async with self._order:
            number = 0 if is_first else self._number + 1
            while True:
                try:
                    await self._send(number, kind, body)
                except BrokerError:
                    await asyncio.sleep(RETRY_SECONDS)
                else:
                    self._number = number
                    return

    async def _send(self, number: int, kind: EventKind, body: dict[str, Any]) -> None:
        await self._link.tell(self.job, FleetEvent(self.job.meeting_id, self.attempt, number, kind, body))
