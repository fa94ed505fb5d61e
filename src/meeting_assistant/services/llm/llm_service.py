"""`LLMService` asks the configured language models in order until one gives a usable answer."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

from meeting_assistant.domain.errors import LlmError
from meeting_assistant.domain.ports import CheckResult, LlmCallLog, LlmProvider, LlmReply, LlmRequest
from meeting_assistant.net.backoff import Backoff
from meeting_assistant.observability import log_fields
from meeting_assistant.services.llm.call_records import AttemptObserver, CallRecords, KeepsLocal
from meeting_assistant.services.llm.circuit_breaker import FAILURES_BEFORE_OPEN, CircuitBreaker
from meeting_assistant.services.llm.json_answers import UnusableAnswerError, extract_json
from meeting_assistant.services.llm.silent_cuts import SilentCuts

T = TypeVar("T")

logger = logging.getLogger(__name__)

SMALLEST_CONTEXT = 8192
"""Tokens, for a server that does not say: those of the smallest models in use."""
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


_OWN_BACKOFF = Backoff(first_s=0.5, jitter=0.2)


@dataclass(frozen=True, slots=True)
class LlmOptions:
    """Limits on which providers are asked, and how often."""

    max_retries: int = 2
    """Of one question to one provider."""
    backoff: Backoff = _OWN_BACKOFF
    is_local_only: bool = False
    """No provider outside the operator's machines is asked."""
    optional: frozenset[str] = frozenset()
    """Providers that nobody configured: when one does not answer, that is no fault."""
    context_tokens: Mapping[str, int] = field(default_factory=dict)
    """By provider, where the operator knows better than its server."""


@dataclass(frozen=True, slots=True)
class Completion(Generic[T]):
    """An answer that can be used."""

    value: T
    """What was made of it."""
    reply: LlmReply
    """Its text, and who gave it."""


class LLMService:
    """Retries what may pass and goes on to the next provider for the rest. Safe for concurrent use."""

    def __init__(
        self,
        providers: Sequence[LlmProvider],
        options: LlmOptions | None = None,
        *,
        calls: LlmCallLog | None = None,
        keeps_local: KeepsLocal | None = None,
        on_attempt: AttemptObserver = lambda attempt: None,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`calls` records each question before anything of a meeting is sent; what cannot be recorded is not sent.

        `keeps_local` is asked before each question that would leave the operator's machines.
        """
        self._options = options or LlmOptions()
        self._records = CallRecords(calls, keeps_local, self._options.optional, on_attempt)
        self._providers = list(providers)
        self._silent_cuts = SilentCuts()
        self._sleep = sleep
        # All attempts of one question are made before its server is left alone.
        enough = max(FAILURES_BEFORE_OPEN, self._options.max_retries + 1)
        self._breakers = {p.name: CircuitBreaker(now, failures_before_open=enough) for p in self._providers}

    @property
    def names(self) -> list[str]:
        """The providers that may be asked, in order."""
        return [provider.name for provider in self._allowed(is_local_only=False)]

    @property
    def is_configured(self) -> bool:
        """False when no language model is configured: that none answers is then no fault to report."""
        return any(provider.name not in self._options.optional for provider in self._providers)

    async def complete(
        self,
        request: LlmRequest,
        parse: Callable[[str], T],
        *,
        prefer: str | None = None,
        is_local_only: bool = False,
    ) -> Completion[T]:
        """Return the first answer from which `parse` makes a value.

        An answer for which `parse` raises UnusableAnswerError goes back once to the model that gave it.
        `prefer` is asked first; `is_local_only` can only tighten what the deployment allows.
        Raises LlmError with the code `llm_no_provider` or `llm_all_failed`.
        """
        failures: list[LlmError] = []
        for provider in self._candidates(prefer, is_local_only):
            if self._is_refused(provider, failures):
                continue
            try:
                return await self._usable(provider, request, parse)
            except LlmError as error:
                self._note_failure(provider, error, failures)
        raise _all_failed(failures)

    async def stream(
        self, request: LlmRequest, *, prefer: str | None = None, is_local_only: bool = False
    ) -> AsyncIterator[str | LlmReply]:
        """Yield the pieces of the first answer that comes, then the whole reply.

        A provider that has begun to answer is not replaced by another. Raises LlmError; half-way too, and then what was
        yielded so far must not be used.
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
                                await self._check_that_all_was_read(provider, piece, request)
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
        """Return how many tokens the provider that is asked first reads and writes in all."""
        for provider in self._candidates(prefer, is_local_only):
            if provider.name in self._options.context_tokens:
                return self._options.context_tokens[provider.name]
            breaker = self._breakers[provider.name]
            if not breaker.is_open:
                try:
                    return await provider.context_tokens() or SMALLEST_CONTEXT
                except LlmError as error:
                    # Asking it will say what is wrong; one that does not even say this costs no further timeout.
                    if error.retryable:
                        breaker.record(error)
        return SMALLEST_CONTEXT

    def may_ask(self, *, is_local_only: bool) -> bool:
        """Return True when any of the models may see such a meeting."""
        return bool(self._allowed(is_local_only=is_local_only))

    async def check(self) -> list[CheckResult]:
        """Ask every provider for a small JSON object, without retries, and return a row of `doctor` for each."""
        return list(await asyncio.gather(*(self._check(p) for p in self._allowed(is_local_only=False))))

    async def close(self) -> None:
        """Close every provider's connections."""
        for provider in self._providers:
            await provider.close()

    def _allowed(self, *, is_local_only: bool) -> list[LlmProvider]:
        is_strict = is_local_only or self._options.is_local_only
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
        if provider.name in self._options.optional and not error.was_sent:
            return  # nobody configured it, so its absence is no line of the log after each meeting
        logger.warning(
            "A language model gave no usable answer.",
            extra=log_fields(provider=provider.name, code=error.code),
        )

    def _is_refused(self, provider: LlmProvider, failures: list[LlmError]) -> bool:
        cause = self._breakers[provider.name].before_call()
        if cause is not None:
            failures.append(cause)
        return cause is not None

    async def _usable(
        self, provider: LlmProvider, request: LlmRequest, parse: Callable[[str], T]
    ) -> Completion[T]:
        first = await self._ask(provider, request)
        try:
            return Completion(parse(first.text), first)
        except UnusableAnswerError as problem:
            again = await self._ask(provider, with_problem(request, str(problem)))
        try:
            value = parse(again.text)
        except UnusableAnswerError as problem:
            raise LlmError(
                f"{provider.name} answered twice in a form that cannot be used.",
                "Use a model that can be held to a JSON schema.",
                code="llm_bad_output",
            ) from problem
        both = replace(
            again,
            prompt_tokens=_sum(first.prompt_tokens, again.prompt_tokens),
            completion_tokens=_sum(first.completion_tokens, again.completion_tokens),
            seconds=first.seconds + again.seconds,
        )
        return Completion(value, both)

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
        """Return how long to wait before asking again; None when that is not worth it."""
        is_over = attempt >= self._options.max_retries or provider.name in self._options.optional
        if not error.retryable or is_over or self._breakers[provider.name].is_open:
            return None
        pause_s = max(self._options.backoff.pause_s(attempt + 1), error.retry_after_s or 0.0)
        return pause_s if pause_s <= MAX_WAIT_S else None

    async def _once(self, provider: LlmProvider, request: LlmRequest) -> LlmReply:
        async with self._attempt(provider, request) as replies:
            reply = await provider.complete(request)
            replies.append(reply)
            await self._check_that_all_was_read(provider, reply, request)
            return reply

    async def _check_that_all_was_read(
        self, provider: LlmProvider, reply: LlmReply, request: LlmRequest
    ) -> None:
        """Raise LlmError for a server that cut the prompt and did not say so."""

        async def measure(short: LlmRequest) -> LlmReply | None:
            with contextlib.suppress(LlmError):
                if await provider.context_tokens() is not None:
                    return None  # a server that says how much it reads also refuses what is longer
            async with self._attempt(provider, short) as replies:
                replies.append(await provider.complete(short))
            return replies[-1]

        await self._silent_cuts.check(reply, request, _PROBE, measure)

    @contextlib.asynccontextmanager
    async def _attempt(self, provider: LlmProvider, request: LlmRequest) -> AsyncIterator[list[LlmReply]]:
        """Record and count one question; whatever goes wrong becomes an LlmError."""
        breaker = self._breakers[provider.name]
        try:
            async with self._records.record(provider, request) as replies:
                try:
                    yield replies
                except LlmError:
                    raise
                except Exception as error:
                    # The next provider is asked, whatever a server sends. What it sent is not logged.
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
            breaker.record(error)
            raise
        except BaseException:
            breaker.cancel()
            raise
        breaker.record(None)

    async def _check(self, provider: LlmProvider) -> CheckResult:
        began = time.monotonic()
        name = f"Language model ({provider.name})"
        try:
            reply = await self._once(provider, _PROBE)
            extract_json(reply.text)
        except UnusableAnswerError:
            return _no_json(name, time.monotonic() - began)
        except LlmError as error:
            is_optional = provider.name in self._options.optional and error.code == "llm_unavailable"
            remedy = "Not needed: minutes are written without it." if is_optional else error.remedy
            return CheckResult(
                name, False, error.message, remedy, time.monotonic() - began, optional=is_optional
            )
        place = "on your own machines" if provider.is_local else "outside your machines"
        return CheckResult(name, True, f"{reply.model} answered, {place}", seconds=time.monotonic() - began)


def with_problem(request: LlmRequest, problem: str) -> LlmRequest:
    """Return the request for another answer, with what was wrong with the last one.

    It is one turn: several chat templates take neither a second system message nor two turns of a kind.
    """
    user = (
        f"{request.user}\n\nYour last answer could not be used: {problem}. Answer again, as the schema says."
    )
    return replace(request, user=user)


def _sum(one: int | None, other: int | None) -> int | None:
    return one if other is None else other if one is None else one + other


def _all_failed(failures: Sequence[LlmError]) -> LlmError:
    error = LlmError(
        "Failed to get LLM response. " + " ".join(error.message for error in failures),
        failures[0].remedy,
        code="llm_all_failed",
        causes=[error.code for error in failures],
        context_limit=next((error.context_limit for error in failures if error.context_limit), None),
    )
    error.is_silent_cut = any(failure.is_silent_cut for failure in failures)
    return error


def _no_json(name: str, seconds: float) -> CheckResult:
    return CheckResult(
        name,
        False,
        "The language model did not answer with a JSON object.",
        "Use a server that can hold a model to a JSON schema.",
        seconds,
    )
