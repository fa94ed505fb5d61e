"""Servers that read less than they were sent and do not say so, and models that read very little."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import date
from typing import Any

import pytest

from meeting_assistant.adapters.minutes_rules.due_phrases import resolve_due
from meeting_assistant.bootstrap.language_models import build_llm_service
from meeting_assistant.config import Settings
from meeting_assistant.domain.errors import LlmError
from meeting_assistant.domain.meeting import Meeting, MeetingState
from meeting_assistant.domain.minutes import Minutes
from meeting_assistant.domain.transcript import Speaker, Transcript, Utterance
from meeting_assistant.services.minutes.draft import Draft
from meeting_assistant.services.minutes.llm_minutes import LlmMinutes, MinutesTask
from meeting_assistant.testing.doubles.llm_server import Answer, LlmServer, SeenRequest, lines_of

LETTERS_TO_A_TOKEN = 4.4
"""Of a large vocabulary in English prose; the estimate is 3.6."""
MEETING = Meeting(id="m", title="Tickets", state=MeetingState.PROCESSING, source="live", created_at_ms=0)
DECIDED = range(9, 230, 20)
LINES = [
    f"We decided to close ticket number {n} for good."
    if n in DECIDED
    else f"Then we talked about part {n} of the plan, its costs and who could look after it."
    for n in range(1, 231)
]
NOTHING: dict[str, Any] = {
    name: []
    for name in ("summary", "topics", "decisions", "action_items", "open_questions", "risks", "taken_back")
}


def transcript_of(lines: Sequence[str]) -> Transcript:
    return Transcript(
        utterances=[
            Utterance(utterance=n, start_ms=n * 1000, end_ms=n * 1000 + 900, speaker="S1", text=text)
            for n, text in enumerate(lines, start=1)
        ],
        speakers=[Speaker(label="S1")],
    )


def reader(window: int, keeps: int, seen: list[int]) -> Callable[[SeenRequest], Answer]:
    """A model whose server keeps the last tokens of what is longer than its window, and counts those."""

    def answer(request: SeenRequest) -> Answer:
        text = "".join(message["content"] for message in request.body["messages"])
        sent = int(len(text) / LETTERS_TO_A_TOKEN) + 25
        seen.append(sent)
        counted = sent if sent <= window else keeps
        kept = text[-int(counted * LETTERS_TO_A_TOKEN) :]
        decided = [
            {"lines": [number], "quote": words.partition("| ")[2], "text": words.partition("| ")[2]}
            for number, words in lines_of(request)
            if words.partition("| ")[2].startswith("We decided") and words in kept
        ]
        is_probe = '{"ok": true}' in request.body["messages"][-1]["content"][-60:]
        content = {"ok": True} if is_probe else {**NOTHING, "decisions": decided}
        body = {
            "choices": [{"message": {"content": json.dumps(content)}, "finish_reason": "stop"}],
            "model": "m",
            "usage": {"prompt_tokens": counted, "completion_tokens": 50},
        }
        return Answer(json.dumps(body), is_raw=True)

    return answer


async def write(server: LlmServer, lines: Sequence[str], **settings: object) -> Minutes:
    values = {"vllm_base_url": server.url, "vllm_model_id": "m", "llm_max_retries": 0, **settings}
    llm = build_llm_service(Settings.model_validate({"llm_provider_order": ("vllm",), **values}))
    try:
        task = MinutesTask(MEETING, date(2026, 11, 19))
        return await LlmMinutes(llm, resolve_due).write(task, transcript_of(lines), Draft())
    finally:
        await llm.close()


@pytest.mark.parametrize(
    ("window", "keeps"),
    [(3800, 3800), (3584, 3584), (3072, 3072), (2816, 2816), (3584, 1792), (3584, 2700)],
    ids=str,
)
async def test_a_server_that_cuts_silently_is_found_and_gets_a_few_smaller_parts(
    window: int, keeps: int
) -> None:
    sent: list[int] = []
    with LlmServer().answer_by(reader(window, keeps, sent)) as server:
        minutes = await write(server, LINES)
    assert max(sent) > window, "the first part is too long for it"
    found = [decision.evidence[0].utterance for decision in minutes.decisions]
    assert found == list(DECIDED), "nothing that was cut off is missing"
    assert len(sent) <= 10


async def test_a_server_that_reads_everything_is_measured_once_for_a_meeting() -> None:
    """Its vocabulary is larger than was thought, so its counts look small."""
    sent: list[int] = []
    with LlmServer().answer_by(reader(100_000, 0, sent)) as server:
        minutes = await write(server, LINES * 3, llm_options={"vllm": {"context_tokens": 8192}})
        probes = [
            r for r in server.requests if r.body.get("response_format", {})["json_schema"]["name"] == "health"
        ]
    assert len(minutes.decisions) == 3 * len(DECIDED)
    assert len(probes) == 1


async def test_a_server_that_names_its_window_is_not_measured() -> None:
    sent: list[int] = []
    with LlmServer().serving("m", context_tokens=32_768).answer_by(reader(32_768, 0, sent)) as server:
        await write(server, LINES)
    assert len(sent) == 1


async def test_a_model_that_reads_next_to_nothing_is_not_asked_line_by_line() -> None:
    refusal = {"error": {"message": "This model's maximum context length is 1024 tokens."}}
    with LlmServer().answer_with_status(400, refusal) as server:
        with pytest.raises(LlmError, match="too short to write minutes from"):
            await write(server, LINES * 4)
        assert len(server.requests) <= 8


async def test_a_named_window_is_filled_as_far_as_it_goes() -> None:
    """It is refused once; from then on parts fit."""
    sent: list[int] = []
    read = reader(100_000, 0, sent)

    def answer(request: SeenRequest) -> Answer:
        text = "".join(message["content"] for message in request.body["messages"])
        if len(text) / LETTERS_TO_A_TOKEN + request.body["max_tokens"] > 4096:
            return Answer(
                '{"error": "Prompt length 9000 is greater than max_seq_len 4096"}', 400, is_raw=True
            )
        return read(request)

    with LlmServer().answer_by(answer) as server:
        minutes = await write(server, LINES)
        assert len(server.requests) <= 8
    assert len(minutes.decisions) == len(DECIDED)
