"""LLMService: asks the configured language models in order until one gives a usable answer."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from meeting_assistant.domain.errors import LlmError
from meeting_assistant.domain.ports import CheckResult, LlmProvider, LlmReply, LlmRequest
from meeting_assistant.observability import log_fields

logger = logging.getLogger(__name__)

FAILURES_BEFORE_PAUSE = 3
PAUSE_S = 60.0
_OF_THE_QUESTION = frozenset({"llm_context_overflow", "llm_truncated", "llm_refused", "llm_bad_output"})
"""Failures that say nothing about the server's health."""
MAX_WAIT_S = 20.0
"""A server that asks for a longer pause is left for the next one."""

_THINKING = re.compile(r"<think>.*?</think>", re.DOTALL)
_FENCE = re.compile(r"^```(?:json)?\s*(.*?)\s*```$", re.DOTALL)

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


class _Breaker:
    """A provider that failed again and again is left alone for a while: a dead server must not cost every meeting its
    timeout."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._failures = 0
        self._until = 0.0

    @property
    def is_open(self) -> bool:
        return self._now() < self._until

    def note(self, error: LlmError | None) -> None:
        if error is None or error.code in _OF_THE_QUESTION:
            self._failures = 0
            return
        self._failures += 1
        if error.code == "llm_auth" or self._failures >= FAILURES_BEFORE_PAUSE:
            self._until = self._now() + PAUSE_S


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
        on_attempt: AttemptObserver = lambda attempt: None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`optional`: providers that nobody asked for; that they do not answer is no fault."""
        self._providers = list(providers)
        self._max_retries = max_retries
        self._backoff_s = backoff_s
        self._is_local_only = is_local_only
        self._optional = optional
        self._on_attempt = on_attempt
        self._breakers = {provider.name: _Breaker(now) for provider in self._providers}

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
        candidates = sorted(self._allowed(is_local_only=is_local_only), key=lambda p: p.name != prefer)
        if not candidates:
            raise LlmError(
                "Failed to get LLM response. No language model may be asked.",
                "Configure one (see docs/configuration.md); with LLM_LOCAL_ONLY it has to run on your own machines.",
                code="llm_no_provider",
            )
        failures: list[LlmError] = []
        for provider in candidates:
            breaker = self._breakers[provider.name]
            if breaker.is_open and len(candidates) > 1:
                failures.append(
                    LlmError(
                        f"{provider.name} failed a moment ago and rests.",
                        "It is tried again within a minute.",
                    )
                )
                continue
            try:
                reply = await self._usable(provider, request, problem_of)
            except LlmError as error:
                breaker.note(error)
                failures.append(error)
                logger.warning(
                    "A language model gave no usable answer.",
                    extra=log_fields(provider=provider.name, code=error.code),
                )
            else:
                breaker.note(None)
                return reply
        raise LlmError(
            "Failed to get LLM response. " + " ".join(error.message for error in failures),
            failures[0].remedy,
            code="llm_all_failed",
            causes=[error.code for error in failures],
            context_limit=next((error.context_limit for error in failures if error.context_limit), None),
        ) from failures[-1]

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
        began = time.monotonic()
        outcome = "cancelled"
        try:
            reply = await provider.complete(request)
            if request.schema is not None:
                reply = _tidied(reply)
            outcome = "ok"
        except LlmError as error:
            outcome = error.code
            raise
        else:
            return reply
        finally:
            self._on_attempt(Attempt(provider.name, outcome, time.monotonic() - began))

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


def parse_object(text: str) -> dict[str, object]:
    """The JSON object of an answer: thinking and a code fence around it are ignored. Raises LlmError."""
    text = _THINKING.sub("", text).strip()
    fenced = _FENCE.match(text)
    text = fenced[1] if fenced else text
    try:
        value, _ = json.JSONDecoder().raw_decode(text, max(0, text.find("{")))
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise LlmError(
            "The language model did not answer with a JSON object.",
            "Use a server that can hold a model to a JSON schema.",
            code="llm_bad_output",
        )
    return value


def _tidied(reply: LlmReply) -> LlmReply:
    return LlmReply(
        text=json.dumps(parse_object(reply.text), ensure_ascii=False),
        provider=reply.provider,
        model=reply.model,
        prompt_tokens=reply.prompt_tokens,
        completion_tokens=reply.completion_tokens,
        seconds=reply.seconds,
    )
