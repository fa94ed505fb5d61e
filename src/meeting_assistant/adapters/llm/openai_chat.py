"""Chat completions in OpenAI's form: vLLM, llama.cpp, Ollama, xAI, OpenAI, Azure.

A structured answer is asked for in the strongest form first; a server that refuses a form is asked in the next one,
and the form that worked is remembered.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from meeting_assistant.adapters.llm.answers import check_finish, dig, number, require_text, with_schema
from meeting_assistant.adapters.llm.http import JsonHttp
from meeting_assistant.domain.errors import LlmError
from meeting_assistant.domain.ports import LlmReply, LlmRequest

FORMS = ("json_schema", "json_object", "told")
"""From being held to a schema by the decoder to being asked nicely."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """Where servers of this form differ."""

    max_tokens_field: str = "max_completion_tokens"
    sends_temperature: bool = False
    """Reasoning models of the clouds refuse one."""
    is_strict: bool = True
    """Clouds need `strict` to hold the model to the schema; local servers always do."""
    schema_in_prompt: bool = False
    """Small models write better JSON when they have read the schema as well."""


CLOUD = Dialect()
LOCAL = Dialect(max_tokens_field="max_tokens", sends_temperature=True, is_strict=False, schema_in_prompt=True)


class OpenAiChat:
    """An `LlmProvider` for anything that speaks `/chat/completions`."""

    def __init__(
        self,
        name: str,
        *,
        http: JsonHttp,
        url: str,
        model: str,
        dialect: Dialect,
        is_local: bool,
        models_url: str | None = None,
        is_shy: bool = False,
    ) -> None:
        """`models_url`: where to look for the served model when nobody chose `model`; None when somebody did.

        `is_shy`: nobody named this server; before anything that was said is sent, it has to list its models.
        """
        self._is_shy = is_shy
        self.name = name
        self.is_local = is_local
        self._http = http
        self._url = url
        self._model = model
        self._dialect = dialect
        self._models_url = models_url
        self._form = 0

    async def complete(self, request: LlmRequest) -> LlmReply:
        """Ask once; forms of structured answers that the server refuses do not count as asking."""
        began = time.monotonic()
        answer = await self._ask(request)
        choice = dig(answer, "choices", 0)
        if choice is None:
            raise LlmError(
                f"{self.name} gave no choice.", "Try again, or use another model.", code="llm_bad_output"
            )
        check_finish(
            self.name,
            dig(choice, "finish_reason"),
            complete=frozenset({"stop"}),
            truncated=frozenset({"length"}),
        )
        model = dig(answer, "model")
        return LlmReply(
            text=require_text(self.name, dig(choice, "message", "content")),
            provider=self.name,
            model=model if isinstance(model, str) else self._model,
            prompt_tokens=number(answer, "usage", "prompt_tokens"),
            completion_tokens=number(answer, "usage", "completion_tokens"),
            seconds=time.monotonic() - began,
        )

    async def close(self) -> None:
        """Close its connections."""
        await self._http.close()

    async def _ask(self, request: LlmRequest) -> Mapping[str, object]:
        if self._is_shy and self._models_url is not None:
            self._model = await self._served_model()
            self._models_url = None
        while True:
            try:
                return await self._http.post(self._url, self._body(request))
            except LlmError as error:
                is_last_form = request.schema is None or self._form == len(FORMS) - 1
                if error.code == "llm_format_unsupported" and not is_last_form:
                    self._form += 1
                elif error.code == "llm_model_missing" and self._models_url is not None:
                    self._model = await self._served_model()
                    self._models_url = None
                else:
                    raise

    async def _served_model(self) -> str:
        """The name of the only model there. Raises LlmError when there is a choice to make."""
        assert self._models_url is not None
        served = dig(await self._http.get(self._models_url), "data")
        names = [dig(m, "id") for m in served] if isinstance(served, list) else []
        known = [name for name in names if isinstance(name, str)]
        if len(known) == 1:
            return known[0]
        raise LlmError(
            f"{self.name} at {self._http.address} does not serve the model {self._model}; "
            f"it serves {', '.join(known) or 'none'}.",
            "Name one of them, for vLLM in VLLM_MODEL_ID.",
            code="llm_model_missing",
        )

    def _body(self, request: LlmRequest) -> dict[str, object]:
        form = FORMS[self._form]
        system = request.system
        if request.schema is not None and (self._dialect.schema_in_prompt or form != "json_schema"):
            system = with_schema(system, request.schema)
        body: dict[str, object] = {
            "model": self._model,
            "messages": [{"role": "system", "content": system}, {"role": "user", "content": request.user}],
            self._dialect.max_tokens_field: request.max_output_tokens,
            "stream": False,
        }
        if self._dialect.sends_temperature:
            body["temperature"] = request.temperature
        if request.schema is not None and form == "json_schema":
            described: dict[str, object] = {"name": request.schema_name, "schema": request.schema}
            if self._dialect.is_strict:
                described["strict"] = True
            body["response_format"] = {"type": "json_schema", "json_schema": described}
        elif request.schema is not None and form == "json_object":
            body["response_format"] = {"type": "json_object"}
        return body


def join_url(base: str, path: str) -> str:
    """`base` + `path` without a doubled version: `…/v1` and `/v1/chat/completions` share their `/v1`.

    An absolute `path` is the whole address.
    """
    if path.startswith(("http://", "https://")):
        return path
    base, path = base.rstrip("/"), "/" + path.lstrip("/")
    first, _, rest = path[1:].partition("/")
    return f"{base}/{rest}" if rest and base.endswith("/" + first) else base + path
