"""Google Gemini's generateContent."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

from meeting_assistant.adapters.llm.answers import (
    THINKING_TOKENS,
    check_finish,
    number,
    refused,
    require_text,
)
from meeting_assistant.adapters.llm.http import JsonHttp
from meeting_assistant.domain.ports import LlmReply, LlmRequest
from meeting_assistant.net.http import dig

CONTEXT_TOKENS = 100_000
"""All of its models read at least this much."""


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

    async def complete(self, request: LlmRequest) -> LlmReply:
        """Ask once, without retries. Raises LlmError."""
        began = time.monotonic()
        answer = await self._http.post(self._url, self._body(request))
        _check_blocked(self.name, answer)
        self._check_finish(dig(answer, "candidates", 0, "finishReason"))
        return self._reply(_text_of(answer), answer, began)

    async def stream(self, request: LlmRequest) -> AsyncIterator[str | LlmReply]:
        """Yield the pieces of the answer, then the whole."""
        began = time.monotonic()
        pieces: list[str] = []
        finish: object = None
        last: object = None
        url = self._url.replace(":generateContent", ":streamGenerateContent") + "?alt=sse"
        async for event in self._http.events(url, self._body(request)):
            last = event
            _check_blocked(self.name, event)
            finish = dig(event, "candidates", 0, "finishReason") or finish
            if piece := _text_of(event):
                pieces.append(piece)
                yield piece
        self._check_finish(finish)
        yield self._reply("".join(pieces), last, began)

    async def context_tokens(self) -> int | None:
        """Return what is known without asking."""
        return CONTEXT_TOKENS

    async def close(self) -> None:
        """Close its connections."""
        await self._http.close()

    def _body(self, request: LlmRequest) -> dict[str, object]:
        generation: dict[str, object] = {
            "maxOutputTokens": request.max_output_tokens + THINKING_TOKENS,
            "temperature": request.temperature,
        }
        if self._effort is not None:
            generation["thinkingConfig"] = {"thinkingLevel": self._effort}
        if request.schema is not None:
            generation |= {"responseMimeType": "application/json", "responseJsonSchema": request.schema}
        return {
            "systemInstruction": {"parts": [{"text": request.system}]},
            "contents": [{"role": "user", "parts": [{"text": request.user}]}],
            "generationConfig": generation,
        }

    def _check_finish(self, reason: object) -> None:
        check_finish(self.name, reason, complete=frozenset({"STOP"}), truncated=frozenset({"MAX_TOKENS"}))

    def _reply(self, text: str, answer: object, began: float) -> LlmReply:
        return LlmReply(
            text=require_text(self.name, text),
            provider=self.name,
            model=str(dig(answer, "modelVersion") or self._model),
            prompt_tokens=number(answer, "usageMetadata", "promptTokenCount"),
            completion_tokens=number(answer, "usageMetadata", "candidatesTokenCount"),
            seconds=time.monotonic() - began,
        )


def _check_blocked(name: str, answer: object) -> None:
    """Raise LlmError for a question that is not answered at all: it comes back without a candidate."""
    if dig(answer, "promptFeedback", "blockReason"):
        raise refused(name)


def _text_of(answer: object) -> str:
    parts = dig(answer, "candidates", 0, "content", "parts")
    texts = [dig(p, "text") for p in parts if not dig(p, "thought")] if isinstance(parts, list) else []
    return "".join(text for text in texts if isinstance(text, str))
