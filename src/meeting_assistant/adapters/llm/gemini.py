"""Google Gemini's generateContent."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from functools import partial

from meeting_assistant.adapters.llm.answers import (
    THINKING_TOKENS,
    check_finish,
    number,
    refused,
    require_text,
    text_of,
    with_schema,
)
from meeting_assistant.adapters.llm.asking import events_with_less, post_with_less
from meeting_assistant.adapters.llm.http import JsonHttp
from meeting_assistant.domain.ports import LlmReply, LlmRequest
from meeting_assistant.net.optional_parameters import OptionalParameter, OptionalParameters, ParameterSearch
from meeting_assistant.net.responses import dig

CONTEXT_TOKENS = 100_000
"""All of its models read at least this much."""
OPTIONAL = (
    OptionalParameter("reasoning_effort", ("thinkingConfig",)),
    OptionalParameter("temperature", ("temperature",)),
    OptionalParameter("max_tokens", ("maxOutputTokens",)),
    OptionalParameter("response_format", ("responseJsonSchema", "responseMimeType")),
    OptionalParameter("system_role", ("systemInstruction",)),
)
"""What some of its models refuse (Gemma takes neither instructions of the system nor JSON)."""


class GeminiGenerate:
    """An `LlmProvider` for `models/…:generateContent`. The key travels in a header: addresses end up in logs."""

    def __init__(
        self, name: str, *, http: JsonHttp, url: str, model: str, is_local: bool, effort: str | None = None
    ) -> None:
        self._effort = effort
        self.name = name
        self.is_local = is_local
        self._http = http
        self._url = url
        self._model = model
        self._parameters = OptionalParameters()

    async def complete(self, request: LlmRequest) -> LlmReply:
        """Ask once, without retries. Raises LlmError."""
        began = time.monotonic()
        search = self._search(request)
        answer = await post_with_less(self._http, self._url, partial(self._body, request), search)
        _check_blocked(self.name, answer)
        check_finish(self.name, dig(answer, "candidates", 0, "finishReason"))
        return self._reply(_text_of(answer), answer, began, search)

    async def stream(self, request: LlmRequest) -> AsyncIterator[str | LlmReply]:
        """Yield the pieces of the answer, then the whole."""
        began = time.monotonic()
        pieces: list[str] = []
        finish: object = None
        last: object = None
        url = self._url.replace(":generateContent", ":streamGenerateContent") + "?alt=sse"
        search = self._search(request)
        async with aclosing(
            events_with_less(self._http, url, partial(self._body, request), search)
        ) as events:
            async for event in events:
                last = event
                _check_blocked(self.name, event)
                finish = dig(event, "candidates", 0, "finishReason") or finish
                if piece := _text_of(event):
                    pieces.append(piece)
                    yield piece
        check_finish(self.name, finish)
        yield self._reply("".join(pieces), last, began, search)

    async def context_tokens(self) -> int | None:
        """Return what is known without asking."""
        return CONTEXT_TOKENS

    async def close(self) -> None:
        """Close its connections."""
        await self._http.close()

    def _search(self, request: LlmRequest) -> ParameterSearch:
        absent = {
            "reasoning_effort": self._effort is None,
            "response_format": request.schema is None,
        }
        offered = [parameter for parameter in OPTIONAL if not absent.get(parameter.name, False)]
        return self._parameters.begin(self._model, offered)

    def _body(self, request: LlmRequest, left_out: frozenset[str]) -> dict[str, object]:
        system, user = request.system, request.user
        generation: dict[str, object] = {
            "maxOutputTokens": request.max_output_tokens + THINKING_TOKENS,
            "temperature": request.temperature,
        }
        if self._effort is not None:
            generation["thinkingConfig"] = {"thinkingLevel": self._effort}
        if request.schema is not None:
            generation |= {"responseMimeType": "application/json", "responseJsonSchema": request.schema}
            if "responseJsonSchema" in left_out:
                system = with_schema(system, request.schema)
        body: dict[str, object] = {}
        if "systemInstruction" in left_out:
            user = f"{system}\n\n{user}"
        else:
            body["systemInstruction"] = {"parts": [{"text": system}]}
        body["contents"] = [{"role": "user", "parts": [{"text": user}]}]
        body["generationConfig"] = {name: value for name, value in generation.items() if name not in left_out}
        return body

    def _reply(self, text: str, answer: object, began: float, search: ParameterSearch) -> LlmReply:
        return LlmReply(
            text=require_text(self.name, text),
            provider=self.name,
            model=str(dig(answer, "modelVersion") or self._model),
            prompt_tokens=number(answer, "usageMetadata", "promptTokenCount"),
            completion_tokens=number(answer, "usageMetadata", "candidatesTokenCount"),
            seconds=time.monotonic() - began,
            has_schema_in_prompt="responseJsonSchema" in search.left_out,
        )


def _check_blocked(name: str, answer: object) -> None:
    """Raise LlmError for a question that is not answered at all: it comes back without a candidate."""
    if dig(answer, "promptFeedback", "blockReason"):
        raise refused(name)


def _text_of(answer: object) -> str:
    return text_of(dig(answer, "candidates", 0, "content", "parts"))
