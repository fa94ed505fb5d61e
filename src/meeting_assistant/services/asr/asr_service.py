"""The owner of the speech engine and of its threads; nothing else calls the engine.

Sessions request decodes with tickets. Whenever a thread of the engine is free, the dispatcher takes the most urgent
batch, reads its audio at that moment and returns the results through futures. The time of every batch is measured: it
determines how often partials are renewed and how many meetings fit.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np

from meeting_assistant import observability as obs
from meeting_assistant.domain.audio import SAMPLE_RATE_HZ, Waveform
from meeting_assistant.domain.errors import EngineError, MeetingAssistantError
from meeting_assistant.domain.ports import AsrEngine, AsrRequest, AsrResult, DecodeKind, EngineInfo
from meeting_assistant.net.blocking import run_blocking
from meeting_assistant.services.asr import capacity
from meeting_assistant.services.asr.batching import (
    COALESCED,
    Batch,
    BatchRules,
    Shape,
    Ticket,
    TicketKind,
    TicketQueue,
)
from meeting_assistant.services.asr.cost_model import CostModel
from meeting_assistant.services.asr.degradation import (
    PARTIAL_POLICIES,
    DegradationLadder,
    Level,
    PartialPolicy,
)

Bound = tuple[Ticket, AsrRequest]

logger = logging.getLogger(__name__)

TARGET_SECONDS = {
    TicketKind.FINAL: 1.0,
    TicketKind.COMMIT: 0.5,
    TicketKind.PARTIAL: 0.5,
    TicketKind.FILE: 30.0,
}
"""Target latency by kind; the deadline of a ticket is the time of its request plus this."""
LIVE_KINDS = (TicketKind.FINAL, TicketKind.COMMIT, TicketKind.PARTIAL)
COST_BUCKETS_S = (1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 30.0)
"""Length buckets of the cost model for an engine that does not pad."""
SHORT_PROMPT_CHARS = 150
"""Prompts of a batch are padded to one length: long ones get a batch of their own."""
QUIET_SECONDS = 10.0
"""After so long without a live request, files may use all threads of the engine."""
WATCH_SECONDS = 0.25
"""How often the load is checked while no batch ends."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """A result and what it cost."""

    result: AsrResult
    seconds: float
    """Time on the engine, for the whole batch."""


class AsrService:
    """Asynchronous face of a blocking engine; lives on one event loop."""

    def __init__(
        self,
        engine: AsrEngine,
        *,
        batch_size: int = 8,
        ladder: DegradationLadder | None = None,
        probe: Callable[[], Waveform] | None = None,
    ) -> None:
        """`probe`: returns speech on which the engine is measured at the start."""
        self._engine = engine
        self._probe = probe
        self._max_concurrency = max(1, engine.info.max_concurrency)
        self._rules = BatchRules(
            shape_of=partial(shape_of, engine.info),
            max_windows=max(1, min(batch_size, engine.info.max_batch)),
        )
        self._threads = ThreadPoolExecutor(max_workers=self._max_concurrency, thread_name_prefix="asr-engine")
        self._queue = TicketQueue()
        self._answers: dict[Ticket, asyncio.Future[Decoded | None]] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._in_flight: dict[int, tuple[float, Batch]] = {}
        self._work = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._live_requested_at = float("-inf")
        self._costs = CostModel()
        self._ladder = ladder or DegradationLadder()
        self._level_listeners: list[Callable[[Level], None]] = []

    @property
    def info(self) -> EngineInfo:
        """Description of the engine."""
        return self._engine.info

    @property
    def level(self) -> Level:
        """Current level of degradation."""
        return self._ladder.level

    @property
    def partial_policy(self) -> PartialPolicy:
        """The policy for partials at the current level."""
        return PARTIAL_POLICIES[self._ladder.level]

    def on_level(self, listener: Callable[[Level], None]) -> None:
        """Register a callback for changes of the level, called on the event loop."""
        self._level_listeners.append(listener)

    async def start(self) -> None:
        """Load and measure the engine, and start to dispatch. Raises EngineError."""
        await run_blocking(self._threads, self._engine.load)
        if self._probe is not None:
            await self._measure(await run_blocking(self._threads, self._probe))
        self._tasks = [
            asyncio.create_task(self._dispatch(), name="asr-dispatcher"),
            asyncio.create_task(self._watch_load(), name="asr-load"),
        ]

    async def decode(
        self, kind: TicketKind, session: str, bind: Callable[[], AsrRequest | None]
    ) -> Decoded | None:
        """Request a decode and wait for its result.

        Returns None when a newer ticket of the session replaced it, when it was cancelled, or when `bind` returned
        None. Raises EngineError when the engine failed on this window.
        """
        requested_at = time.monotonic()
        ticket = Ticket(session, kind, requested_at + TARGET_SECONDS[kind], bind)
        answer: asyncio.Future[Decoded | None] = asyncio.get_running_loop().create_future()
        self._answers[ticket] = answer
        if kind in LIVE_KINDS:
            self._live_requested_at = requested_at
        replaced = self._queue.put(ticket)
        if replaced is not None:
            obs.tickets_coalesced_total.inc()
            self._resolve(replaced, None)
        self._work.set()
        decoded = await answer
        if decoded is not None:
            obs.asr_latency_seconds.labels(self.info.name, kind.name.lower()).observe(
                time.monotonic() - requested_at
            )
        return decoded

    def is_decoding(self, session: str) -> bool:
        """Return True while a window of the session waits or is decoded."""
        return any(ticket.session == session for ticket in self._answers)

    def cancel(self, session: str) -> None:
        """Cancel a session's partials; finals stay."""
        for ticket in self._queue.cancel(session, COALESCED):
            self._resolve(ticket, None)

    async def close_session(self, session: str) -> None:
        """Release what the engine keeps for the session, after its running decodes."""
        while any(
            ticket.session == session for _, batch in self._in_flight.values() for ticket, _ in batch.items
        ):
            await asyncio.wait(set(self._running), return_when=asyncio.FIRST_COMPLETED)
        await run_blocking(self._threads, self._engine.close_session, session)

    async def close(self) -> None:
        """Stop dispatching, fail what waits with EngineError and close the engine; idempotent."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, *self._running, return_exceptions=True)
        self._tasks = []
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(EngineError("The speech engine was closed.", "Start the server again."))
        self._answers.clear()
        await asyncio.to_thread(self._close_engine)

    def _close_engine(self) -> None:
        # On its own thread like every call; the executor may already be gone on a second close.
        try:
            self._threads.submit(self._engine.close).result()
        except RuntimeError:
            return
        self._threads.shutdown()

    # --- load and capacity

    def capacity(
        self, *, live: int, partial_interval_s: float, max_meetings: int | None
    ) -> capacity.Capacity:
        """Return how many meetings fit, from measured times."""
        return capacity.plan(
            self._window_cost,
            max_concurrency=self._max_concurrency,
            live=live,
            partial_interval_s=partial_interval_s,
            level=self.level,
            predicted_wait_s=self.predicted_wait_s(),
            max_meetings=max_meetings,
        )

    def predicted_wait_s(self) -> float:
        """Return the wait of a partial that is requested now: all live work before it, over all threads."""
        now, most = time.monotonic(), self._rules.max_windows
        backlog = 0.0
        for began, batch in self._in_flight.values():
            backlog += max(0.0, self._costs.predict(batch.key, len(batch.items)) - (now - began))
        for kind in LIVE_KINDS:
            full, rest = divmod(self._queue.waiting(kind), most)
            backlog += full * self._costs.predict(kind, most) + (
                self._costs.predict(kind, rest) if rest else 0.0
            )
        return backlog / self._max_concurrency

    def _window_cost(self, is_final: bool, seconds: float) -> float:
        shape = shape_of_length(self.info, is_final, seconds)
        most = self._rules.max_windows
        return self._costs.predict(shape.key, most) / most

    async def _measure(self, speech: Waveform) -> None:
        """Time a few decodes, so that the first meetings are admitted by measured times."""
        session, known = "measurement", self.info.languages
        language = "en" if not known or "en" in known else known[0]
        windows: list[tuple[DecodeKind, float]] = [("partial", 1.0), ("partial", 4.0), ("final", 4.0)]
        for kind, seconds in windows:
            samples = np.resize(speech, int(seconds * SAMPLE_RATE_HZ))
            request = AsrRequest(session, kind, samples, language=language)
            began = time.monotonic()
            try:
                await run_blocking(self._threads, self._engine.transcribe, [request])
            except Exception as error:  # noqa: BLE001 - the first real window raises it again, with its remedy
                logger.warning(
                    "Failed to measure the speech engine.",
                    extra=obs.log_fields(error=type(error).__name__),
                )
                break
            self._costs.observe(shape_of(self.info, request).key, 1, time.monotonic() - began)
        await self.close_session(session)

    async def _watch_load(self) -> None:
        while True:
            self._check_load()
            await asyncio.sleep(WATCH_SECONDS)

    def _check_load(self) -> None:
        if not self._ladder.observe(time.monotonic(), self.predicted_wait_s()):
            return
        level = self._ladder.level
        obs.degradation_level.set(level)
        logger.info("The degradation level changed.", extra=obs.log_fields(level=int(level)))
        for listener in self._level_listeners:
            listener(level)

    # --- batches

    async def _dispatch(self) -> None:
        while True:
            self._work.clear()
            while len(self._running) < self._max_concurrency:
                batch = self._queue.take(self._rules, may_take_files=self._may_take_files())
                for ticket in batch.stale:
                    self._resolve(ticket, None)
                if not batch.items:
                    break
                task = asyncio.create_task(self._run_batch(batch))
                self._in_flight[id(batch)] = (time.monotonic(), batch)
                self._running.add(task)
                task.add_done_callback(self._running.discard)
                task.add_done_callback(lambda _: self._work.set())
            await self._work.wait()

    def _may_take_files(self) -> bool:
        """Return False when a file would take the last thread while there is live speech."""
        if self._max_concurrency == 1 or time.monotonic() - self._live_requested_at > QUIET_SECONDS:
            return True
        return sum(batch.has_files for _, batch in self._in_flight.values()) < self._max_concurrency - 1

    async def _run_batch(self, batch: Batch) -> None:
        obs.batch_size.observe(len(batch.items))
        began = time.monotonic()
        try:
            await self._run(batch.items)
        finally:
            del self._in_flight[id(batch)]
        seconds, count = time.monotonic() - began, len(batch.items)
        self._costs.observe(batch.key, count, seconds)
        self._costs.observe(batch.items[0][0].kind, count, seconds)
        self._check_load()

    async def _run(self, bound: Sequence[Bound]) -> None:
        started = time.monotonic()
        try:
            results = await run_blocking(
                self._threads, self._engine.transcribe, [request for _, request in bound]
            )
        except Exception as error:  # noqa: BLE001 - an engine may raise anything; it must not stop the others
            await self._isolate(bound, error)
            return
        seconds = time.monotonic() - started
        for (ticket, _), result in zip(bound, results, strict=True):
            self._resolve(ticket, Decoded(result, seconds))

    async def _isolate(self, bound: Sequence[Bound], error: Exception) -> None:
        """Decode a failed batch in halves, until the window that fails is alone."""
        if len(bound) > 1:
            middle = len(bound) // 2
            for half in (bound[:middle], bound[middle:]):
                await self._run(half)
            return
        ticket, _ = bound[0]
        logger.warning(
            "The speech engine failed to decode a window.",
            extra=obs.log_fields(meeting=ticket.session, kind=ticket.kind.name, error=type(error).__name__),
        )
        self._fail(ticket, error)

    def _resolve(self, ticket: Ticket, decoded: Decoded | None) -> None:
        answer = self._answers.pop(ticket, None)
        if answer is not None and not answer.done():
            answer.set_result(decoded)

    def _fail(self, ticket: Ticket, error: Exception) -> None:
        answer = self._answers.pop(ticket, None)
        if answer is None or answer.done():
            return
        if isinstance(error, MeetingAssistantError):
            answer.set_exception(error)
            return
        failure = EngineError(
            f"The speech engine failed: {type(error).__name__}.",
            "The sound is stored; try the recording again or choose another ASR_ENGINE.",
        )
        failure.__cause__ = error
        answer.set_exception(failure)


def shape_of(info: EngineInfo, request: AsrRequest) -> Shape:
    """Return the shape of a window: only windows of equal key form a batch."""
    shape = shape_of_length(info, request.kind == "final", len(request.samples) / SAMPLE_RATE_HZ)
    if info.max_batch > 1 and request.hotwords:
        prompt = "short" if len(", ".join(request.hotwords)) <= SHORT_PROMPT_CHARS else "long"
        shape = Shape((shape.key, prompt), shape.padded_s)
    return Shape((shape.key, request.temperature), shape.padded_s) if request.temperature else shape


def shape_of_length(info: EngineInfo, is_final: bool, seconds: float) -> Shape:
    """Return the shape of a window of that length, with default options."""
    pads_to = info.final_buckets_s if is_final else info.partial_buckets_s
    bucket = next((b for b in pads_to or COST_BUCKETS_S if b >= seconds), info.max_window_s)
    return Shape((is_final, bucket), bucket if pads_to else seconds)
