"""Valid requests and answers of the services behind the three wire formats, from their documentation.

- OpenAI: https://platform.openai.com/docs/api-reference/chat (structured outputs: every property required, no other
  ones, a subset of JSON Schema), which vLLM, xAI, Azure and llama.cpp follow.
- Anthropic: https://docs.anthropic.com/en/api/messages, version 2026-10-21.
- Gemini: https://ai.google.dev/api/generate-content.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

_CHAT = {
    "model": str,
    "messages": list,
    "max_tokens": int,
    "max_completion_tokens": int,
    "temperature": float,
    "stream": bool,
    "stream_options": dict,
    "response_format": dict,
    "chat_template_kwargs": dict,
    "reasoning_effort": str,
}
_MESSAGES = {
    "model": str,
    "max_tokens": int,
    "system": str,
    "messages": list,
    "stream": bool,
    "output_config": dict,
}
_GENERATE = {"systemInstruction": dict, "contents": list, "generationConfig": dict}
_GENERATION = {"maxOutputTokens", "temperature", "responseMimeType", "responseJsonSchema", "thinkingConfig"}
_NOT_IN_STRICT = {
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "minimum",
    "maximum",
    "uniqueItems",
    "default",
}
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


def wire_of(path: str) -> str:
    """`openai`, `anthropic` or `gemini`."""
    if "enerateContent" in path:
        return "gemini"
    return "anthropic" if path.partition("?")[0].endswith("/messages") else "openai"


def is_streaming(path: str, body: Mapping[str, Any]) -> bool:
    """True when the answer is to come in pieces."""
    return "streamGenerateContent" in path or bool(body.get("stream"))


# --- requests ---------------------------------------------------------------------------------------------


def problems_of(path: str, headers: Mapping[str, str], body: Mapping[str, Any]) -> list[str]:
    """Return the reasons why the service would refuse the request; empty when it would accept it."""
    match wire_of(path):
        case "gemini":
            return _problems_of_generate(path, headers, body)
        case "anthropic":
            return _problems_of_messages(headers, body)
        case _:
            return _problems_of_chat(body)


def _problems_of_chat(body: Mapping[str, Any]) -> list[str]:
    problems = _wrong_fields(body, _CHAT, {"model", "messages"})
    roles = [message.get("role") for message in body.get("messages", [])]
    if roles not in (["system", "user"], ["user"]):
        problems.append(f"messages: {roles}")
    if "max_tokens" in body and "max_completion_tokens" in body:
        problems.append("max_tokens and max_completion_tokens exclude each other")
    if "stream_options" in body and not body.get("stream"):
        problems.append("stream_options without stream")
    wanted = body.get("response_format", {})
    if wanted.get("type") == "json_schema":
        described = wanted.get("json_schema", {})
        if not _NAME.fullmatch(described.get("name", "")):
            problems.append("response_format.json_schema.name")
        problems += _schema_problems(described.get("schema"), is_strict=bool(described.get("strict")))
    return problems


def _problems_of_messages(headers: Mapping[str, str], body: Mapping[str, Any]) -> list[str]:
    problems = _wrong_fields(body, _MESSAGES, {"model", "messages", "max_tokens"})
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", headers.get("anthropic-version", "")):
        problems.append("anthropic-version: required")
    if "output_config" in body:
        described = body["output_config"].get("format", {})
        if described.get("type") != "json_schema":
            problems.append("output_config.format.type")
        problems += _schema_problems(described.get("schema"), is_strict=True)
    return problems


def _problems_of_generate(path: str, headers: Mapping[str, str], body: Mapping[str, Any]) -> list[str]:
    problems = _wrong_fields(body, _GENERATE, {"contents"})
    unknown = set(body.get("generationConfig", {})) - _GENERATION
    if unknown:
        problems.append(f"generationConfig: unknown {sorted(unknown)}")
    if "x-goog-api-key" not in headers:
        problems.append("API key not valid")
    if "key=" in path:
        problems.append("the key stands in the address")
    generation = body.get("generationConfig", {})
    if "responseJsonSchema" in generation and generation.get("responseMimeType") != "application/json":
        problems.append("responseJsonSchema without responseMimeType")
    return problems


def _wrong_fields(body: Mapping[str, Any], known: Mapping[str, type], required: set[str]) -> list[str]:
    problems = [f"{name}: unknown field" for name in body if name not in known]
    problems += [f"{name}: required" for name in required - set(body)]
    for name, value in body.items():
        kind = known.get(name)
        is_number = kind is float and isinstance(value, int)
        if kind is not None and not isinstance(value, kind) and not is_number:
            problems.append(f"{name}: not a {kind.__name__}")
    return problems


def _schema_problems(schema: object, *, is_strict: bool) -> list[str]:
    if isinstance(schema, list):
        return [problem for part in schema for problem in _schema_problems(part, is_strict=is_strict)]
    if not isinstance(schema, Mapping):
        return []
    problems = []
    if is_strict and schema.get("type") == "object":
        if schema.get("additionalProperties") is not False:
            problems.append("additionalProperties: must be false")
        if set(schema.get("required", [])) != set(schema.get("properties", {})):
            problems.append("required: must name every property")
    for name, part in schema.items():
        if is_strict and name in _NOT_IN_STRICT:
            problems.append(f"{name}: not permitted")
        parts = list(part.values()) if name == "properties" else part
        problems += _schema_problems(parts, is_strict=is_strict)
    return problems


# --- answers ----------------------------------------------------------------------------------------------

_FINISH = {
    "openai": {"complete": "stop", "length": "length", "refusal": "stop", "filtered": "content_filter"},
    "anthropic": {
        "complete": "end_turn",
        "length": "max_tokens",
        "refusal": "refusal",
        "filtered": "refusal",
    },
    "gemini": {
        "complete": "STOP",
        "length": "MAX_TOKENS",
        "refusal": "SAFETY",
        "filtered": "PROHIBITED_CONTENT",
    },
}


def complete_answer(path: str, text: str, finish: str) -> dict[str, object]:
    """A whole answer as the service behind that path writes it."""
    wire = wire_of(path)
    reason = _FINISH[wire][finish]
    if wire == "gemini":
        if finish == "refusal":
            return {"promptFeedback": {"blockReason": "SAFETY"}, "modelVersion": "gemini-test"}
        return {
            "candidates": [{"content": {"role": "model", "parts": [{"text": text}]}, "finishReason": reason}],
            "usageMetadata": {"promptTokenCount": 11, "candidatesTokenCount": 7},
            "modelVersion": "gemini-test",
        }
    if wire == "anthropic":
        return {
            "type": "message",
            "role": "assistant",
            "model": "claude-test",
            "content": [{"type": "text", "text": text}],
            "stop_reason": reason,
            "usage": {"input_tokens": 11, "output_tokens": 7},
        }
    message: dict[str, object] = {"role": "assistant", "content": text}
    if finish == "refusal":
        message |= {"content": None, "refusal": "I'm sorry, but I can't help with that."}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": "served-model",
        "choices": [{"index": 0, "message": message, "finish_reason": reason}],
        "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18},
    }


def streamed_answer(path: str, text: str, finish: str) -> Iterator[str]:
    """The same as server-sent events, a few letters at a time."""
    wire = wire_of(path)
    reason = _FINISH[wire][finish]
    pieces = [text[at : at + 9] for at in range(0, len(text), 9)]
    if wire == "gemini":
        for piece in pieces:
            yield _event({"candidates": [{"content": {"role": "model", "parts": [{"text": piece}]}}]})
        last = {"candidates": [{"content": {"parts": [{"text": ""}]}, "finishReason": reason}]}
        yield _event({**last, "usageMetadata": {"promptTokenCount": 11, "candidatesTokenCount": 7}})
    elif wire == "anthropic":
        start = {"type": "message_start", "message": {"model": "claude-test", "usage": {"input_tokens": 11}}}
        yield _event(start, start["type"])
        yield _event({"type": "ping"}, "ping")
        for piece in pieces:
            delta = {
                "type": "content_block_delta",
                "index": 0,
                "delta": {"type": "text_delta", "text": piece},
            }
            yield _event(delta, delta["type"])
        end = {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": 7}}
        yield _event(end, end["type"])
        yield _event({"type": "message_stop"}, "message_stop")
    else:
        chunk = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "served-model"}
        yield _event({**chunk, "choices": [{"index": 0, "delta": {"role": "assistant"}}]})
        for piece in pieces:
            yield _event({**chunk, "choices": [{"index": 0, "delta": {"content": piece}}]})
        if finish == "refusal":
            yield _event({**chunk, "choices": [{"index": 0, "delta": {"refusal": "I'm sorry."}}]})
        yield _event({**chunk, "choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
        yield _event({**chunk, "choices": [], "usage": {"prompt_tokens": 11, "completion_tokens": 7}})
        yield "data: [DONE]\n\n"


def _event(data: Mapping[str, object], name: object = None) -> str:
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(data)}\n\n"
