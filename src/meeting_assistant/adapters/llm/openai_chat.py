"""Chat completions in OpenAI's form: vLLM, llama.cpp, Ollama, xAI, OpenAI, Azure.

A structured answer is requested in the strongest form first. A server that refuses a form gets the next one, and the
form that worked is remembered for an hour, because servers are updated.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass

from meeting_assistant.adapters.llm.answers import (
    THINKING_TOKENS,
    check_finish,
    number,
    refused,
    require_text,
    with_schema,
    without_limits,
)
from meeting_assistant.adapters.llm.http import JsonHttp
from meeting_assistant.domain.errors import LlmError
from meeting_assistant.domain.ports import LlmReply, LlmRequest
from meeting_assistant.net.http import dig

FORMS = ("json_schema", "json_object", "prompt_only")
"""From a schema that the decoder enforces to one that only the prompt names."""
FORM_REMEMBERED_S = 3600.0


@dataclass(frozen=True, slots=True)
class Dialect:
    """Differences between servers of this form."""

    max_tokens_field: str = "max_completion_tokens"
    sends_temperature: bool = False
    """Reasoning models of the clouds refuse one."""
    is_strict: bool = True
    """Clouds need `strict` to hold the model to the schema; local servers always do."""
    schema_in_prompt: bool = False
    """Small models write better JSON when they have read the schema as well."""
    thinks_unless_told: bool = False
    """Thinking shares the room of the answer, and a decoder that is held to a schema begins only after it."""
    context_tokens: int | None = None
    """Where the service does not say how much its models read: what all of them do."""
    thinking_tokens: int = 0
    """Added to the room of the answer where models think in it; what is not used costs nothing."""
    effort: str | None = None
    """How long a model that thinks may think, in the words of the service."""


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


CLOUD = Dialect(context_tokens=100_000, thinking_tokens=THINKING_TOKENS)
LOCAL = Dialect(
    max_tokens_field="max_tokens",
    sends_temperature=True,
    is_strict=False,
    schema_in_prompt=True,
    thinks_unless_told=True,
)


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
        self._now = now
        self._form_until = 0.0
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
        self._form = 0

    async def complete(self, request: LlmRequest) -> LlmReply:
        """Ask once. A form of structured answer that the server refuses does not count as asking."""
        began = time.monotonic()
        answer = await self._ask(request)
        choice = dig(answer, "choices", 0)
        if choice is None:
            raise LlmError(
                f"{self.name} gave no choice.", "Try again, or use another model.", code="llm_bad_output"
            )
        if dig(choice, "message", "refusal"):
            raise refused(self.name)
        self._check_finish(dig(choice, "finish_reason"))
        text = require_text(self.name, dig(choice, "message", "content"))
        return self._reply(text, answer, answer, began)

    async def stream(self, request: LlmRequest) -> AsyncIterator[str | LlmReply]:
        """Yield the pieces of the answer, then the whole."""
        began = time.monotonic()
        await self._resolve_model()
        pieces: list[str] = []
        finish: object = None
        refusal: object = None
        last: Mapping[str, object] = {}
        usage: Mapping[str, object] = {}
        while not last:
            form, model = self._present_form(), self._model
            try:
                async for last in self._http.events(self._url, self._body(request, form, is_streaming=True)):
                    refusal = dig(last, "choices", 0, "delta", "refusal") or refusal
                    piece = dig(last, "choices", 0, "delta", "content")
                    finish = dig(last, "choices", 0, "finish_reason") or finish
                    usage = last if last.get("usage") else usage
                    if isinstance(piece, str) and piece:
                        pieces.append(piece)
                        yield piece
            except LlmError as error:
                if pieces or not await self._adapts_to(error, request, form, model):
                    raise
            else:
                break
        if refusal:
            raise refused(self.name)
        self._check_finish(finish)
        yield self._reply(require_text(self.name, "".join(pieces)), last, usage, began)

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

    def _check_finish(self, reason: object) -> None:
        check_finish(self.name, reason, complete=frozenset({"stop"}), truncated=frozenset({"length"}))

    def _reply(self, text: str, answer: object, usage: object, began: float) -> LlmReply:
        model = dig(answer, "model")
        return LlmReply(
            text=text,
            provider=self.name,
            model=model if isinstance(model, str) else self._model,
            prompt_tokens=number(usage, "usage", "prompt_tokens"),
            completion_tokens=number(usage, "usage", "completion_tokens"),
            seconds=time.monotonic() - began,
        )

    async def _ask(self, request: LlmRequest) -> Mapping[str, object]:
        await self._resolve_model()
        while True:
            form, model = self._present_form(), self._model
            try:
                return await self._http.post(self._url, self._body(request, form))
            except LlmError as error:
                if not await self._adapts_to(error, request, form, model):
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

    def _present_form(self) -> int:
        if self._form and self._now() >= self._form_until:
            self._form = 0
        return self._form

    async def _adapts_to(self, error: LlmError, request: LlmRequest, form: int, model: str) -> bool:
        """Change to another form of answer, or to the model that is served; return True when asking again is worth it.

        `form` and `model` are those that were refused: other questions run at the same time, and one step is enough.
        """
        is_last_form = request.schema is None or form == len(FORMS) - 1
        if error.code == "llm_format_unsupported" and not is_last_form:
            if self._form == form:
                self._form, self._form_until = form + 1, self._now() + FORM_REMEMBERED_S
            return True
        if error.code == "llm_model_missing":
            if self._model == model and not self._is_model_chosen:
                self._model = await self._served_model()
                self._is_model_chosen = True
            return self._model != model
        return False

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

    def _body(self, request: LlmRequest, step: int, *, is_streaming: bool = False) -> dict[str, object]:
        form = FORMS[step]
        system = request.system
        if request.schema is not None and (self._dialect.schema_in_prompt or form != "json_schema"):
            system = with_schema(system, request.schema)
        body: dict[str, object] = {
            "model": self._model,
            "messages": [{"role": "system", "content": system}, {"role": "user", "content": request.user}],
            self._dialect.max_tokens_field: request.max_output_tokens + self._dialect.thinking_tokens,
            "stream": is_streaming,
        }
        if is_streaming:
            body["stream_options"] = {"include_usage": True}
        if self._dialect.effort is not None:
            body["reasoning_effort"] = self._dialect.effort
        elif self._dialect.thinks_unless_told:
            body["chat_template_kwargs"] = {"enable_thinking": False}
        if self._dialect.sends_temperature:
            body["temperature"] = request.temperature
        if request.schema is not None and form == "json_schema":
            schema = without_limits(request.schema) if self._dialect.is_strict else request.schema
            described: dict[str, object] = {"name": request.schema_name, "schema": schema}
            if self._dialect.is_strict:
                described["strict"] = True
            body["response_format"] = {"type": "json_schema", "json_schema": described}
        elif request.schema is not None and form == "json_object":
            body["response_format"] = {"type": "json_object"}
        return body


def join_url(base: str, path: str) -> str:
    """Return `base` + `path` without a doubled version: `…/v1` and `/v1/chat/completions` share their `/v1`.

    An absolute `path` is the whole address.
    """
    if path.startswith(("http://", "https://")):
        return path
    base, path = base.rstrip("/"), "/" + path.lstrip("/")
    first, _, rest = path[1:].partition("/")
    return f"{base}/{rest}" if rest and base.endswith("/" + first) else base + path
