"""Servers that refuse a parameter, over real HTTP: asked again without it, and remembered."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from meeting_assistant.bootstrap.language_models import build_llm_service
from meeting_assistant.config import Settings
from meeting_assistant.domain.errors import LlmError
from meeting_assistant.domain.ports import LlmReply, LlmRequest
from meeting_assistant.services.llm.json_answers import parser_of
from meeting_assistant.services.llm.llm_service import LLMService
from meeting_assistant.services.minutes.prompts import wire_schema
from meeting_assistant.services.minutes.questions.prompt import ModelAnswer
from meeting_assistant.testing.doubles.llm_server import PROVIDER_SETTINGS, Answer, LlmServer, SeenRequest
from meeting_assistant.testing.doubles.llm_wire import complete_answer

ASK = LlmRequest(system="You answer.", user="When?", schema=wire_schema(ModelAnswer), schema_name="answer")
GOOD = {"is_found": False, "sentences": []}
parse = parser_of(ModelAnswer)


def service(name: str, server: LlmServer, **more: object) -> LLMService:
    values = {setting: value.format(url=server.url) for setting, value in PROVIDER_SETTINGS[name].items()}
    options = {"llm_provider_order": (name,), "llm_backoff_seconds": 0, **more}
    return build_llm_service(Settings.model_validate({**values, **options}))


def refusing(has: Callable[[Any], bool], status: int, words: str) -> Callable[[SeenRequest], Answer]:
    """A server that refuses bodies with something in them."""

    def answer(request: SeenRequest) -> Answer:
        if has(request.body):
            return Answer(json.dumps({"error": {"message": words}}), status, is_raw=True)
        return Answer(json.dumps(GOOD))

    return answer


def has_system(body: Any) -> bool:
    return any(message["role"] == "system" for message in body.get("messages", []))


CASES: dict[str, tuple[str, Callable[[Any], bool], str]] = {
    "thinking switch": ("vllm", lambda b: "chat_template_kwargs" in b, "Unrecognized: chat_template_kwargs"),
    "max_tokens": (
        "vllm",
        lambda b: "max_tokens" in b,
        "max_tokens is not supported, use max_completion_tokens",
    ),
    "temperature": ("vllm", lambda b: "temperature" in b, "temperature does not support 0.0 with this model"),
    "system role": ("vllm", has_system, "System role not supported"),
    "max_completion_tokens": (
        "openai",
        lambda b: "max_completion_tokens" in b,
        "Unrecognized request argument: max_completion_tokens",
    ),
    "any limit": (
        "openai",
        lambda b: bool(b.keys() & {"max_tokens", "max_completion_tokens"}),
        "max_tokens and max_completion_tokens are not supported",
    ),
    "json_schema": (
        "openai",
        lambda b: b.get("response_format", {}).get("type") == "json_schema",
        "response_format of type json_schema is not supported",
    ),
    "any format": ("azure", lambda b: "response_format" in b, "response_format is not supported"),
    "output_config": (
        "anthropic",
        lambda b: "output_config" in b,
        "output_config: Extra inputs are not permitted",
    ),
    "instructions": (
        "gemini",
        lambda b: "systemInstruction" in b,
        "Developer instruction is not enabled for models/gemma",
    ),
    "responseJsonSchema": (
        "gemini",
        lambda b: "responseJsonSchema" in b["generationConfig"],
        "Unknown name responseJsonSchema",
    ),
    "JSON mode": (
        "gemini",
        lambda b: "responseMimeType" in b["generationConfig"],
        "JSON mode is not enabled for models/gemma",
    ),
}


@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize("case", CASES)
async def test_the_question_is_asked_without_what_is_refused_and_so_are_later_ones(
    case: str, status: int
) -> None:
    name, has, words = CASES[case]
    with LlmServer().answer_by(refusing(has, status, words)) as server:
        llm = service(name, server)
        await llm.complete(ASK, parse)
        first = len(server.requests)
        await llm.complete(ASK, parse)
        *_, reply = [piece async for piece in llm.stream(ASK)]
        await llm.close()
        assert isinstance(reply, LlmReply)
        assert len(server.requests) == first + 2, "what is refused is remembered, for streams as well"
        body = json.dumps(server.requests[-1].body)
        assert not has(server.requests[-1].body)
    assert "You answer." in body, "the instructions are not lost"
    assert "is_found" in body, "nor is the schema"


async def test_a_stream_finds_out_what_is_refused() -> None:
    _, has, words = CASES["system role"]
    with LlmServer().answer_by(refusing(has, 400, words)) as server:
        llm = service("vllm", server)
        *_, reply = [piece async for piece in llm.stream(ASK)]
        await llm.close()
        assert isinstance(reply, LlmReply)
        assert len(server.requests) == 2


async def test_several_parameters_are_left_out_one_after_the_other() -> None:
    def old(request: SeenRequest) -> Answer:
        for field in ("chat_template_kwargs", "response_format", "temperature"):
            if field in request.body:
                return Answer(json.dumps({"error": f"Unknown field {field}"}), 400, is_raw=True)
        return Answer(json.dumps(GOOD))

    with LlmServer().answer_by(old) as server:
        llm = service("vllm", server)
        await llm.complete(ASK, parse)
        await llm.close()
        assert len(server.requests) == 5, "the form of JSON goes in two steps"


async def test_a_bare_internal_error_over_the_form_of_json_is_found_by_the_attempts_that_are_made_anyway() -> (
    None
):
    def crashes(request: SeenRequest) -> Answer:
        if request.body.get("response_format", {}).get("type") == "json_schema":
            return Answer("Internal Server Error", 500, is_raw=True)
        return Answer(json.dumps(GOOD))

    with LlmServer().answer_by(crashes) as server:
        llm = service("vllm", server)
        for _ in range(3):
            await llm.complete(ASK, parse)
        await llm.close()
        forms = [request.body["response_format"]["type"] for request in server.requests]
    assert forms == ["json_schema", "json_object", "json_schema", "json_object", "json_object"]


async def test_an_error_that_is_about_nothing_changes_nothing() -> None:
    with LlmServer().answer_with_status(400, {"error": {"message": "Unknown parameter"}}) as server:
        llm = service("vllm", server)
        with pytest.raises(LlmError):
            await llm.complete(ASK, parse)
        server.forget().answer_with(GOOD)
        await llm.complete(ASK, parse)
        await llm.close()
        (request,) = server.requests
    assert request.body["response_format"]["type"] == "json_schema"
    assert request.body["chat_template_kwargs"] == {"enable_thinking": False}


async def test_a_server_that_does_not_stream_is_understood() -> None:
    whole = json.dumps(complete_answer("/v1/chat/completions", json.dumps(GOOD), "complete"))
    with LlmServer().answer_by(lambda request: Answer(whole, is_raw=True)) as server:
        llm = service("vllm", server)
        *_, reply = [piece async for piece in llm.stream(ASK)]
        await llm.close()
    assert isinstance(reply, LlmReply)
    assert parse(reply.text).is_found is False


async def test_a_failure_with_status_200_is_what_it_says() -> None:
    body = {"error": {"code": 429, "message": "Rate limit reached"}}
    with LlmServer().answer_with_status(200, body) as server:
        llm = service("openai", server, llm_max_retries=0)
        with pytest.raises(LlmError) as caught:
            await llm.complete(ASK, parse)
        await llm.close()
    assert caught.value.causes == ("llm_rate_limited",)
