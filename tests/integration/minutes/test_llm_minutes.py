"""Minutes by a language model over real HTTP: what is believed of its answer, and what happens if it fails."""

from __future__ import annotations

import asyncio
from datetime import date
from pathlib import Path

import pytest

from meeting_assistant.adapters.llm.http import JsonHttp
from meeting_assistant.adapters.llm.openai_chat import LOCAL, ModelChoice, OpenAiChat
from meeting_assistant.adapters.minutes_rules.due_phrases import resolve_due
from meeting_assistant.bootstrap.language_models import build_llm_service
from meeting_assistant.client import LiveClient, paced
from meeting_assistant.config import Settings
from meeting_assistant.domain.errors import LlmError
from meeting_assistant.domain.ports import LlmRequest
from meeting_assistant.launcher import ServerProcess
from meeting_assistant.services.minutes.draft import Draft
from meeting_assistant.services.minutes.llm_minutes import LlmMinutes, MinutesTask
from meeting_assistant.testing.doubles.llm_server import LlmServer
from meeting_assistant.testing.harness.llm_minutes import (
    ANSWER,
    EMPTY_ANSWER,
    LINES,
    MEETING,
    THURSDAY,
    transcript_of,
    write_minutes,
)


async def test_items_have_a_quotation_an_owner_and_a_due_date() -> None:
    with LlmServer().answer_with(ANSWER) as server:
        minutes = await write_minutes(server)
    assert [d.text for d in minutes.decisions] == ["Ship version 3 on the first of December."]
    (action,) = minutes.action_items
    assert (action.owner, action.due, action.due_phrase) == ("S1", date(2026, 11, 20), "by Friday")
    assert action.evidence[0].quote == "I will write the release notes by Friday"
    assert [q.id for q in minutes.open_questions] == ["q1"]
    provenance = minutes.provenance
    assert (provenance.provider, provenance.model, provenance.prompt_tokens) == ("vllm", "served-model", 11)
    assert provenance.dropped_items == 0


async def test_a_day_that_is_not_in_the_transcript_is_not_a_due_date() -> None:
    heard = "I will write the release notes by the 14th of December."
    action = {**ANSWER["action_items"][0], "lines": [1], "quote": heard}
    wrong = {**EMPTY_ANSWER, "action_items": [{**action, "due": "by the 18th of December"}]}
    right = {**EMPTY_ANSWER, "action_items": [{**action, "due": "by the fourteenth of December"}]}
    for answer, due in ((wrong, None), (right, date(2026, 12, 14))):
        with LlmServer().answer_with(answer) as server:
            (item,) = (await write_minutes(server, transcript_of([heard]))).action_items
        assert item.due == due
        assert (item.due_phrase is None) is (due is None)


async def test_an_invalid_answer_is_sent_back_once_with_the_problem() -> None:
    broken = {**EMPTY_ANSWER, "decisions": [{"lines": ["two"], "quote": "x", "text": "y"}]}
    with LlmServer().answer_with(broken).answer_with(ANSWER) as server:
        minutes = await write_minutes(server)
        first, second = server.requests
    assert len(minutes.decisions) == 1
    assert "could not be used: decisions.0.lines.0" in second.body["messages"][1]["content"]
    assert second.body["messages"][0] == first.body["messages"][0]


async def test_a_model_with_repeated_invalid_answers_is_replaced_by_the_next_one() -> None:
    with LlmServer().answer_with({"no": "minutes"}) as broken, LlmServer().answer_with(ANSWER) as good:
        minutes = await write_minutes(broken, openai_api_key="k", openai_base_url=good.url)
        assert len(broken.requests) == 2
    assert minutes.provenance.provider == "openai"


async def test_minutes_in_another_language_are_checked_against_the_transcript() -> None:
    """Only numbers, days and names can be checked."""
    answer = {
        **EMPTY_ANSWER,
        "summary": [{"lines": [2], "text": "Version 3 wird am ersten Dezember ausgeliefert."}],
        "topics": ["Auslieferung", "Das Passwort hunter2"],
        "decisions": [
            {"lines": [2], "quote": LINES[1], "text": "Version 3 wird am ersten Dezember ausgeliefert."},
            {"lines": [2], "quote": LINES[1], "text": "Version 4 wird am ersten Dezember ausgeliefert."},
            {"lines": [2], "quote": LINES[1], "text": "Version 3 wird nicht ausgeliefert."},
        ],
    }
    with LlmServer().answer_with(answer) as server:
        llm = build_llm_service(Settings.model_validate({"vllm_base_url": server.url, "vllm_model_id": "m"}))
        minutes = await LlmMinutes(llm, resolve_due).write(
            MinutesTask(MEETING, THURSDAY), transcript_of(), Draft(language="de")
        )
        await llm.close()
    assert [d.text for d in minutes.decisions] == ["Version 3 wird am ersten Dezember ausgeliefert."]
    assert len(minutes.summary) == 1
    assert minutes.topics == ["Auslieferung"]
    assert minutes.provenance.dropped_items == 3


async def test_provenance_names_every_provider_that_contributed() -> None:
    transcript = transcript_of(
        [f"Sentence number {n} about the project and its many parts." for n in range(1, 601)]
    )
    with (
        LlmServer().answer_with(EMPTY_ANSWER).answer_with_status(400, "no") as first,
        LlmServer().answer_with(EMPTY_ANSWER) as second,
    ):
        minutes = await write_minutes(first, transcript, openai_api_key="k", openai_base_url=second.url)
    assert minutes.provenance.provider == "openai"
    assert minutes.provenance.others == ["vllm"]


async def test_duplicate_items_are_merged() -> None:
    twice = {**ANSWER, "decisions": ANSWER["decisions"] * 2}
    with LlmServer().answer_with(twice) as server:
        assert len((await write_minutes(server)).decisions) == 1


async def test_a_dead_server_does_not_delay_every_meeting() -> None:
    with LlmServer().answer_with_status(500) as dead, LlmServer().answer_with(EMPTY_ANSWER) as good:
        settings = Settings.model_validate(
            {
                "vllm_base_url": dead.url,
                "vllm_model_id": "m",
                "openai_api_key": "k",
                "openai_base_url": good.url,
                "llm_backoff_seconds": 0,
                "llm_max_retries": 0,
            }
        )
        llm = build_llm_service(settings)
        for _ in range(6):
            await LlmMinutes(llm, resolve_due).write(MinutesTask(MEETING, THURSDAY), transcript_of(), Draft())
        await llm.close()
        assert len(dead.requests) == 3
        assert len(good.requests) == 6


async def test_if_all_providers_fail_every_cause_is_named() -> None:
    with (
        LlmServer().answer_with_status(401) as first,
        LlmServer().answer_with_status(404) as second,
        pytest.raises(LlmError, match=r"^Failed to get LLM response\. vllm .*401.* openai .*404") as failed,
    ):
        await write_minutes(first, openai_api_key="k", openai_base_url=second.url)
    assert failed.value.remedy


def test_a_meeting_gets_minutes_of_the_model_or_rule_based_ones_and_the_reason(
    tmp_path: Path, hello: bytes
) -> None:
    heard = {
        **EMPTY_ANSWER,
        "decisions": [{"lines": [1], "quote": "we meet on Monday", "text": "Meet on Monday."}],
    }
    with LlmServer().answer_with(heard).answer_with_status(401) as model:
        env = {"VLLM_BASE_URL": model.url, "VLLM_MODEL_ID": "m", "LLM_BACKOFF_SECONDS": "0"}
        with ServerProcess(tmp_path / "data", env) as server:
            by_model = asyncio.run(LiveClient(server.ws_url).stream(paced(hello, is_fast=True)))
            by_rules = asyncio.run(LiveClient(server.ws_url).stream(paced(hello, is_fast=True)))
    assert by_model["minutes"]["provenance"]["provider"] == "vllm"
    assert by_model["errors"] == []
    assert by_rules["minutes"]["provenance"]["provider"] == "embedded"
    (error,) = by_rules["errors"]
    assert error["stage"] == "minutes"
    assert error["message"].startswith("Failed to get LLM response.")
    assert "API key" in error["remedy"]


async def test_an_unconfigured_server_is_sent_nothing_before_it_lists_its_models() -> None:
    """Another program may listen on the default port of vLLM."""
    with LlmServer().answer_with_status(404) as stranger:
        http = JsonHttp("vllm", stranger.url, {}, timeout_s=5)
        chat = OpenAiChat(
            "vllm",
            http=http,
            url=f"{stranger.url}/v1/chat/completions",
            model=ModelChoice("m", is_chosen=False, models_url=f"{stranger.url}/v1/models", probe_first=True),
            dialect=LOCAL,
            is_local=True,
        )
        with pytest.raises(LlmError):
            await chat.complete(LlmRequest(system="s", user="what was said"))
        await chat.close()
        assert stranger.requests == []
        assert [look.path for look in stranger.looks] == ["/v1/models"]
