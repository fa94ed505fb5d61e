"""Google Gemini's generateContent."""

from __future__ import annotations

import time

from meeting_assistant.adapters.llm.answers import check_finish, dig, number, require_text
from meeting_assistant.adapters.llm.http import JsonHttp
from meeting_assistant.domain.ports import LlmReply, LlmRequest


class GeminiGenerate:
    """An `LlmProvider` for `models/…:generateContent`. The key travels in a header: addresses end up in logs."""

    def __init__(self, name: str, *, http: JsonHttp, url: str, model: str, is_local: bool) -> None:
        self.name = name
        self.is_local = is_local
        self._http = http
        self._url = url
        self._model = model

    async def complete(self, request: LlmRequest) -> LlmReply:
        """Ask once."""
        began = time.monotonic()
        generation: dict[str, object] = {
            "maxOutputTokens": request.max_output_tokens,
            "temperature": request.temperature,
        }
        if request.schema is not None:
            generation |= {"responseMimeType": "application/json", "responseJsonSchema": request.schema}
        answer = await self._http.post(
            self._url,
            {
                "systemInstruction": {"parts": [{"text": request.system}]},
                "contents": [{"role": "user", "parts": [{"text": request.user}]}],
                "generationConfig": generation,
            },
        )
        candidate = dig(answer, "candidates", 0)
        check_finish(
            self.name,
            dig(candidate, "finishReason"),
            complete=frozenset({"STOP"}),
            truncated=frozenset({"MAX_TOKENS"}),
        )
        parts = dig(candidate, "content", "parts")
        texts = [dig(p, "text") for p in parts if not dig(p, "thought")] if isinstance(parts, list) else []
        return LlmReply(
            text=require_text(self.name, "".join(t for t in texts if isinstance(t, str))),
            provider=self.name,
            model=str(dig(answer, "modelVersion") or self._model),
            prompt_tokens=number(answer, "usageMetadata", "promptTokenCount"),
            completion_tokens=number(answer, "usageMetadata", "candidatesTokenCount"),
            seconds=time.monotonic() - began,
        )

    async def close(self) -> None:
        """Close its connections."""
        await self._http.close()
