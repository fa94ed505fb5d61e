"""Takes deliveries out of the outbox and performs them, again and again until they are done or given up.

At least once, under one id: an attempt is counted and leased before it is made, and what a dead process had in hand is
taken up as uncertain. Where the target can tell what it got already, that makes it exactly once. What became of a
delivery is told to the audit log afterwards, and again until the log has it.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from meeting_assistant import observability as obs
from meeting_assistant import tracing
from meeting_assistant.domain.errors import DeliveryError, MeetingAssistantError
from meeting_assistant.domain.ports import DeliveryStore, Integration
from meeting_assistant.domain.workflows import Delivery, DeliveryState, Receipt
from meeting_assistant.integrations.registry import described

logger = logging.getLogger(__name__)

WORKERS = 8


@dataclass(frozen=True, slots=True)
class Pacing:
    """How long to wait for what, in seconds."""

    first_pause_s: float = 5.0
    growth: float = 5.0
    longest_pause_s: float = 36_000.0
    attempts: int = 10
    """Then it is parked: with these pauses after about a day and a half."""
    lease_s: float = 180.0
    attempt_s: float = 120.0
    """One attempt takes no longer; less than the lease, so that nobody else takes it up meanwhile."""
    look_s: float = 30.0
    """At the latest then the outbox is looked at again: another process may have put something there."""

    def pause_s(self, attempts: int) -> float:
        """After so many attempts, with jitter: half of it is left to chance."""
        full = min(self.longest_pause_s, self.first_pause_s * self.growth ** (attempts - 1))
        return full * random.uniform(0.5, 1.0)


class Dispatcher:
    """One per process; several processes share an outbox."""

    def __init__(
        self,
        integrations: Mapping[str, Integration],
        deliveries: DeliveryStore,
        *,
        pacing: Pacing | None = None,
        on_terminal: Callable[[Delivery], Awaitable[None]] | None = None,
        now_ms: Callable[[], int] = lambda: int(time.time() * 1000),
    ) -> None:
        """`on_terminal` is told of what was done or parked, at least once; while it raises it is told again later."""
        self._integrations = integrations
        self._deliveries = deliveries
        self._pacing = pacing or Pacing()
        self._on_settled = on_terminal
        self._now_ms = now_ms
        self._busy: Counter[str] = Counter()
        self._running: set[asyncio.Task[None]] = set()
        self._news = asyncio.Event()
        self._telling = asyncio.Lock()

    def wake(self) -> None:
        """There is something to deliver."""
        self._news.set()

    async def run(self, *, is_single_process: bool) -> None:
        """Until cancelled. `is_single_process`: no other process delivers, so that whoever was delivering is dead."""
        has_leases_of_the_dead = is_single_process
        while True:
            self._news.clear()
            try:
                if has_leases_of_the_dead:
                    await self.end_leases()
                    has_leases_of_the_dead = False
                await self._tell_settled()
                await self.start_due()
                await self._report()
                pause_s = await self._until_next_s()
            except MeetingAssistantError:
                logger.exception("The outbox cannot be read; it is tried again soon.")
                pause_s = self._pacing.look_s
            try:
                async with asyncio.timeout(pause_s):
                    await self._news.wait()
            except TimeoutError:
                continue

    async def end_leases(self) -> None:
        """What was being delivered by a process that is dead waits again."""
        settle_ms = {
            name: int(described(name, one).dedup_delay_s * 1000) for name, one in self._integrations.items()
        }
        await self._deliveries.end_leases(self._now_ms(), settle_ms)

    async def start_due(self) -> int:
        """Begin with everything whose time has come and whose integration is free. Returns how many."""
        started = 0
        while len(self._running) < WORKERS:
            delivery = await self._deliveries.take_due(
                self._now_ms(), int(self._pacing.lease_s * 1000), self._not_available()
            )
            if delivery is None:
                break
            self._busy[delivery.integration] += 1
            task = asyncio.create_task(self._perform(delivery))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
            started += 1
        return started

    async def drain(self, grace_s: float) -> None:
        """Let what is on its way arrive; what takes longer is taken up by the next start."""
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=grace_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def _not_available(self) -> list[str]:
        """Integrations with enough to do. One that is not configured any more keeps its deliveries waiting."""
        return [
            name
            for name, count in self._busy.items()
            if name in self._integrations and count >= described(name, self._integrations[name]).parallel
        ]

    async def _until_next_s(self) -> float:
        due_ms = await self._deliveries.next_due_ms()
        if due_ms is None or due_ms <= self._now_ms():  # the latter waits for an integration that is busy
            return self._pacing.look_s
        return min(self._pacing.look_s, (due_ms - self._now_ms()) / 1000)

    async def _perform(self, delivery: Delivery) -> None:
        started = time.monotonic()
        outcome = "cut_short"
        try:
            settled = await self._observed_attempt(delivery)
            outcome = settled.state.value if settled.state is not DeliveryState.PENDING else "failed"
            is_to_note = self._on_settled is not None and settled.state is not DeliveryState.PENDING
            if not await self._deliveries.update(
                settled, unless=(DeliveryState.DONE,), is_to_note=is_to_note
            ):
                return  # its meeting was deleted meanwhile, or what it holds taken off the record
            await self._tell_settled()
        except MeetingAssistantError as error:
            logger.exception(
                "What came of a delivery could not be recorded.", extra=_fields(delivery, error.code)
            )
        finally:
            self._busy[delivery.integration] -= 1
            obs.deliveries_total.labels(delivery.integration, outcome).inc()
            obs.delivery_seconds.labels(delivery.integration).observe(time.monotonic() - started)
            self.wake()

    async def _observed_attempt(self, delivery: Delivery) -> Delivery:
        with (
            obs.about(delivery.meeting_id),
            tracing.span(
                "delivery",
                parent=tracing.traceparent_of(delivery.meeting_id),
                meeting=delivery.meeting_id,
                delivery=delivery.id,
                integration=delivery.integration,
                attempt=delivery.attempts,
            ) as span,
        ):
            settled = await self._attempt(delivery)
            span.set(outcome=settled.state.value)
            if settled.last_error is not None:
                span.end(failed=settled.state.value)
            return settled

    async def _tell_settled(self) -> None:
        """That it is to be told stands in the outbox: neither a crash nor a full disk loses it."""
        if self._on_settled is None:
            return
        async with self._telling:
            try:
                for settled in await self._deliveries.to_note():
                    await self._on_settled(settled)
                    await self._deliveries.noted(settled)
            except DeliveryError as error:
                logger.exception("The audit log cannot be written.", extra=obs.log_fields(code=error.code))

    async def _attempt(self, delivery: Delivery) -> Delivery:
        """The delivery as it is afterwards."""
        try:
            receipt = await self._deliver(delivery)
        except DeliveryError as error:
            return self._after_failure(delivery, error)
        except TimeoutError:
            failure = DeliveryError(
                "It took too long.",
                "It is tried again.",
                code="delivery_timeout",
                retryable=True,
                is_uncertain=True,
            )
            return self._after_failure(delivery, failure)
        except Exception as error:
            logger.exception("An integration failed.", extra=_fields(delivery, type(error).__name__))
            failure = DeliveryError(
                f"The integration failed ({type(error).__name__}).",
                "See the server's log, and please report it.",
                retryable=True,
                is_uncertain=True,
            )
            return self._after_failure(delivery, failure)
        logger.info("Delivered.", extra=_fields(delivery, None))
        return delivery.model_copy(
            update={
                "state": DeliveryState.DONE,
                "receipt": receipt,
                "last_error": None,
                # Where the target cannot tell, it may have it twice now.
                "is_uncertain": delivery.is_uncertain and not self._recognises(delivery.integration),
                "done_at_ms": self._now_ms(),
            }
        )

    async def _deliver(self, delivery: Delivery) -> Receipt:
        integration = self._integrations.get(delivery.integration)
        if integration is None:
            raise DeliveryError(
                f"{delivery.integration} is not configured any more.",
                "Configure it again and retry, or dismiss this.",
                code="delivery_missing",
            )
        async with asyncio.timeout(self._pacing.attempt_s):
            return await integration.deliver(delivery)

    def _after_failure(self, delivery: Delivery, error: DeliveryError) -> Delivery:
        integration = self._integrations.get(delivery.integration)
        about = described(delivery.integration, integration) if integration else None
        title = about.title if about else delivery.integration
        # Operators search their logs for "Slack notification failed".
        logger.warning("%s notification failed.", title, extra=_fields(delivery, error.code))
        message, may_pass = str(error), error.retryable
        is_told_apart = self._recognises(delivery.integration)
        if may_pass and error.is_uncertain and delivery.is_uncertain and not is_told_apart:
            may_pass = False
            message = f"{error.message} It may have arrived. Look there before you try again."
        is_over = not may_pass or delivery.attempts >= self._pacing.attempts
        is_uncertain = delivery.is_uncertain or error.is_uncertain
        dedup_delay_s = about.dedup_delay_s if about and is_uncertain else 0.0
        pause_s = max(self._pacing.pause_s(delivery.attempts), error.retry_after_s or 0.0, dedup_delay_s)
        return delivery.model_copy(
            update={
                "state": DeliveryState.PARKED if is_over else DeliveryState.PENDING,
                "is_uncertain": is_uncertain,
                "last_error": message,
                "next_at_ms": self._now_ms() + int(pause_s * 1000),
                "done_at_ms": self._now_ms() if is_over else None,
            }
        )

    def _recognises(self, name: str) -> bool:
        integration = self._integrations.get(name)
        return integration is not None and described(name, integration).is_exactly_once

    async def _report(self) -> None:
        for state, count in (await self._deliveries.pending()).items():
            obs.outbox_pending.labels(state.value).set(count)


def _fields(delivery: Delivery, code: str | None) -> Mapping[str, object]:
    return obs.log_fields(
        meeting=delivery.meeting_id,
        delivery=delivery.id,
        integration=delivery.integration,
        attempt=delivery.attempts,
        code=code,
    )
