"""Anthropic's Messages interface."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from functools import partial

from meeting_assistant.adapters.llm.answers import (
    check_finish,
    number,
    require_text,
    text_of,
    with_schema,
    without_limits,
)
from meeting_assistant.adapters.llm.asking import events_with_less, post_with_less
from meeting_assistant.adapters.llm.http import JsonHttp
from meeting_assistant.domain.ports import LlmReply, LlmRequest
from meeting_assistant.net.optional_parameters import OptionalParameter, OptionalParameters, ParameterSearch
from meeting_assistant.net.responses import dig

CONTEXT_TOKENS = 100_000
"""All of its models read at least this much."""
OPTIONAL = (
    OptionalParameter("response_format", ("output_config",)),
    OptionalParameter("system_role", ("system",)),
)
"""What servers with this interface may refuse: older models, gateways, and others that imitate it."""
VERSION = "2026-10-21"
"""Of the interface, sent with every request."""


class AnthropicMessages:
    """An `LlmProvider` for `/v1/messages`. Sends no temperature: the interface refuses it since 2026-10-21."""

    def __init__(self, name: str, *, http: JsonHttp, url: str, model: str, is_local: bool) -> None:
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
        check_finish(self.name, dig(answer, "stop_reason"))
        return LlmReply(
            text=require_text(self.name, text_of(dig(answer, "content"))),
            provider=self.name,
            model=str(dig(answer, "model") or self._model),
            prompt_tokens=number(answer, "usage", "input_tokens"),
            completion_tokens=number(answer, "usage", "output_tokens"),
            seconds=time.monotonic() - began,
            has_schema_in_prompt="output_config" in search.left_out,
        )

    async def stream(self, request: LlmRequest) -> AsyncIterator[str | LlmReply]:
        """Yield the pieces of the answer, then the whole."""
        began = time.monotonic()
        pieces: list[str] = []
        start: object = None
        end: object = None
        search = self._search(request)
        body_without = partial(self._body, request, is_streaming=True)
        async with aclosing(events_with_less(self._http, self._url, body_without, search)) as events:
            async for event in events:
                match event.get("type"):
                    case "message_start":
                        start = event.get("message")
                    case "message_delta":
                        end = event
                    case "content_block_delta":
                        piece = dig(event, "delta", "text")
                        if isinstance(piece, str) and piece:
                            pieces.append(piece)
                            yield piece
        check_finish(self.name, dig(end, "delta", "stop_reason"))
        yield LlmReply(
            text=require_text(self.name, "".join(pieces)),
            provider=self.name,
            model=str(dig(start, "model") or self._model),
            prompt_tokens=number(start, "usage", "input_tokens"),
            completion_tokens=number(end, "usage", "output_tokens"),
            seconds=time.monotonic() - began,
            has_schema_in_prompt="output_config" in search.left_out,
        )

    async def context_tokens(self) -> int | None:
        """Return what is known without asking."""
        return CONTEXT_TOKENS

    async def close(self) -> None:
        """Close its connections."""
        await self._http.close()

    def _search(self, request: LlmRequest) -> ParameterSearch:
        offered = [p for p in OPTIONAL if p.name != "response_format" or request.schema is not None]
        return self._parameters.begin(self._model, offered)

    def _body(
        self, request: LlmRequest, left_out: frozenset[str], *, is_streaming: bool = False
    ) -> dict[str, object]:
        system, user = request.system, request.user
        body: dict[str, object] = {"model": self._model, "max_tokens": request.max_output_tokens}
        if request.schema is not None and "output_config" in left_out:
            system = with_schema(system, request.schema)
        elif request.schema is not None:
            schema = without_limits(request.schema)
            body["output_config"] = {"format": {"type": "json_schema", "schema": schema}}
        if "system" in left_out:
            user = f"{system}\n\n{user}"
        else:
            body["system"] = system
        body["messages"] = [{"role": "user", "content": user}]
        if is_streaming:
            body["stream"] = True
        return body
