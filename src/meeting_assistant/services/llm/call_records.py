"""Records of which provider saw which meeting: stored before anything is sent, completed with the result afterwards."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import uuid_utils

from meeting_assistant import tracing
from meeting_assistant.domain.errors import LlmError, StorageError
from meeting_assistant.domain.llm_calls import LlmCall
from meeting_assistant.domain.ports import LlmCallLog, LlmProvider, LlmReply, LlmRequest
from meeting_assistant.observability import log_fields

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Attempt:
    """The record of one question to one provider: which provider saw the text, and with what outcome."""

    provider: str
    outcome: str
    """`ok` or the error's code."""
    seconds: float


AttemptObserver = Callable[[Attempt], None]
KeepsLocal = Callable[[Sequence[str]], Awaitable[bool]]
"""True when one of these meetings must not leave the operator's machines. Raises StorageError."""


class CallRecords:
    """Records every question. One that cannot be recorded is not sent."""

    def __init__(
        self,
        calls: LlmCallLog | None,
        keeps_local: KeepsLocal | None,
        optional: frozenset[str],
        on_attempt: AttemptObserver,
    ) -> None:
        self._calls = calls
        self._keeps_local = keeps_local
        self._optional = optional
        self._on_attempt = on_attempt

    @asynccontextmanager
    async def record(self, provider: LlmProvider, request: LlmRequest) -> AsyncIterator[list[LlmReply]]:
        """Record the question that is asked inside of the `with`; the replies are appended to the list that it gives.

        Raises LlmError before anything is sent.
        """
        began = time.monotonic()
        replies: list[LlmReply] = []
        call = LlmCall(
            id=str(uuid_utils.uuid7()),
            meeting_ids=request.meeting_ids,
            purpose=request.purpose,
            provider=provider.name,
            is_local=provider.is_local,
            at_ms=int(time.time() * 1000),
        )
        is_recorded = self._calls is not None and bool(request.meeting_ids)
        await self._check_may_leave(call)
        if is_recorded:
            await self._started(call)
        outcome, was_sent = "cancelled", True
        # The span of a question about several meetings belongs to none of them.
        meeting = request.meeting_ids[0] if len(request.meeting_ids) == 1 else None
        span = tracing.begin("llm", meeting=meeting, purpose=request.purpose, provider=provider.name)
        try:
            yield replies
            outcome = "ok"
        except LlmError as error:
            outcome, was_sent = error.code, error.was_sent
            raise
        finally:
            seconds = time.monotonic() - began
            self._on_attempt(Attempt(provider.name, outcome, seconds))
            reply = replies[-1] if replies else None
            end_span(span, outcome, reply)
            if is_recorded:
                ended = {
                    "outcome": outcome,
                    "seconds": round(seconds, 3),
                    "model": reply.model if reply else None,
                    "prompt_tokens": reply.prompt_tokens if reply else None,
                    "completion_tokens": reply.completion_tokens if reply else None,
                }
                # Nobody configured an optional provider: that there is none is not worth a record.
                is_cancelled = provider.name in self._optional and not was_sent
                await self._finished(call.model_copy(update=ended), is_cancelled=is_cancelled)

    async def _check_may_leave(self, call: LlmCall) -> None:
        """Check at the moment of sending: the choice may have changed while minutes are written. Raises LlmError."""
        if call.is_local or self._keeps_local is None or not call.meeting_ids:
            return
        try:
            must_stay = await self._keeps_local(call.meeting_ids)
        except StorageError as error:
            raise _not_asked(call, "whether it may see this meeting could not be read", error) from error
        if must_stay:
            raise LlmError(
                f"{call.provider} was not asked: this meeting is local only.",
                "Configure a language model on your own machines.",
                code="llm_kept_local",
                was_sent=False,
            )

    async def _started(self, call: LlmCall) -> None:
        assert self._calls is not None
        try:
            await self._calls.started(call)
        except StorageError as error:
            raise _not_asked(call, "that it sees this meeting could not be recorded", error) from error

    async def _finished(self, call: LlmCall, *, is_cancelled: bool) -> None:
        assert self._calls is not None
        try:
            await (self._calls.cancelled(call) if is_cancelled else self._calls.finished(call))
        except StorageError:
            logger.warning(
                "Failed to store the result of a call to a language model.",
                extra=log_fields(provider=call.provider),
            )


def end_span(span: tracing.Span, outcome: str, reply: LlmReply | None) -> None:
    """End the span of a call with the attributes that OpenTelemetry names for language models."""
    span.set(outcome=outcome)
    if reply is not None:
        span.set(
            **{
                "gen_ai.response.model": reply.model,
                "gen_ai.usage.input_tokens": reply.prompt_tokens,
                "gen_ai.usage.output_tokens": reply.completion_tokens,
            }
        )
    span.end(failed=None if outcome in ("ok", "cancelled") else outcome)


def _not_asked(call: LlmCall, why: str, error: StorageError) -> LlmError:
    return LlmError(
        f"{call.provider} was not asked: {why}.", error.remedy, code="llm_not_recorded", was_sent=False
    )
