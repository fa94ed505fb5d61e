"""LLMService: asks the configured language models in order until one gives a usable answer."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from meeting_assistant.domain.errors import LlmError
from meeting_assistant.domain.ports import CheckResult, LlmCallLog, LlmProvider, LlmReply, LlmRequest
from meeting_assistant.observability import log_fields
from meeting_assistant.services.llm.call_records import AttemptObserver, CallRecords, KeepsLocal
from meeting_assistant.services.llm.circuit_breaker import FAILURES_BEFORE_REST, CircuitBreaker
from meeting_assistant.services.llm.json_answers import tidied
from meeting_assistant.services.llm.token_estimate import tokens_in

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
        keeps_local: KeepsLocal | None = None,
        on_attempt: AttemptObserver = lambda attempt: None,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        spread: Callable[[], float] = lambda: random.uniform(0.8, 1.2),
    ) -> None:
        """`optional`: providers that nobody asked for; that they do not answer is no fault.

        `context_tokens`, by provider, where the operator knows better than its server.
        `calls` is told before anything of a meeting is sent, and who cannot be recorded is not asked. `keeps_local` is
        asked before each question that would leave the house. `spread` keeps many pauses from ending together.
        """
        self._context_tokens = dict(context_tokens or {})
        self._records = CallRecords(calls, keeps_local, optional, on_attempt)
        self._providers = list(providers)
        self._max_retries = max_retries
        self._backoff_s = backoff_s
        self._is_local_only = is_local_only
        self._optional = optional
        self._sleep = sleep
        self._spread = spread
        # A question has all of its attempts before its server is left alone.
        enough = max(FAILURES_BEFORE_REST, max_retries + 1)
        self._breakers = {p.name: CircuitBreaker(now, failures_before_rest=enough) for p in self._providers}

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
            if self._is_refused(provider, failures):
                continue
            try:
                return await self._usable(provider, request, problem_of)
            except LlmError as error:
                self._note_failure(provider, error, failures)
        raise _all_failed(failures)

    async def stream(
        self, request: LlmRequest, *, prefer: str | None = None, is_local_only: bool = False
    ) -> AsyncIterator[str | LlmReply]:
        """Pieces of the first answer that comes, then the whole reply. Who has begun to answer is not replaced.

        Raises LlmError; half-way too, and then what was given so far must not be used.
        """
        failures: list[LlmError] = []
        for provider in self._candidates(prefer, is_local_only):
            if self._is_refused(provider, failures):
                continue
            attempt = 0
            while True:
                has_begun = False
                try:
                    async with self._attempt(provider, request) as replies:
                        async for piece in provider.stream(request):
                            has_begun = True
                            if isinstance(piece, LlmReply):
                                replies.append(piece)
                            yield piece
                except LlmError as error:
                    pause_s = self._pause_s(provider, error, attempt)
                    if has_begun or pause_s is None:
                        self._note_failure(provider, error, failures)
                    if has_begun:
                        raise _all_failed(failures) from error
                else:
                    return
                if pause_s is None:
                    break
                attempt += 1
                await self._sleep(pause_s)
        raise _all_failed(failures)

    async def context_tokens(self, *, prefer: str | None = None, is_local_only: bool = False) -> int:
        """How much the provider that is asked first reads and writes in all."""
        for provider in self._candidates(prefer, is_local_only):
            if provider.name in self._context_tokens:
                return self._context_tokens[provider.name]
            breaker = self._breakers[provider.name]
            if not breaker.rests:
                try:
                    return await provider.context_tokens() or SMALLEST_CONTEXT
                except LlmError as error:
                    # Asking it will say what is wrong; one that does not even say this costs no further timeout.
                    if error.retryable:
                        breaker.note(error)
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
            "Configure one (see docs/reference/settings.md). For a meeting that is local only, or with LLM_LOCAL_ONLY, "
            "it has to run on your own machines.",
            code="llm_no_provider",
        )

    def _note_failure(self, provider: LlmProvider, error: LlmError, failures: list[LlmError]) -> None:
        failures.append(error)
        if provider.name in self._optional and not error.was_sent:
            return  # nobody asked for it, and nobody has to read after each meeting that it is not there
        logger.warning(
            "A language model gave no usable answer.",
            extra=log_fields(provider=provider.name, code=error.code),
        )

    def _is_refused(self, provider: LlmProvider, failures: list[LlmError]) -> bool:
        cause = self._breakers[provider.name].refuses()
        if cause is not None:
            failures.append(cause)
        return cause is not None

    async def _usable(
        self, provider: LlmProvider, request: LlmRequest, problem_of: ProblemFinder
    ) -> LlmReply:
        """An answer without a problem; one with a problem goes back once to the model that gave it."""
        first = await self._ask(provider, request)
        reply, problem = _held(first, request, problem_of)
        if problem is None:
            return reply
        again = await self._ask(provider, with_problem(request, problem))
        reply, problem = _held(again, request, problem_of)
        if problem is not None:
            raise LlmError(
                f"{provider.name} answered twice in a form that cannot be used.",
                "Use a model that can be held to a JSON schema.",
                code="llm_bad_output",
            )
        return replace(
            reply,
            prompt_tokens=_sum(first.prompt_tokens, again.prompt_tokens),
            completion_tokens=_sum(first.completion_tokens, again.completion_tokens),
            seconds=first.seconds + again.seconds,
        )

    async def _ask(self, provider: LlmProvider, request: LlmRequest) -> LlmReply:
        attempt = 0
        while True:
            try:
                return await self._once(provider, request)
            except LlmError as error:
                pause_s = self._pause_s(provider, error, attempt)
                if pause_s is None:
                    raise
            attempt += 1
            await self._sleep(pause_s)

    def _pause_s(self, provider: LlmProvider, error: LlmError, attempt: int) -> float | None:
        """How long to wait before asking again; None when that is not worth it."""
        is_over = attempt >= self._max_retries or provider.name in self._optional
        if not error.retryable or is_over or self._breakers[provider.name].rests:
            return None
        pause_s = max(self._backoff_s * 2**attempt * self._spread(), error.retry_after_s or 0.0)
        return pause_s if pause_s <= MAX_WAIT_S else None

    async def _once(self, provider: LlmProvider, request: LlmRequest) -> LlmReply:
        async with self._attempt(provider, request) as replies:
            reply = await provider.complete(request)
            replies.append(reply)
            _check_that_all_was_read(reply, request)
            return reply

    @asynccontextmanager
    async def _attempt(self, provider: LlmProvider, request: LlmRequest) -> AsyncIterator[list[LlmReply]]:
        """One question: recorded, counted, and whatever goes wrong is an LlmError."""
        breaker = self._breakers[provider.name]
        try:
            async with self._records.of(provider, request) as replies:
                try:
                    yield replies
                except LlmError:
                    raise
                except Exception as error:
                    # Whatever a server sends, minutes are written: by the next one. What it sent is not logged.
                    logger.error(  # noqa: TRY400
                        "A provider of language models failed unexpectedly.",
                        extra=log_fields(provider=provider.name, error=type(error).__name__),
                    )
                    raise LlmError(
                        f"{provider.name} failed unexpectedly ({type(error).__name__}).",
                        "See the server's log, and please report it.",
                        code="llm_bad_output",
                    ) from error
        except LlmError as error:
            breaker.note(error)
            raise
        except BaseException:
            breaker.forget()
            raise
        breaker.note(None)

    async def _check(self, provider: LlmProvider) -> CheckResult:
        began = time.monotonic()
        name = f"Language model ({provider.name})"
        try:
            reply = tidied(await self._once(provider, _PROBE))
        except LlmError as error:
            is_optional = provider.name in self._optional and error.code == "llm_unavailable"
            remedy = "Not needed: minutes are written without it." if is_optional else error.remedy
            return CheckResult(
                name, False, error.message, remedy, time.monotonic() - began, optional=is_optional
            )
        place = "on your own machines" if provider.is_local else "outside your machines"
        return CheckResult(name, True, f"{reply.model} answered, {place}", seconds=time.monotonic() - began)


def with_problem(request: LlmRequest, problem: str) -> LlmRequest:
    """Asked again, with what was wrong. In one turn: several chat templates take neither a second system message nor
    two turns of a kind."""
    told = (
        f"{request.user}\n\nYour last answer could not be used: {problem}. Answer again, as the schema says."
    )
    return replace(request, user=told)


def _held(reply: LlmReply, request: LlmRequest, problem_of: ProblemFinder) -> tuple[LlmReply, str | None]:
    """The answer without what models put around it, and what is wrong with it."""
    if request.schema is not None:
        try:
            reply = tidied(reply)
        except LlmError:
            return reply, "it is not one whole JSON object"
    return reply, problem_of(reply.text)


def _sum(one: int | None, other: int | None) -> int | None:
    return one if other is None else other if one is None else one + other


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
