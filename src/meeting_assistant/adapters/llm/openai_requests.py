"""Requests in the form of OpenAI's chat completions, with what each server may take or refuse. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from meeting_assistant.adapters.llm.answers import THINKING_TOKENS, with_schema, without_limits
from meeting_assistant.domain.ports import LlmRequest
from meeting_assistant.net.optional_parameters import OptionalParameter

OPTIONAL = (
    OptionalParameter("chat_template_kwargs", ("chat_template_kwargs",)),
    OptionalParameter("reasoning_effort", ("reasoning_effort",)),
    OptionalParameter("stream_options", ("stream_options",)),
    OptionalParameter("temperature", ("temperature",)),
    OptionalParameter("max_tokens", ("max_tokens in the usual field", "max_tokens in the other field")),
    OptionalParameter("system_role", ("system_role",)),
    OptionalParameter("response_format", ("json_schema", "json_object"), may_crash=True),
)
"""What a server may refuse; what the fewest know comes first.

A limit for the answer has two names, a schema a weaker form that only promises JSON, and what was said by the system
can be said by the user.
"""
_MAX_TOKENS_FIELDS = ("max_tokens", "max_completion_tokens")


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


CLOUD = Dialect(context_tokens=100_000, thinking_tokens=THINKING_TOKENS)
LOCAL = Dialect(
    max_tokens_field="max_tokens",
    sends_temperature=True,
    is_strict=False,
    schema_in_prompt=True,
    thinks_unless_told=True,
)


def offered(dialect: Dialect, request: LlmRequest, *, is_streaming: bool = False) -> list[OptionalParameter]:
    """Return the optional parameters that the request would have."""
    absent = {
        "chat_template_kwargs": dialect.effort is not None or not dialect.thinks_unless_told,
        "reasoning_effort": dialect.effort is None,
        "stream_options": not is_streaming,
        "temperature": not dialect.sends_temperature,
        "response_format": request.schema is None,
    }
    return [parameter for parameter in OPTIONAL if not absent.get(parameter.name, False)]


def has_schema_in_prompt(dialect: Dialect, left_out: frozenset[str]) -> bool:
    """Return True when the prompt has to hold the schema."""
    return dialect.schema_in_prompt or "json_schema" in left_out


def body_of(
    request: LlmRequest, dialect: Dialect, model: str, left_out: frozenset[str], *, is_streaming: bool = False
) -> dict[str, object]:
    """Return the body of the request without the steps in `left_out`."""
    system = request.system
    if request.schema is not None and has_schema_in_prompt(dialect, left_out):
        system = with_schema(system, request.schema)
    body: dict[str, object] = {
        "model": model,
        "messages": [{"role": "system", "content": system}, {"role": "user", "content": request.user}],
        "stream": is_streaming,
    }
    if "system_role" in left_out:
        body["messages"] = [{"role": "user", "content": f"{system}\n\n{request.user}"}]
    field = _max_tokens_field(dialect, left_out)
    if field is not None:
        body[field] = request.max_output_tokens + dialect.thinking_tokens
    if is_streaming and "stream_options" not in left_out:
        body["stream_options"] = {"include_usage": True}
    if dialect.effort is not None:
        if "reasoning_effort" not in left_out:
            body["reasoning_effort"] = dialect.effort
    elif dialect.thinks_unless_told and "chat_template_kwargs" not in left_out:
        body["chat_template_kwargs"] = {"enable_thinking": False}
    if dialect.sends_temperature and "temperature" not in left_out:
        body["temperature"] = request.temperature
    response_format = _response_format(dialect, request, left_out)
    if response_format is not None:
        body["response_format"] = response_format
    return body


def _max_tokens_field(dialect: Dialect, left_out: frozenset[str]) -> str | None:
    usual = dialect.max_tokens_field
    if "max_tokens in the usual field" not in left_out:
        return usual
    other = next(field for field in _MAX_TOKENS_FIELDS if field != usual)
    return other if "max_tokens in the other field" not in left_out else None


def _response_format(
    dialect: Dialect, request: LlmRequest, left_out: frozenset[str]
) -> dict[str, object] | None:
    if request.schema is None:
        return None
    if "json_schema" in left_out:
        return {"type": "json_object"} if "json_object" not in left_out else None
    schema = without_limits(request.schema) if dialect.is_strict else request.schema
    described: dict[str, object] = {"name": request.schema_name, "schema": schema}
    if dialect.is_strict:
        described["strict"] = True
    return {"type": "json_schema", "json_schema": described}
