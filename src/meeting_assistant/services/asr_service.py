"""The one owner of the speech engine and of its thread.

Sessions ask with tickets; the dispatcher takes the most urgent batch whenever the engine is free, reads the
sound at that moment and hands results back through futures. Nothing else ever calls the engine.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from meeting_assistant import observability as obs
from meeting_assistant.domain.errors import EngineError, MeetingAssistantError
from meeting_assistant.domain.ports import AsrEngine, AsrRequest, AsrResult, EngineInfo
from meeting_assistant.services.batching import COALESCED, Ticket, TicketKind, TicketQueue

R = TypeVar("R")

logger = logging.getLogger(__name__)

TARGET_SECONDS = {
    TicketKind.FINAL: 1.0,
    TicketKind.COMMIT: 1.0,
    TicketKind.PARTIAL: 0.5,
    TicketKind.FILE: 30.0,
}
"""How soon an answer is wanted; the deadline of a ticket is its time of asking plus this."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """An answer and what it cost."""

    result: AsrResult
    seconds: float
    """On the engine thread, for the whole batch."""


class AsrService:
    """Asynchronous face of a blocking engine; lives on one event loop."""

    def __init__(self, engine: AsrEngine, *, batch_size: int = 8) -> None:
        self._engine = engine
        self._batch_limit = max(1, min(batch_size, engine.info.max_batch))
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="asr-engine")
        self._queue = TicketQueue()
        self._answers: dict[Ticket, asyncio.Future[Decoded | None]] = {}
        self._work = asyncio.Event()
        self._dispatcher: asyncio.Task[None] | None = None

    @property
    def info(self) -> EngineInfo:
        """Of the engine behind it."""
        return self._engine.info

    @property
    def is_ready(self) -> bool:
        """True from the end of `start` to `close`."""
        return self._dispatcher is not None

    async def start(self) -> None:
        """Load the engine and begin to dispatch. Raises EngineError."""
        await self._on_thread(self._engine.load)
        self._dispatcher = asyncio.create_task(self._dispatch(), name="asr-dispatcher")

    async def decode(
        self, kind: TicketKind, session: str, bind: Callable[[], AsrRequest | None]
    ) -> Decoded | None:
        """Ask for a decode and wait for it.

        None when a newer ticket of the session took its place, when it was cancelled, or when `bind` found nothing
        to decode. Raises EngineError when the engine failed on this very window.
        """
        asked = time.monotonic()
        ticket = Ticket(session, kind, asked + TARGET_SECONDS[kind], bind)
        answer: asyncio.Future[Decoded | None] = asyncio.get_running_loop().create_future()
        self._answers[ticket] = answer
        replaced = self._queue.put(ticket)
        if replaced is not None:
            obs.tickets_coalesced_total.inc()
            self._resolve(replaced, None)
        self._work.set()
        decoded = await answer
        if decoded is not None:
            obs.asr_latency_seconds.labels(self.info.name, kind.name.lower()).observe(
                time.monotonic() - asked
            )
        return decoded

    def cancel(self, session: str) -> None:
        """Take back a session's partials; finals stay."""
        for ticket in self._queue.cancel(session, COALESCED):
            self._resolve(ticket, None)

    async def close_session(self, session: str) -> None:
        """Forget the session's voices, after everything it asked for."""
        await self._on_thread(self._engine.close_session, session)

    async def close(self) -> None:
        """Stop dispatching, end what waits with EngineError, give the engine back; idempotent."""
        if self._dispatcher is not None:
            self._dispatcher.cancel()
            await asyncio.gather(self._dispatcher, return_exceptions=True)
            self._dispatcher = None
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(EngineError("The speech engine was closed.", "Start the server again."))
        self._answers.clear()
        await asyncio.to_thread(self._close_engine)

    def _close_engine(self) -> None:
        # On its own thread like every call; the executor may already be gone on a second close.
        try:
            self._thread.submit(self._engine.close).result()
        except RuntimeError:
            return
        self._thread.shutdown()

    async def _dispatch(self) -> None:
        while True:
            batch = self._queue.take(self._batch_limit)
            if not batch:
                self._work.clear()
                await self._work.wait()
                continue
            await self._decode_batch(batch)

    async def _decode_batch(self, batch: list[Ticket]) -> None:
        bound: list[tuple[Ticket, AsrRequest]] = []
        for ticket in batch:
            request = ticket.bind()
            if request is None:
                self._resolve(ticket, None)
            else:
                bound.append((ticket, request))
        if bound:
            await self._run(bound)

    async def _run(self, bound: list[tuple[Ticket, AsrRequest]]) -> None:
        obs.batch_size.observe(len(bound))
        started = time.monotonic()
        try:
            results = await self._on_thread(self._engine.transcribe, [request for _, request in bound])
        except Exception as error:  # noqa: BLE001 - an engine may raise anything; it must not stop the others
            await self._isolate(bound, error)
            return
        seconds = time.monotonic() - started
        for (ticket, _), result in zip(bound, results, strict=True):
            self._resolve(ticket, Decoded(result, seconds))

    async def _isolate(self, bound: list[tuple[Ticket, AsrRequest]], error: Exception) -> None:
        """A batch failed: halve it, until the window that is to blame stands alone."""
        if len(bound) > 1:
            middle = len(bound) // 2
            for half in (bound[:middle], bound[middle:]):
                await self._run(half)
            return
        ticket, _ = bound[0]
        logger.warning(
            "The speech engine failed on a window.",
            extra=obs.log_fields(session=ticket.session, kind=ticket.kind.name, error=type(error).__name__),
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

    async def _on_thread(self, function: Callable[..., R], *args: object) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *args)
