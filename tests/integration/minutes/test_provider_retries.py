"""How often a provider is retried, and the pauses in between."""

from __future__ import annotations

import socket
from email.utils import formatdate
from typing import Any

import pytest

from meeting_assistant.adapters.llm.http import JsonHttp
from meeting_assistant.adapters.llm.openai_chat import LOCAL, ModelChoice, OpenAiChat
from meeting_assistant.domain.errors import LlmError
from meeting_assistant.net.backoff import Backoff
from meeting_assistant.services.llm.json_answers import extract_json
from meeting_assistant.services.llm.llm_service import LlmOptions, LLMService
from meeting_assistant.testing.doubles.llm_server import LlmServer
from meeting_assistant.testing.harness.llm_providers import ASK, GOOD, complete, service_for, short_timeout


async def test_retry_after_can_be_a_date() -> None:
    soon = formatdate(usegmt=True)
    with LlmServer().answer_with_status(429, Retry_After=soon).answer_with(GOOD) as server:
        await complete(service_for("vllm", server))
        assert len(server.requests) == 2


async def test_an_invalid_key_is_not_tried_for_every_meeting() -> None:
    with LlmServer().answer_with_status(401) as server:
        llm = service_for("vllm", server)
        for _ in range(3):
            with pytest.raises(LlmError, match="refused the key"):
                await llm.complete(ASK, extract_json)
        await llm.close()
        assert len(server.requests) == 1


def waiting(server: LlmServer, *, jitter: float = 0.0, **more: Any) -> tuple[LLMService, list[float]]:
    """Return a service that records its pauses instead of waiting."""
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    http = JsonHttp("vllm", server.url, {}, timeout_s=30)
    chat = OpenAiChat(
        "vllm",
        http=http,
        url=f"{server.url}/v1/chat/completions",
        model=ModelChoice("m"),
        dialect=LOCAL,
        is_local=True,
    )
    options = LlmOptions(max_retries=4, backoff=Backoff(first_s=0.5, jitter=jitter))
    return LLMService([chat], options, sleep=sleep, **more), pauses


async def test_pauses_between_retries_double() -> None:
    with LlmServer().answer_with_status(500) as server:
        llm, pauses = waiting(server)
        with pytest.raises(LlmError):
            await complete(llm)
    assert pauses == [0.5, 1.0, 2.0, 4.0]


async def test_jitter_spreads_retries() -> None:
    with LlmServer().answer_with_status(500) as server:
        llm, pauses = waiting(server, jitter=0.2)
        with pytest.raises(LlmError):
            await complete(llm)
    whole = [0.5, 1.0, 2.0, 4.0]
    assert all(0.8 * full <= pause <= full for pause, full in zip(pauses, whole, strict=True))
    assert pauses != whole


@pytest.mark.parametrize(
    ("asked_for", "pauses"), [("7", [7.0]), ("0.1", [0.5]), ("nan", [0.5]), ("soon", [0.5]), ("-3", [0.5])]
)
async def test_retry_after_can_lengthen_a_pause_but_not_shorten_it(
    asked_for: str, pauses: list[float]
) -> None:
    with LlmServer().answer_with_status(429, Retry_After=asked_for).answer_with(GOOD) as server:
        llm, waited = waiting(server)
        await complete(llm)
    assert waited == pauses


@pytest.mark.parametrize("asked_for", ["21", "inf", "1e400"])
async def test_no_request_waits_longer_than_twenty_seconds(asked_for: str) -> None:
    with LlmServer().answer_with_status(429, Retry_After=asked_for).answer_with(GOOD) as server:
        llm, waited = waiting(server)
        with pytest.raises(LlmError, match="asked too often"):
            await complete(llm)
    assert waited == []


async def test_a_hanging_server_is_not_retried_for_every_meeting() -> None:
    with LlmServer().never_answer() as hung, LlmServer().answer_with(GOOD) as good:
        llm = service_for("vllm", hung, good, **short_timeout("vllm", "slow"))
        for _ in range(4):
            await llm.complete(ASK, extract_json)
        await llm.close()
        assert len(hung.requests) == 3
        assert len(good.requests) == 4


async def test_a_server_that_does_not_list_its_models_counts_as_a_failed_attempt() -> None:
    with socket.socket() as silent, LlmServer().answer_with(GOOD) as good:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        llm = service_for("vllm", good, good, vllm_base_url=url, **short_timeout("vllm", "slow"))
        for _ in range(3):
            await llm.context_tokens()
        await llm.complete(ASK, extract_json)
        await llm.close()
        assert len(good.requests) == 1
