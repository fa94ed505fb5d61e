"""`Dispatcher` takes deliveries out of the outbox and attempts them until they are done or parked.

A delivery arrives at least once, under one id: an attempt is counted and leased before it is made, and one that a dead
process had begun is made again as uncertain. Where the target recognises what it has already, it arrives exactly once.
The result of a delivery is written to the audit log afterwards, and again until the log has it.
"""

from __future__ import annotations

import asyncio
import logging
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
from meeting_assistant.net.backoff import Backoff

logger = logging.getLogger(__name__)

WORKERS = 8
_OWN_BACKOFF = Backoff(first_s=5.0, factor=5.0, longest_s=36_000.0, jitter=0.5)


@dataclass(frozen=True, slots=True)
class DispatchPolicy:
    """Number, pauses and durations of the attempts at a delivery."""

    backoff: Backoff = _OWN_BACKOFF
    max_attempts: int = 10
    """Then a delivery is parked: with these pauses after about a day and a half."""
    lease_s: float = 180.0
    attempt_timeout_s: float = 120.0
    """Less than the lease, so that no other process makes the same attempt meanwhile."""
    poll_s: float = 30.0
    """The longest time between two looks at the outbox, to which another process may add."""


class Dispatcher:
    """Delivers for one process; several processes share an outbox."""

    def __init__(
        self,
        integrations: Mapping[str, Integration],
        deliveries: DeliveryStore,
        *,
        policy: DispatchPolicy | None = None,
        on_terminal: Callable[[Delivery], Awaitable[None]] | None = None,
        now_ms: Callable[[], int] = lambda: int(time.time() * 1000),
    ) -> None:
        """`on_terminal` is awaited for each delivery that is done or parked, and again while it raises."""
        self._integrations = integrations
        self._deliveries = deliveries
        self._policy = policy or DispatchPolicy()
        self._on_terminal = on_terminal
        self._now_ms = now_ms
        self._busy: Counter[str] = Counter()
        self._running: set[asyncio.Task[None]] = set()
        self._wake_up = asyncio.Event()
        self._notifying = asyncio.Lock()

    def wake(self) -> None:
        """Look at the outbox now: something was added."""
        self._wake_up.set()

    async def run(self, *, is_single_process: bool) -> None:
        """Deliver until cancelled. `is_single_process`: no other process delivers, so leases at the start are stale."""
        has_stale_leases = is_single_process
        while True:
            self._wake_up.clear()
            try:
                if has_stale_leases:
                    await self.end_leases()
                    has_stale_leases = False
                await self._notify_terminal()
                await self.start_due()
                await self._report()
                pause_s = await self._until_next_s()
            except MeetingAssistantError:
                logger.exception("Failed to read the outbox; retrying.")
                pause_s = self._policy.poll_s
            try:
                async with asyncio.timeout(pause_s):
                    await self._wake_up.wait()
            except TimeoutError:
                continue

    async def end_leases(self) -> None:
        """Make due again what a dead process was delivering."""
        dedup_delays_ms = {
            name: int(described(name, one).dedup_delay_s * 1000) for name, one in self._integrations.items()
        }
        await self._deliveries.end_leases(self._now_ms(), dedup_delays_ms)

    async def start_due(self) -> int:
        """Begin every delivery that is due and whose integration is free; return how many were begun."""
        started = 0
        while len(self._running) < WORKERS:
            delivery = await self._deliveries.take_due(
                self._now_ms(), int(self._policy.lease_s * 1000), self._busy_integrations()
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
        """Wait for running attempts; those that take longer are cancelled, and made again after the next start."""
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=grace_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def _busy_integrations(self) -> list[str]:
        """Return the integrations that run as many attempts as they may."""
        return [
            name
            for name, count in self._busy.items()
            if name in self._integrations and count >= described(name, self._integrations[name]).parallel
        ]

    async def _until_next_s(self) -> float:
        due_ms = await self._deliveries.next_due_ms()
        if due_ms is None or due_ms <= self._now_ms():  # the latter waits for an integration that is busy
            return self._policy.poll_s
        return min(self._policy.poll_s, (due_ms - self._now_ms()) / 1000)

    async def _perform(self, delivery: Delivery) -> None:
        started = time.monotonic()
        outcome = "cut_short"
        try:
            updated = await self._observed_attempt(delivery)
            is_terminal = updated.state is not DeliveryState.PENDING
            outcome = updated.state.value if is_terminal else "failed"
            needs_note = self._on_terminal is not None and is_terminal
            if not await self._deliveries.update(
                updated, unless=(DeliveryState.DONE,), needs_note=needs_note
            ):
                return  # its meeting was deleted meanwhile, or what it holds taken off the record
            await self._notify_terminal()
        except MeetingAssistantError as error:
            logger.exception("Failed to store the delivery result.", extra=_fields(delivery, error.code))
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
            updated = await self._attempt(delivery)
            span.set(outcome=updated.state.value)
            if updated.last_error is not None:
                span.end(failed=updated.state.value)
            return updated

    async def _notify_terminal(self) -> None:
        """Report finished deliveries. The outbox holds which are left, so neither a crash nor a full disk loses one."""
        if self._on_terminal is None:
            return
        async with self._notifying:
            try:
                for finished in await self._deliveries.to_note():
                    await self._on_terminal(finished)
                    await self._deliveries.noted(finished)
            except DeliveryError as error:
                logger.exception("Failed to write the audit log.", extra=obs.log_fields(code=error.code))

    async def _attempt(self, delivery: Delivery) -> Delivery:
        """Return the delivery as it is after one attempt."""
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
        async with asyncio.timeout(self._policy.attempt_timeout_s):
            return await integration.deliver(delivery)

    def _after_failure(self, delivery: Delivery, error: DeliveryError) -> Delivery:
        integration = self._integrations.get(delivery.integration)
        about = described(delivery.integration, integration) if integration else None
        title = about.title if about else delivery.integration
        # Operators search their logs for "Slack notification failed".
        logger.warning("%s notification failed.", title, extra=_fields(delivery, error.code))
        message, may_pass = str(error), error.retryable
        is_deduplicated = self._recognises(delivery.integration)
        if may_pass and error.is_uncertain and delivery.is_uncertain and not is_deduplicated:
            may_pass = False
            message = f"{error.message} It may have arrived. Look there before you try again."
        is_over = not may_pass or delivery.attempts >= self._policy.max_attempts
        is_uncertain = delivery.is_uncertain or error.is_uncertain
        dedup_delay_s = about.dedup_delay_s if about and is_uncertain else 0.0
        pause_s = max(
            self._policy.backoff.pause_s(delivery.attempts), error.retry_after_s or 0.0, dedup_delay_s
        )
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
