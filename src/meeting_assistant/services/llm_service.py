"""LLMService: asks the configured language models in order until one gives a usable answer."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import uuid_utils

from meeting_assistant import tracing
from meeting_assistant.domain.errors import LlmError, StorageError
from meeting_assistant.domain.llm_calls import LlmCall
from meeting_assistant.domain.ports import CheckResult, LlmCallLog, LlmProvider, LlmReply, LlmRequest
from meeting_assistant.observability import log_fields
from meeting_assistant.services.circuit_breaker import CircuitBreaker
from meeting_assistant.services.llm_answers import tidied
from meeting_assistant.services.tokens import tokens_in

logger = logging.getLogger(__name__)

SMALLEST_CONTEXT = 8192
"""Tokens of the smallest models in use: of a server that does not say."""
_READS_LITTLE = 0.5
"""A server that counted less than this share of a long prompt has silently read only a part of it."""
MAX_WAIT_S = 20.0
"""A server that asks for a longer pause is left for the next one."""

_PROBE = LlmRequest(
    system="You are a health check.",
    user='Answer with {"ok": true}.',
    schema={
        "type": "object",
        "properties": {"ok": {"type": "boolean"}},
        "required": ["ok"],
        "additionalProperties": False,
    },
    schema_name="health",
    max_output_tokens=300,
)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One question to one provider: who saw the text, and what came of it."""

    provider: str
    outcome: str
    """`ok` or the error's code."""
    seconds: float


AttemptObserver = Callable[[Attempt], None]
ProblemFinder = Callable[[str], str | None]
"""What is wrong with an answer, in words for the model that gave it; None when it can be used."""


class LLMService:
    """Retries what may pass, goes on to the next provider for the rest. Safe for concurrent use."""

    def __init__(
        self,
        providers: Sequence[LlmProvider],
        *,
        max_retries: int = 2,
        backoff_s: float = 0.5,
        is_local_only: bool = False,
        optional: frozenset[str] = frozenset(),
        context_tokens: Mapping[str, int] | None = None,
        calls: LlmCallLog | None = None,
        on_attempt: AttemptObserver = lambda attempt: None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`optional`: providers that nobody asked for; that they do not answer is no fault.

        `context_tokens`, by provider, where the operator knows better than its server.
        `calls` is told before anything of a meeting is sent, and who cannot be recorded is not asked.
        """
        self._context_tokens = dict(context_tokens or {})
        self._calls = calls
        self._providers = list(providers)
        self._max_retries = max_retries
        self._backoff_s = backoff_s
        self._is_local_only = is_local_only
        self._optional = optional
        self._on_attempt = on_attempt
        self._breakers = {provider.name: CircuitBreaker(now) for provider in self._providers}

    @property
    def names(self) -> list[str]:
        """Configured providers that may be asked, in order."""
        return [provider.name for provider in self._allowed(is_local_only=False)]

    @property
    def is_asked_for(self) -> bool:
        """False when nobody configured a language model: that there is none is then no fault to report."""
        return any(provider.name not in self._optional for provider in self._providers)

    async def complete(
        self,
        request: LlmRequest,
        *,
        prefer: str | None = None,
        is_local_only: bool = False,
        problem_of: ProblemFinder = lambda text: None,
    ) -> LlmReply:
        """The first usable answer; with a schema its text is one JSON object.

        `prefer` is asked first; `is_local_only` can only tighten what the deployment allows. An answer with a problem
        is sent back once to the model that gave it, with the problem.
        Raises LlmError with the code `llm_no_provider` or `llm_all_failed`.
        """
        failures: list[LlmError] = []
        for provider in self._candidates(prefer, is_local_only):
            if self._rests(provider, failures):
                continue
            try:
                reply = await self._usable(provider, request, problem_of)
            except LlmError as error:
                self._note_failure(provider, error, failures)
            else:
                self._breakers[provider.name].note(None)
                return reply
        raise _all_failed(failures)

    async def stream(
        self, request: LlmRequest, *, prefer: str | None = None, is_local_only: bool = False
    ) -> AsyncIterator[str | LlmReply]:
        """Pieces of the first answer that comes, then the whole reply. Who has begun to answer is not replaced.

        Raises LlmError; half-way too, and then what was given so far must not be used.
        """
        failures: list[LlmError] = []
        for provider in self._candidates(prefer, is_local_only):
            if self._rests(provider, failures):
                continue
            has_begun = False
            try:
                async with self._recorded(provider, request) as replies:
                    async for piece in provider.stream(request):
                        has_begun = True
                        if isinstance(piece, LlmReply):
                            replies.append(piece)
                        yield piece
            except LlmError as error:
                self._note_failure(provider, error, failures)
                if has_begun:
                    raise _all_failed(failures) from error
            else:
                self._breakers[provider.name].note(None)
                return
        raise _all_failed(failures)

    async def context_tokens(self, *, prefer: str | None = None, is_local_only: bool = False) -> int:
        """How much the provider that is asked first reads and writes in all."""
        for provider in self._candidates(prefer, is_local_only):
            if provider.name in self._context_tokens:
                return self._context_tokens[provider.name]
            if self._breakers[provider.name].open_because is None:
                try:
                    return await provider.context_tokens() or SMALLEST_CONTEXT
                except LlmError:
                    continue  # asking it will say what is wrong
        return SMALLEST_CONTEXT

    def may_ask(self, *, is_local_only: bool) -> bool:
        """True when any configured model may see such a meeting."""
        return bool(self._allowed(is_local_only=is_local_only))

    async def check(self) -> list[CheckResult]:
        """Ask every provider for a tiny JSON, without retries: rows for `doctor`."""
        return list(await asyncio.gather(*(self._check(p) for p in self._allowed(is_local_only=False))))

    async def close(self) -> None:
        """Close every provider's connections."""
        for provider in self._providers:
            await provider.close()

    def _allowed(self, *, is_local_only: bool) -> list[LlmProvider]:
        is_strict = is_local_only or self._is_local_only
        return [provider for provider in self._providers if provider.is_local or not is_strict]

    def _candidates(self, prefer: str | None, is_local_only: bool) -> list[LlmProvider]:
        candidates = sorted(self._allowed(is_local_only=is_local_only), key=lambda p: p.name != prefer)
        if candidates:
            return candidates
        raise LlmError(
            "Failed to get LLM response. No language model may be asked.",
            "Configure one (see docs/configuration.md). For a meeting that is local only, or with LLM_LOCAL_ONLY, "
            "it has to run on your own machines.",
            code="llm_no_provider",
        )

    def _rests(self, provider: LlmProvider, failures: list[LlmError]) -> bool:
        cause = self._breakers[provider.name].open_because
        if cause is not None:
            failures.append(cause)
        return cause is not None

    def _note_failure(self, provider: LlmProvider, error: LlmError, failures: list[LlmError]) -> None:
        self._breakers[provider.name].note(error)
        failures.append(error)
        logger.warning(
            "A language model gave no usable answer.",
            extra=log_fields(provider=provider.name, code=error.code),
        )

    async def _usable(
        self, provider: LlmProvider, request: LlmRequest, problem_of: ProblemFinder
    ) -> LlmReply:
        reply = await self._ask(provider, request)
        problem = problem_of(reply.text)
        if problem is None:
            return reply
        # In one turn: several chat templates take neither a second system message nor two turns of a kind.
        user = f"{request.user}\n\nYour last answer could not be used: {problem}. Answer again, as the schema says."
        reply = await self._ask(provider, replace(request, user=user))
        if (problem := problem_of(reply.text)) is not None:
            raise LlmError(
                f"{provider.name} answered twice in a form that cannot be used.",
                "Use a model that can be held to a JSON schema.",
                code="llm_bad_output",
            )
        return reply

    async def _ask(self, provider: LlmProvider, request: LlmRequest) -> LlmReply:
        attempt = 0
        while True:
            try:
                return await self._once(provider, request)
            except LlmError as error:
                wait_s = self._backoff_s * 2**attempt * random.uniform(0.8, 1.2)
                wait_s = max(wait_s, error.retry_after_s or 0.0)
                attempt += 1
                is_over = attempt > self._max_retries or provider.name in self._optional
                if not error.retryable or is_over or wait_s > MAX_WAIT_S:
                    raise
            await asyncio.sleep(wait_s)

    async def _once(self, provider: LlmProvider, request: LlmRequest) -> LlmReply:
        async with self._recorded(provider, request) as replies:
            reply = await provider.complete(request)
            replies.append(reply)
            _check_that_all_was_read(reply, request)
            return tidied(reply) if request.schema is not None else reply

    @asynccontextmanager
    async def _recorded(self, provider: LlmProvider, request: LlmRequest) -> AsyncIterator[list[LlmReply]]:
        """Who is asked about what is written down before it is sent, what came of it afterwards."""
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
        # Nobody configured an optional one; where none is, nothing is sent and there is nothing to record.
        is_maybe_there = provider.name in self._optional
        if is_recorded and not is_maybe_there:
            await self._record_question(call)
        outcome = "cancelled"
        # Of a question about several meetings nobody could say whose it is.
        meeting = request.meeting_ids[0] if len(request.meeting_ids) == 1 else None
        span = tracing.begin("llm", meeting=meeting, purpose=request.purpose, provider=provider.name)
        try:
            yield replies
            outcome = "ok"
        except LlmError as error:
            outcome = error.code
            raise
        finally:
            seconds = time.monotonic() - began
            self._on_attempt(Attempt(provider.name, outcome, seconds))
            reply = replies[-1] if replies else None
            end_span(span, outcome, reply)
            if is_recorded and not (is_maybe_there and outcome == "llm_unavailable"):
                await self._record_outcome(
                    call.model_copy(
                        update={
                            "outcome": outcome,
                            "seconds": round(seconds, 3),
                            "model": reply.model if reply else None,
                            "prompt_tokens": reply.prompt_tokens if reply else None,
                            "completion_tokens": reply.completion_tokens if reply else None,
                        }
                    )
                )

    async def _record_question(self, call: LlmCall) -> None:
        assert self._calls is not None
        try:
            await self._calls.asked(call)
        except StorageError as error:
            raise LlmError(
                f"{call.provider} was not asked: that it sees this meeting could not be recorded.",
                error.remedy,
                code="llm_not_recorded",
            ) from error

    async def _record_outcome(self, call: LlmCall) -> None:
        assert self._calls is not None
        try:
            await self._calls.answered(call)
        except StorageError:
            logger.warning(
                "What came of a question to a language model could not be recorded.",
                extra=log_fields(provider=call.provider),
            )

    async def _check(self, provider: LlmProvider) -> CheckResult:
        began = time.monotonic()
        name = f"Language model ({provider.name})"
        try:
            reply = await self._once(provider, _PROBE)
        except LlmError as error:
            is_optional = provider.name in self._optional and error.code == "llm_unavailable"
            remedy = "Not needed: minutes are written without it." if is_optional else error.remedy
            return CheckResult(
                name, False, error.message, remedy, time.monotonic() - began, optional=is_optional
            )
        place = "on your own machines" if provider.is_local else "outside your machines"
        return CheckResult(name, True, f"{reply.model} answered, {place}", seconds=time.monotonic() - began)


def end_span(span: tracing.Span, outcome: str, reply: LlmReply | None) -> None:
    """With the names that OpenTelemetry has for language models."""
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


def _all_failed(failures: Sequence[LlmError]) -> LlmError:
    return LlmError(
        "Failed to get LLM response. " + " ".join(error.message for error in failures),
        failures[0].remedy,
        code="llm_all_failed",
        causes=[error.code for error in failures],
        context_limit=next((error.context_limit for error in failures if error.context_limit), None),
    )


def _check_that_all_was_read(reply: LlmReply, request: LlmRequest) -> None:
    """Some servers cut a prompt that is too long and say nothing (Ollama does); their own count tells."""
    expected = tokens_in(request.system) + tokens_in(request.user)
    counted = reply.prompt_tokens
    if counted is not None and 1000 <= counted < _READS_LITTLE * expected:
        raise LlmError(
            f"{reply.provider} read only a part of the text.",
            "Raise the context length of that server (for Ollama: OLLAMA_CONTEXT_LENGTH).",
            code="llm_context_overflow",
            context_limit=counted,
        )
