"""What every provider may do instead of answering, over real HTTP in its own wire format.

The server refuses bodies that the real service would refuse (`testing/doubles/llm_wire.py`): each test checks those
too.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from dataclasses import replace

import pytest

from meeting_assistant.adapters.llm.http import JsonHttp
from meeting_assistant.adapters.llm.openai_chat import LOCAL, ModelChoice, OpenAiChat
from meeting_assistant.domain.errors import LlmError
from meeting_assistant.domain.llm_calls import LlmCall
from meeting_assistant.launcher import free_port
from meeting_assistant.services.llm.json_answers import extract_json
from meeting_assistant.services.llm.llm_service import LlmOptions, LLMService
from meeting_assistant.testing.doubles.llm_server import PROVIDER_SETTINGS, Answer, LlmServer
from meeting_assistant.testing.doubles.llm_wire import complete_answer
from meeting_assistant.testing.harness.llm_providers import ASK, GOOD, complete, service_for, short_timeout

Spoil = Callable[[LlmServer], object]

FAULTS: dict[str, tuple[Spoil, str, int]] = {
    "400": (lambda s: s.answer_with_status(400, {"error": {"message": "no"}}), "llm_rejected", 1),
    "401": (lambda s: s.answer_with_status(401, {"error": "Unauthorized"}), "llm_auth", 1),
    "404": (lambda s: s.answer_with_status(404, {"error": {"message": "no model"}}), "llm_model_missing", 1),
    "408": (lambda s: s.answer_with_status(408), "llm_unavailable", 3),
    "429 for a moment": (lambda s: s.answer_with_status(429, Retry_After="0"), "llm_rate_limited", 3),
    "429 for an hour": (lambda s: s.answer_with_status(429, Retry_After="3600"), "llm_rate_limited", 1),
    "500": (lambda s: s.answer_with_status(500, "oops"), "llm_unavailable", 3),
    "slow": (lambda s: s.never_answer(), "llm_timeout", 3),
    "dropped at once": (lambda s: s.drop(), "llm_unavailable", 3),
    "dropped half-way": (lambda s: s.drop(40, GOOD), "llm_unavailable", 3),
    "not JSON over HTTP": (lambda s: s.answer_with_status(200, "<html>sign in</html>"), "llm_bad_output", 1),
    "malformed JSON": (lambda s: s.answer_with('{"decisions": [}'), "llm_bad_output", 2),
    "truncated JSON": (lambda s: s.answer_with('{"decisions": ["sh', finish="length"), "llm_truncated", 1),
    "refusal": (lambda s: s.answer_with("", finish="refusal"), "llm_refused", 1),
    "filtered": (lambda s: s.answer_with("", finish="filtered"), "llm_refused", 1),
    "filtered before it is read": (
        lambda s: s.answer_with_status(400, {"error": {"code": "content_filter", "message": "no"}}),
        "llm_refused",
        1,
    ),
    "packed in a way that cannot be unpacked": (
        lambda s: s.answer_with_status(200, "{}", Content_Encoding="gzip"),
        "llm_bad_output",
        1,
    ),
    "nested without end": (lambda s: s.answer_with_status(200, "[" * 100_000), "llm_bad_output", 1),
    "dribbling": (lambda s: s.dribble(), "llm_timeout", 3),
}
"""Name to what the server does, how the failure is called, and how often one provider is asked in all."""


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", PROVIDER_SETTINGS)
async def test_a_failing_provider_is_retried_if_useful_and_then_replaced_by_the_next_one(
    name: str, fault: str
) -> None:
    spoil, _, attempts = FAULTS[fault]
    with LlmServer() as bad, LlmServer().answer_with(GOOD) as good:
        spoil(bad)
        reply = await complete(service_for(name, bad, good, **short_timeout(name, fault)))
        assert len(bad.requests) == attempts
        assert len(good.requests) == 1
    assert reply.provider == ("xai" if name == "openai" else "openai")


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", PROVIDER_SETTINGS)
async def test_a_failure_has_a_code_a_remedy_and_no_transcript_text(name: str, fault: str) -> None:
    spoil, code, _ = FAULTS[fault]
    with LlmServer() as bad:
        spoil(bad)
        with pytest.raises(LlmError) as caught:
            await complete(service_for(name, bad, llm_max_retries=0, **short_timeout(name, fault)))
    assert caught.value.causes == (code,)
    assert caught.value.remedy
    assert "Friday" not in str(caught.value)


@pytest.mark.parametrize("name", PROVIDER_SETTINGS)
async def test_each_provider_can_have_its_own_timeout(name: str) -> None:
    more = {
        "llm_options": {name: {"timeout_seconds": 0.2}},
        "llm_timeout_seconds": 3600,
        "llm_max_retries": 0,
    }
    with LlmServer().never_answer() as server:
        llm = service_for(name, server, None, **more)
        with pytest.raises(LlmError, match="did not answer in time"):
            await llm.complete(ASK, extract_json)
        await llm.close()


async def test_reasoning_text_is_not_part_of_an_answer() -> None:
    with LlmServer().answer_with('<think>{"decisions": ["no"]}?</think>{"decisions": ["ship"]}') as server:
        llm = service_for("vllm", server)
        answer = await llm.complete(ASK, extract_json)
        await llm.close()
    assert answer.value == {"decisions": ["ship"]}
    assert server.requests[0].body["chat_template_kwargs"] == {"enable_thinking": False}


async def test_a_silently_truncated_prompt_is_detected() -> None:
    """Ollama truncates long prompts; only its token count shows it."""
    whole = complete_answer("/v1/chat/completions", "{}", "complete")
    cut = {**whole, "usage": {"prompt_tokens": 2048, "completion_tokens": 2}}
    with LlmServer().answer_by(lambda request: Answer(json.dumps(cut), is_raw=True)) as server:
        llm = service_for("vllm", server)
        long = replace(ASK, user="what was said " * 4000)
        with pytest.raises(LlmError) as caught:
            await llm.complete(long, extract_json)
        await llm.close()
    assert caught.value.causes == ("llm_context_overflow",)
    assert caught.value.context_limit == 2048


async def test_localhost_is_reached_on_either_of_its_addresses() -> None:
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    with LlmServer().answer_with(GOOD) as server:
        llm = service_for("vllm", server, vllm_base_url=server.url.replace("127.0.0.1", "localhost"))
        await llm.complete(ASK, extract_json)
        await llm.close()


@pytest.mark.parametrize(
    ("settings", "path", "header"),
    [
        ({}, "/openai/v1/chat/completions", "api-key"),
        (
            {"azure_openai_api_version": "2024-10-21"},
            "/openai/deployments/minutes/chat/completions?api-version=2024-10-21",
            "api-key",
        ),
    ],
)
async def test_azure_requests_have_the_form_of_the_configured_api_version(
    settings: dict[str, object], path: str, header: str
) -> None:
    with LlmServer().answer_with(GOOD) as server:
        await complete(service_for("azure", server, None, **settings))
        (request,) = server.requests
    assert request.path == path
    assert request.headers[header] == "k"


async def test_the_context_window_comes_from_the_list_of_models() -> None:
    with LlmServer().serving("m", context_tokens=32_768) as server:
        llm = service_for("vllm", server)
        assert await llm.context_tokens() == 32_768
        assert await llm.context_tokens() == 32_768
        await llm.close()
        assert len(server.looks) == 1, "asked for once"


@pytest.mark.parametrize("name", PROVIDER_SETTINGS)
async def test_an_endless_answer_is_cut_off(name: str) -> None:
    with LlmServer().answer_with_status(200, "x" * (9 * 2**20)) as server:
        llm = service_for(name, server, llm_max_retries=0)
        with pytest.raises(LlmError, match="more than 8 MiB"):
            await llm.complete(ASK, extract_json)
        with pytest.raises(LlmError, match="more than 8 MiB"):
            async for _ in llm.stream(ASK):
                pass
        await llm.close()


async def test_the_usage_of_a_repaired_answer_includes_both_requests() -> None:
    with LlmServer().answer_with("no JSON").answer_with(GOOD) as server:
        reply = await complete(service_for("vllm", server))
    assert (reply.prompt_tokens, reply.completion_tokens) == (22, 14)


class RecordedCalls:
    """Call records in memory."""

    def __init__(self) -> None:
        self.calls: dict[str, LlmCall] = {}

    async def started(self, call: LlmCall) -> None:
        self.calls[call.id] = call

    async def finished(self, call: LlmCall) -> None:
        self.calls[call.id] = call

    async def cancelled(self, call: LlmCall) -> None:
        del self.calls[call.id]

    async def of_meeting(self, meeting_id: str) -> list[LlmCall]:
        return list(self.calls.values())


@pytest.mark.parametrize("fault", ["gone", "strange", "fails"])
async def test_an_unconfigured_server_is_recorded_and_logged_only_if_it_was_sent_content(
    fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    recorded = RecordedCalls()
    with LlmServer().answer_with_status(500) as server:
        if fault != "strange":
            server.serving("m")
        url = f"http://127.0.0.1:{free_port()}" if fault == "gone" else server.url
        http = JsonHttp("vllm", url, {}, timeout_s=30)
        chat = OpenAiChat(
            "vllm",
            http=http,
            url=f"{url}/v1/chat/completions",
            model=ModelChoice("m", is_chosen=False, models_url=f"{url}/v1/models", probe_first=True),
            dialect=LOCAL,
            is_local=True,
        )
        llm = LLMService([chat], LlmOptions(optional=frozenset({"vllm"})), calls=recorded)
        with pytest.raises(LlmError):
            await llm.complete(replace(ASK, meeting_ids=("meeting",)), extract_json)
        await llm.close()
    assert [call.outcome for call in recorded.calls.values()] == (
        ["llm_unavailable"] if fault == "fails" else []
    )
    assert ("A language model gave no usable answer." in caplog.text) is (fault == "fails")
