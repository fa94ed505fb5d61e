"""Long transcripts are read in parts, each of a size that the model can read."""

from __future__ import annotations

import json
import re

import pytest

from meeting_assistant.adapters.minutes_rules.due_phrases import resolve_due
from meeting_assistant.bootstrap.language_models import build_llm_service
from meeting_assistant.config import Settings
from meeting_assistant.services.minutes.draft import Draft
from meeting_assistant.services.minutes.llm_minutes import LlmMinutes, MinutesTask
from meeting_assistant.testing.doubles.llm_server import Answer, LlmServer, SeenRequest, lines_of
from meeting_assistant.testing.harness.llm_minutes import (
    ANSWER,
    EMPTY_ANSWER,
    MEETING,
    THURSDAY,
    transcript_of,
    write_minutes,
)


def cited_lines(user: str) -> list[int]:
    """Return the numbers of the lines that can be cited."""
    return [int(number) for number in re.findall(r"^(\d+)\|", user[user.rindex("<<<") :], re.MULTILINE)]


SCRIPTS = {
    "en": ("the team went through the numbers of the quarter and moved on", 4.0),
    "ru": ("команда обсудила показатели за квартал и пошла дальше", 2.0),
    "hi": ("टीम ने तिमाही के आंकड़ों पर चर्चा की और आगे बढ़ गई", 1.2),
    "zh": ("团队讨论了季度数字然后继续往下进行", 0.8),
}
"""What is said again and again, and letters to a token in a large vocabulary at the worst."""


@pytest.mark.parametrize("script", SCRIPTS)
async def test_three_hours_fit_a_small_context_window_without_a_request_too_long(
    script: str,
) -> None:
    """The model counts tokens of its own; every tenth utterance is a monologue."""
    talk, letters = SCRIPTS[script]
    context = 8192
    lines = [f"Point {n}: " + " ".join([talk] * (12 if n % 10 == 5 else 1)) + "." for n in range(1, 2401)]
    for n in range(100, 2401, 100):
        lines[n - 1] = f"We decided to close ticket number {n} for good."
    too_long: list[int] = []

    def reads(request: SeenRequest) -> Answer:
        prompts = "".join(m["content"] for m in request.body["messages"])
        prompts += json.dumps(request.body["response_format"])
        plain = sum(letter.isascii() for letter in prompts)
        needed = int(plain / 4 + (len(prompts) - plain) / letters) + request.body["max_tokens"]
        if needed > context:
            too_long.append(needed)
        cited = list(lines_of(request))
        if request.body["response_format"]["json_schema"]["name"] == "summary":
            points = [{"lines": [number], "text": words.strip()} for number, words in cited[:8]]
            return Answer(json.dumps({"summary": points}))
        spoken = [(number, words.partition("| ")[2]) for number, words in cited]
        decided = [(n, words) for n, words in spoken if words.startswith("We decided")]
        answer = {
            **EMPTY_ANSWER,
            "summary": [{"lines": [n], "text": words} for n, words in spoken[::40]][:8],
            "decisions": [{"lines": [n], "quote": words, "text": words} for n, words in decided],
        }
        return Answer(json.dumps(answer))

    with LlmServer().serving("m", context_tokens=context).answer_by(reads) as server:
        minutes = await write_minutes(server, transcript_of(lines))
        of_parts = [
            r for r in server.requests if r.body["response_format"]["json_schema"]["name"] == "minutes"
        ]
        read = [number for request in of_parts for number, _ in lines_of(request)]
    assert too_long == []
    assert read == list(range(1, 2401)), "the ledger: each utterance once, in order"
    assert [d.evidence[0].utterance for d in minutes.decisions] == list(range(100, 2401, 100))
    assert 1 <= len(minutes.summary) <= 10


async def test_a_long_meeting_is_read_in_parts_that_cover_every_utterance() -> None:
    transcript = transcript_of(
        [f"Sentence number {n} about the project and its many parts." for n in range(1, 1501)]
    )
    with LlmServer().answer_with(EMPTY_ANSWER) as server:
        await write_minutes(server, transcript)
        prompts = [request.body["messages"][1]["content"] for request in server.requests]
    assert len(prompts) > 3
    read = [number for text in prompts for number in cited_lines(text)]
    assert read == list(range(1, 1501)), "each once, in order; lines before are not among them"
    before = prompts[1][prompts[1].index("Said before") : prompts[1].rindex("<<<")]
    assert before.count("<<<") == 1, "earlier lines are delimited too"
    assert before.count(">>>") == 1


async def test_a_truncated_answer_is_dropped_and_its_part_is_halved() -> None:
    with LlmServer().answer_with(ANSWER, finish="length").answer_with(EMPTY_ANSWER) as server:
        await write_minutes(server)
        whole, *parts = (request.body["messages"][1]["content"] for request in server.requests)
    assert cited_lines(whole) == [1, 2, 3, 4, 5]
    assert [cited_lines(part) for part in parts] == [[1, 2], [3, 4], [5]]


async def test_a_model_with_a_smaller_context_than_assumed_gets_smaller_parts() -> None:
    refusal = {"error": {"message": "This model's maximum context length is 4096 tokens."}}
    with LlmServer().answer_with_status(400, refusal).answer_with(EMPTY_ANSWER) as server:
        await write_minutes(server)
        parts = [cited_lines(request.body["messages"][1]["content"]) for request in server.requests]
    assert parts == [[1, 2, 3, 4, 5], [1, 2], [3, 4], [5]]


async def test_progress_of_long_minutes_is_reported() -> None:
    transcript = transcript_of(
        [f"Sentence number {n} about the project and its many parts." for n in range(1, 1001)]
    )
    progress: list[float] = []
    with LlmServer().answer_with(EMPTY_ANSWER) as server:
        llm = build_llm_service(Settings.model_validate({"vllm_base_url": server.url, "vllm_model_id": "m"}))
        await LlmMinutes(llm, resolve_due).write(
            MinutesTask(MEETING, THURSDAY), transcript, Draft(), progress.append
        )
        await llm.close()
    assert len(progress) > 2
    assert progress == sorted(progress)
    assert progress[-1] == 1.0
