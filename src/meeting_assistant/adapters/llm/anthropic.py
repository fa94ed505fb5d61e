"""Anthropic's Messages interface."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

from meeting_assistant.adapters.llm.answers import check_finish, number, require_text, without_limits
from meeting_assistant.adapters.llm.http import JsonHttp
from meeting_assistant.domain.ports import LlmReply, LlmRequest
from meeting_assistant.net.http import dig

CONTEXT_TOKENS = 100_000
"""All of its models read at least this much."""
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

    async def complete(self, request: LlmRequest) -> LlmReply:
        """Ask once, without retries. Raises LlmError."""
        began = time.monotonic()
        answer = await self._http.post(self._url, self._body(request))
        self._check_finish(dig(answer, "stop_reason"))
        parts = dig(answer, "content")
        texts = [dig(p, "text") for p in parts if dig(p, "type") == "text"] if isinstance(parts, list) else []
        return LlmReply(
            text=require_text(self.name, "".join(t for t in texts if isinstance(t, str))),
            provider=self.name,
            model=str(dig(answer, "model") or self._model),
            prompt_tokens=number(answer, "usage", "input_tokens"),
            completion_tokens=number(answer, "usage", "output_tokens"),
            seconds=time.monotonic() - began,
        )

    async def stream(self, request: LlmRequest) -> AsyncIterator[str | LlmReply]:
        """Yield the pieces of the answer, then the whole."""
        began = time.monotonic()
        pieces: list[str] = []
        start: object = None
        end: object = None
        async for event in self._http.events(self._url, {**self._body(request), "stream": True}):
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
        self._check_finish(dig(end, "delta", "stop_reason"))
        yield LlmReply(
            text=require_text(self.name, "".join(pieces)),
            provider=self.name,
            model=str(dig(start, "model") or self._model),
            prompt_tokens=number(start, "usage", "input_tokens"),
            completion_tokens=number(end, "usage", "output_tokens"),
            seconds=time.monotonic() - began,
        )

    async def context_tokens(self) -> int | None:
        """Return what is known without asking."""
        return CONTEXT_TOKENS

    async def close(self) -> None:
        """Close its connections."""
        await self._http.close()

    def _body(self, request: LlmRequest) -> dict[str, object]:
        body: dict[str, object] = {
            "model": self._model,
            "max_tokens": request.max_output_tokens,
            "system": request.system,
            "messages": [{"role": "user", "content": request.user}],
        }
        if request.schema is not None:
            schema = without_limits(request.schema)
            body["output_config"] = {"format": {"type": "json_schema", "schema": schema}}
        return body

    def _check_finish(self, reason: object) -> None:
        check_finish(
            self.name,
            reason,
            complete=frozenset({"end_turn", "stop_sequence"}),
            truncated=frozenset({"max_tokens", "model_context_window_exceeded"}),
        )
