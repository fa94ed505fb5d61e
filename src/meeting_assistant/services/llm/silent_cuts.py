"""Finds servers that read only a part of what they were sent and do not say so, by their own count of tokens.

Ollama, for one, cuts what is longer than its window, which is 4096 tokens unless somebody raised it. How many tokens a
text has differs from model to model, so the count of a long question says little by itself. It is compared with the
count of a short one on the same text, which the server has certainly read.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import replace

from meeting_assistant.domain.errors import LlmError
from meeting_assistant.domain.ports import LlmReply, LlmRequest
from meeting_assistant.services.llm.token_estimate import tokens_in

CERTAIN_SHARE = 0.3
"""No vocabulary needs so few tokens in comparison with the estimate: less of a long text was certainly cut. Those that
were learned from Chinese need about 0.4 of the estimate for it."""
USUAL_SHARE = 0.95
"""From this share on nothing is missing: estimates are on the safe side."""
SMALLEST_SHARE = 0.93
"""Of the tokens that a text has by the measured ratio; how even texts are leaves a little room."""
SHORTEST_TOKENS = 1000
"""Windows are larger. Some servers do not count what they still had from the question before."""
MEETINGS_REMEMBERED = 64

Measure = Callable[[LlmRequest], Awaitable[LlmReply | None]]
"""Asks a short question; None where the server is known to refuse what is too long for it. Raises LlmError."""


class SilentCuts:
    """Checks of the token counts in replies."""

    def __init__(self) -> None:
        self._ratios: OrderedDict[tuple[str, str, tuple[str, ...]], float] = OrderedDict()
        """Tokens counted to tokens estimated when that was measured last, for a model and the meetings it was asked
        about."""

    async def check(self, reply: LlmReply, request: LlmRequest, probe: LlmRequest, measure: Measure) -> None:
        """Raise LlmError when the server has read less than it was sent.

        Where the count leaves a doubt, `measure` asks a short question that is made from `probe`.
        """
        counted = reply.prompt_tokens
        expected = _estimate(request, reply)
        if counted is None or counted < SHORTEST_TOKENS or counted >= USUAL_SHARE * expected:
            return
        if counted < CERTAIN_SHARE * expected:
            raise _cut(reply.provider, counted)
        key = (reply.provider, reply.model, request.meeting_ids)
        known = self._ratios.get(key)
        if known is not None and counted >= SMALLEST_SHARE * known * expected:
            return
        # What was measured on another part of a meeting proves no cut: people change the language in the middle of it.
        ratio = await self._measured_ratio(request, probe, measure)
        if ratio is None:
            return
        if counted < SMALLEST_SHARE * ratio * expected:
            # The short question may have been cut, too: its ratio says nothing about the next part.
            raise _cut(reply.provider, counted)
        self._remember(key, ratio)

    def _remember(self, key: tuple[str, str, tuple[str, ...]], ratio: float) -> None:
        self._ratios[key] = ratio
        self._ratios.move_to_end(key)
        if len(self._ratios) > MEETINGS_REMEMBERED:
            self._ratios.popitem(last=False)

    @staticmethod
    async def _measured_ratio(request: LlmRequest, probe: LlmRequest, measure: Measure) -> float | None:
        """Return how many tokens the model counts to one that is estimated; None where that cannot be measured."""
        half = len(request.user) // 2
        short = replace(
            probe,
            user=f"{request.user[:half]}\n\n{probe.user}",
            purpose=request.purpose,
            meeting_ids=request.meeting_ids,
        )
        try:
            measured = await measure(short)
        except LlmError:
            return None
        if measured is None or measured.prompt_tokens is None:
            return None
        return measured.prompt_tokens / _estimate(short, measured)


def _estimate(request: LlmRequest, reply: LlmReply) -> int:
    """Return how many tokens the whole prompt has, at a guess."""
    schema = json.dumps(request.schema) if request.schema is not None and reply.has_schema_in_prompt else ""
    return tokens_in(request.system) + tokens_in(request.user) + tokens_in(schema)


def _cut(provider: str, counted: int) -> LlmError:
    error = LlmError(
        f"{provider} read only a part of the text, {counted} tokens of it.",
        "Raise the context length of that server (for Ollama: OLLAMA_CONTEXT_LENGTH).",
        code="llm_context_overflow",
        context_limit=counted,
    )
    error.is_silent_cut = True
    return error
