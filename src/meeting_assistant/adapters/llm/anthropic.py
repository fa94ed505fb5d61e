"""Anthropic's Messages interface."""

from __future__ import annotations

import time

from meeting_assistant.adapters.llm.answers import check_finish, dig, number, require_text
from meeting_assistant.adapters.llm.http import JsonHttp
from meeting_assistant.domain.ports import LlmReply, LlmRequest


class AnthropicMessages:
    """An `LlmProvider` for `/v1/messages`. Sends no temperature: the interface refuses it since 2026-10-21."""

    def __init__(self, name: str, *, http: JsonHttp, url: str, model: str, is_local: bool) -> None:
        self.name = name
        self.is_local = is_local
        self._http = http
        self._url = url
        self._model = model

    async def complete(self, request: LlmRequest) -> LlmReply:
        """Ask once."""
        began = time.monotonic()
        body: dict[str, object] = {
            "model": self._model,
            "max_tokens": request.max_output_tokens,
            "system": request.system,
            "messages": [{"role": "user", "content": request.user}],
        }
        if request.schema is not None:
            body["output_config"] = {"format": {"type": "json_schema", "schema": request.schema}}
        answer = await self._http.post(self._url, body)
        check_finish(
            self.name,
            dig(answer, "stop_reason"),
            complete=frozenset({"end_turn", "stop_sequence"}),
            truncated=frozenset({"max_tokens", "model_context_window_exceeded"}),
        )
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

    async def close(self) -> None:
        """Close its connections."""
        await self._http.close()
