"""A question whose lines do not fit into a model's window is asked again on fewer of them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, cast

import pytest

from meeting_assistant.adapters.minutes_rules.question import EmbeddedQuestionReader
from meeting_assistant.domain.errors import LlmError
from meeting_assistant.domain.meeting import Meeting, MeetingState
from meeting_assistant.domain.ports import LlmReply, LlmRequest
from meeting_assistant.domain.transcript import Transcript, Utterance
from meeting_assistant.services.llm.llm_service import LlmOptions, LLMService
from meeting_assistant.services.llm.token_estimate import tokens_in
from meeting_assistant.services.minutes.minutes_service import MinutesService, Plan
from meeting_assistant.services.minutes.questions.ask_service import (
    SMALLEST_TOKENS,
    AnswerEnd,
    AnswerSentence,
    AskService,
)
from meeting_assistant.services.minutes.templates import template_named

pytestmark = pytest.mark.unit

ANSWER = "The booth costs four thousand euros."
Refuse = Callable[[int], LlmError]


class SmallModel:
    """Answers with the line about the booth; refuses, or silently cuts, what is longer than its window."""

    name = "vllm"
    is_local = True

    def __init__(self, window: int, refuse: Refuse | None) -> None:
        """`refuse`: makes the error for a prompt of so many tokens; None cuts it."""
        self.window = window
        self.refuse = refuse
        self.prompts: list[int] = []

    async def stream(self, request: LlmRequest) -> AsyncIterator[str | LlmReply]:
        self.prompts.append(tokens_in(request.system) + tokens_in(request.user))
        reply = await self.complete(request)
        yield reply.text
        yield reply

    async def complete(self, request: LlmRequest) -> LlmReply:
        prompt = tokens_in(request.system) + tokens_in(request.user)
        if prompt > self.window and self.refuse is not None:
            raise self.refuse(self.window)
        lines = [line for line in request.user.splitlines() if ANSWER in line]
        sentences = [{"text": ANSWER, "lines": [int(line.partition("|")[0])]} for line in lines]
        is_cut = prompt > self.window
        text = json.dumps({"is_found": not is_cut, "sentences": [] if is_cut else sentences})
        return LlmReply(text, "vllm", "m", prompt_tokens=min(prompt, self.window))

    async def context_tokens(self) -> int | None:
        return None  # so that the lines are made for a larger window than there is

    async def close(self) -> None:
        pass


def too_long(window: int) -> LlmError:
    return LlmError("vllm: the prompt is too long.", "Use a larger window.", code="llm_context_overflow")


def too_long_for_a_window(window: int) -> LlmError:
    return LlmError("vllm: the prompt is too long.", code="llm_context_overflow", context_limit=window)


class _NoSearch:
    async def search(self, words: Sequence[str], **options: Any) -> list[Any]:
        return []


class _Plans:
    async def plan(self, meeting: Meeting) -> Plan:
        return Plan(template_named(None), "en", None, is_local_only=False)


class _OneMeeting:
    def __init__(self) -> None:
        talk = [f"Then we talked about item {n} for quite a while and moved on." for n in range(150)]
        talk[120] = ANSWER
        self.utterances = [
            Utterance(utterance=n, start_ms=n * 1000, end_ms=n * 1000 + 900, speaker="S1", text=text)
            for n, text in enumerate(talk, start=1)
        ]

    async def get(self, meeting_id: str) -> Meeting:
        return Meeting(
            id=meeting_id,
            title="Fair",
            state=MeetingState.DONE,
            created_at_ms=0,
            source="live",
            language="en",
        )

    async def transcript(self, meeting_id: str) -> Transcript:
        return Transcript(utterances=self.utterances)


async def ask(model: SmallModel) -> tuple[list[AnswerSentence], AnswerEnd]:
    service = AskService(
        cast("Any", _OneMeeting()),
        cast("Any", _NoSearch()),
        EmbeddedQuestionReader(),
        cast("MinutesService", _Plans()),
        LLMService([model], LlmOptions(max_retries=0)),
    )
    pieces = [piece async for piece in service.about_meeting("m", "What does the booth cost?")]
    end = pieces.pop()
    assert isinstance(end, AnswerEnd)
    return [piece for piece in pieces if isinstance(piece, AnswerSentence)], end


@pytest.mark.parametrize(
    ("refuse", "asked"),
    [
        pytest.param(too_long, 3, id="refused"),
        pytest.param(too_long_for_a_window, 2, id="refused-with-its-window"),
        pytest.param(None, 3, id="silently-cut"),
    ],
)
async def test_an_overflowing_question_is_asked_again_on_the_lines_that_match_it_best(
    refuse: Refuse | None, asked: int
) -> None:
    model = SmallModel(1500 if refuse is None else 1300, refuse)
    sentences, end = await ask(model)
    assert [(s.text, s.citations[0].utterance) for s in sentences] == [(ANSWER, 121)]
    assert (end.provider, end.is_found) == ("vllm", True)
    assert model.prompts == sorted(model.prompts, reverse=True)
    assert len(model.prompts) == asked


async def test_a_model_that_reads_next_to_nothing_leaves_quotations_after_few_questions() -> None:
    model = SmallModel(100, too_long)
    sentences, end = await ask(model)
    assert [s.text for s in sentences] == [ANSWER]
    assert end.provider == "embedded"
    assert "too long" in (end.error or "")
    assert len(model.prompts) <= 5
    assert model.prompts[-1] >= SMALLEST_TOKENS


async def test_another_failure_is_not_taken_for_an_overflow() -> None:
    model = SmallModel(100, lambda window: LlmError("vllm refused the question.", code="llm_rejected"))
    _, end = await ask(model)
    assert (end.provider, len(model.prompts)) == ("embedded", 1)
