"""Our client against a real llama-server that holds a model of random weights to our schemas.

Run by `make test-llm-server`, which builds the server (a quarter of an hour); skipped without it.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from datetime import date
from pathlib import Path

import httpx
import pytest

from meeting_assistant.adapters.minutes_rules.due_phrases import resolve_due
from meeting_assistant.bootstrap.language_models import build_llm_service
from meeting_assistant.config import Settings
from meeting_assistant.domain.errors import LlmError
from meeting_assistant.domain.meeting import Meeting, MeetingState
from meeting_assistant.domain.ports import LlmReply, LlmRequest
from meeting_assistant.domain.transcript import Transcript, Utterance
from meeting_assistant.launcher import free_port
from meeting_assistant.services.llm.json_answers import parser_of
from meeting_assistant.services.llm.llm_service import LLMService
from meeting_assistant.services.minutes.draft import Draft
from meeting_assistant.services.minutes.llm_minutes import LlmMinutes, MinutesTask
from meeting_assistant.services.minutes.prompts import answer_model, system_prompt, wire_schema
from meeting_assistant.services.minutes.questions.prompt import ModelAnswer
from meeting_assistant.services.minutes.templates import TEMPLATES

FOLDER = "TEST_LLM_SERVER"
KEY = "sekrit"


@pytest.fixture(scope="module")
def llama() -> Iterator[str]:
    """Address of the server."""
    folder = Path(os.environ.get(FOLDER, "nowhere"))
    if not (folder / "llama-server").exists():
        pytest.skip(f"{FOLDER} names no folder with a llama-server: run `make test-llm-server`")
    port = free_port()
    model = (
        "-m",
        str(folder / "tiny.gguf"),
        "--alias",
        "meta-llama-3-8b-instruct",
        "-c",
        "16384",
        "-np",
        "1",
    )
    options = ("--host", "127.0.0.1", "--port", str(port), "--api-key", KEY, "--no-webui", "-t", "1")
    with subprocess.Popen(
        [str(folder / "llama-server"), *model, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as running:
        url = f"http://127.0.0.1:{port}"
        try:
            wait_until_ready(url, running)
            yield url
        finally:
            running.terminate()


def wait_until_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    with httpx.Client(transport=httpx.HTTPTransport(retries=20)) as client:
        while process.poll() is None:
            if client.get(f"{url}/health").status_code == 200:
                return
    pytest.fail("llama-server ended before it was ready")


@pytest.fixture
async def llm(llama: str) -> AsyncIterator[LLMService]:
    values = {"vllm_base_url": llama, "vllm_api_key": KEY, "llm_max_retries": 0}
    service = build_llm_service(Settings.model_validate(values))
    yield service
    await service.close()


@pytest.mark.parametrize("number", range(10))
async def test_every_answer_matches_its_schema(llm: LLMService, number: int) -> None:
    """Ten of ten, for the schemas of ten different questions."""
    template = list(TEMPLATES.values())[number % len(TEMPLATES)]
    model = answer_model(template)
    request = LlmRequest(
        system=system_prompt("en", template),
        user=f"1|Ana| We ship version {number} on Friday.",
        schema=wire_schema(model),
        schema_name="minutes",
        max_output_tokens=6000,
    )
    reply = (await llm.complete(request, parser_of(model))).reply
    assert reply.prompt_tokens
    assert reply.completion_tokens


async def test_a_streamed_answer_matches_its_schema(llm: LLMService) -> None:
    request = LlmRequest(
        system="Answer.",
        user="Why?",
        schema=wire_schema(ModelAnswer),
        schema_name="answer",
        max_output_tokens=6000,
    )
    *pieces, reply = [piece async for piece in llm.stream(request)]
    assert isinstance(reply, LlmReply)
    assert len(pieces) > 1
    ModelAnswer.model_validate_json(reply.text)


async def test_the_context_window_of_the_server_is_known(llm: LLMService) -> None:
    assert await llm.context_tokens() == 16_384


async def test_a_prompt_that_is_too_long_is_reported_with_the_limit(llm: LLMService) -> None:
    with pytest.raises(LlmError) as caught:
        await llm.complete(LlmRequest(system="Read.", user="words " * 5000), str)
    assert caught.value.causes == ("llm_context_overflow",)
    assert caught.value.context_limit == 16_384


async def test_a_truncated_answer_is_an_error(llm: LLMService) -> None:
    short = LlmRequest(system="Answer.", user="Why?", schema=wire_schema(ModelAnswer), max_output_tokens=3)
    with pytest.raises(LlmError) as caught:
        await llm.complete(short, str)
    assert caught.value.causes == ("llm_truncated",)


async def test_a_wrong_key_is_refused(llama: str) -> None:
    service = build_llm_service(Settings.model_validate({"vllm_base_url": llama, "vllm_api_key": "wrong"}))
    with pytest.raises(LlmError, match="refused the key"):
        await service.complete(LlmRequest(system="s", user="u"), str)
    await service.close()


async def test_a_random_model_puts_nothing_into_the_minutes(llm: LLMService) -> None:
    meeting = Meeting(id="m", title="", state=MeetingState.PROCESSING, source="live", created_at_ms=0)
    utterance = Utterance(utterance=1, start_ms=0, end_ms=900, text="We ship version 3 on Friday.")
    try:
        minutes = await LlmMinutes(llm, resolve_due).write(
            MinutesTask(meeting, date(2026, 11, 19)), Transcript(utterances=[utterance]), Draft()
        )
    except LlmError:
        return  # it talked until it was cut off: no minutes either
    assert list(minutes.items()) == []
