"""Chat completions in OpenAI's form: vLLM, llama.cpp, Ollama, xAI, OpenAI, Azure.

Each question is asked with everything that makes its answer better: a schema that the decoder enforces, a limit, a
temperature, no thinking. What a server refuses is left out, one thing at a time, and remembered for an hour.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial

from meeting_assistant.adapters.llm.answers import check_finish, number, refused, require_text
from meeting_assistant.adapters.llm.asking import events_with_less, post_with_less
from meeting_assistant.adapters.llm.http import JsonHttp
from meeting_assistant.adapters.llm.openai_answers import StreamedAnswer, is_refusal, whole_text
from meeting_assistant.adapters.llm.openai_requests import (
    CLOUD,
    LOCAL,
    Dialect,
    body_of,
    has_schema_in_prompt,
    offered,
)
from meeting_assistant.domain.errors import LlmError
from meeting_assistant.domain.ports import LlmReply, LlmRequest
from meeting_assistant.net.optional_parameters import OptionalParameters, ParameterSearch
from meeting_assistant.net.responses import dig

__all__ = ["CLOUD", "LOCAL", "Dialect", "ModelChoice", "OpenAiChat", "join_url"]


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """Model that a server is asked for."""

    name: str
    is_chosen: bool = True
    """False takes the model that is served in place of `name`."""
    models_url: str | None = None
    """Where the server lists its models and how much they read; None where that is known."""
    probe_first: bool = False
    """Nobody configured this server: it has to list its models before any transcript is sent."""


class OpenAiChat:
    """An `LlmProvider` for anything that speaks `/chat/completions`."""

    def __init__(
        self,
        name: str,
        *,
        http: JsonHttp,
        url: str,
        model: ModelChoice,
        dialect: Dialect,
        is_local: bool,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`url` takes the questions; `is_local`: the transcript does not leave the operator's machines."""
        self._parameters = OptionalParameters(now)
        self._is_model_chosen = model.is_chosen
        self._context_tokens = dialect.context_tokens
        self._must_probe = model.probe_first
        self.name = name
        self.is_local = is_local
        self._http = http
        self._url = url
        self._model = model.name
        self._dialect = dialect
        self._models_url = model.models_url

    async def complete(self, request: LlmRequest) -> LlmReply:
        """Ask once. A request that the server refuses because of a parameter does not count as asking."""
        began = time.monotonic()
        answer, search = await self._ask(request)
        choice = dig(answer, "choices", 0)
        if choice is None:
            raise LlmError(
                f"{self.name} gave no choice.", "Try again, or use another model.", code="llm_bad_output"
            )
        message = dig(choice, "message")
        if is_refusal(message):
            raise refused(self.name)
        check_finish(self.name, dig(choice, "finish_reason"))
        text = whole_text(message, is_json=request.schema is not None)
        return self._reply(text, answer, answer, began, search)

    async def stream(self, request: LlmRequest) -> AsyncIterator[str | LlmReply]:
        """Yield the pieces of the answer, then the whole."""
        began = time.monotonic()
        await self._resolve_model()
        seen = StreamedAnswer()
        while True:
            model, dialect = self._model, self._dialect
            search = self._parameters.begin(model, offered(dialect, request, is_streaming=True))
            body_without = partial(body_of, request, dialect, model, is_streaming=True)
            async with aclosing(events_with_less(self._http, self._url, body_without, search)) as events:
                try:
                    async for event in events:
                        piece = seen.add(event)
                        if piece:
                            yield piece
                except LlmError as error:
                    if seen.last or not await self._takes_served_model(error, model):
                        raise
                else:
                    break
        if seen.refusal:
            raise refused(self.name)
        check_finish(self.name, seen.finish)
        text = whole_text(seen.message(), is_json=request.schema is not None)
        yield self._reply(text, seen.last, seen.usage, began, search)

    async def context_tokens(self) -> int | None:
        """Return what the server's list of models says; it is asked for once."""
        if self._context_tokens is None and self._models_url is not None:
            for model in await self._models():
                limit = number(model, "max_model_len") or number(model, "meta", "n_ctx")
                if limit and dig(model, "id") == self._model:
                    self._context_tokens = limit
        return self._context_tokens

    async def close(self) -> None:
        """Close its connections."""
        await self._http.close()

    def _reply(
        self, text: str, answer: object, usage: object, began: float, search: ParameterSearch
    ) -> LlmReply:
        model = dig(answer, "model")
        return LlmReply(
            text=require_text(self.name, text),
            provider=self.name,
            model=model if isinstance(model, str) else self._model,
            prompt_tokens=number(usage, "usage", "prompt_tokens"),
            completion_tokens=number(usage, "usage", "completion_tokens"),
            seconds=time.monotonic() - began,
            has_schema_in_prompt=has_schema_in_prompt(self._dialect, search.left_out),
        )

    async def _ask(self, request: LlmRequest) -> tuple[Mapping[str, object], ParameterSearch]:
        await self._resolve_model()
        while True:
            model = self._model
            search = self._parameters.begin(model, offered(self._dialect, request))
            body_without = partial(body_of, request, self._dialect, model)
            try:
                return await post_with_less(self._http, self._url, body_without, search), search
            except LlmError as error:
                if not await self._takes_served_model(error, model):
                    raise

    async def _resolve_model(self) -> None:
        if not self._must_probe:
            return
        try:
            served = await self._served_model()
        except LlmError as error:
            error.was_sent = False
            raise
        self._model = served
        self._must_probe, self._is_model_chosen = False, True

    async def _takes_served_model(self, error: LlmError, model: str) -> bool:
        """Return True when the model that is served has taken the place of one that nobody chose.

        `model` is the one that was asked for: other questions run at the same time.
        """
        if error.code != "llm_model_missing":
            return False
        if self._model == model and not self._is_model_chosen:
            self._model = await self._served_model()
            self._is_model_chosen = True
        return self._model != model

    async def _models(self) -> list[object]:
        if self._models_url is None:
            return []
        served = dig(await self._http.get(self._models_url), "data")
        return served if isinstance(served, list) else []

    async def _served_model(self) -> str:
        """Return the chosen model, or the only one. Raises LlmError when there is a choice to make."""
        names = [dig(model, "id") for model in await self._models()]
        known = [name for name in names if isinstance(name, str)]
        if self._is_model_chosen and self._model in known:
            return self._model
        if len(known) == 1 and not self._is_model_chosen:
            return known[0]
        raise LlmError(
            f"{self.name} at {self._http.address} does not serve the model {self._model}; "
            f"it serves {', '.join(known) or 'none'}.",
            "Name one of them, for vLLM in VLLM_MODEL_ID.",
            code="llm_model_missing",
        )


def join_url(base: str, path: str) -> str:
    """Return `base` + `path` without a doubled version: `…/v1` and `/v1/chat/completions` share their `/v1`.

    An absolute `path` is the whole address.
    """
    if path.startswith(("http://", "https://")):
        return path
    base, path = base.rstrip("/"), "/" + path.lstrip("/")
    first, _, rest = path[1:].partition("/")
    return f"{base}/{rest}" if rest and base.endswith("/" + first) else base + path
