"""What servers answer, and what we make of it: every entry of `tests/fixtures/server_answers.toml`."""

from __future__ import annotations

import json
import tomllib
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from meeting_assistant.adapters.asr.transcription_answers import result_of
from meeting_assistant.adapters.llm.http import JsonHttp, RefusedParameterError
from meeting_assistant.adapters.llm.openai_chat import LOCAL, ModelChoice, OpenAiChat
from meeting_assistant.domain.errors import LlmError
from meeting_assistant.domain.ports import LlmReply, LlmRequest
from meeting_assistant.net.responses import HttpResponse
from meeting_assistant.services.llm.json_answers import UnusableAnswerError, after_thoughts, parser_of
from meeting_assistant.services.minutes.prompts import wire_schema
from meeting_assistant.services.minutes.questions.prompt import ModelAnswer

CASES: dict[str, list[dict[str, Any]]] = tomllib.loads(
    (Path(__file__).parents[2] / "fixtures" / "server_answers.toml").read_text(encoding="utf-8")
)
ANSWER = '{"is_found": true, "sentences": [{"lines": [1], "text": "On Friday."}]}'
DRAFT = '{"is_found": true, "sentences": [{"lines": [2], "text": "On Monday."}]}'
ASK = LlmRequest(system="Answer.", user="When?", schema=wire_schema(ModelAnswer))

parse = parser_of(ModelAnswer)


def named(cases: list[dict[str, Any]]) -> list[Any]:
    return [
        pytest.param(case, id=f"{n}, {case['server']}: {case.get('says', case.get('status'))}")
        for n, case in enumerate(cases, start=1)
    ]


def choice_of(case: Mapping[str, Any]) -> dict[str, Any]:
    """The choice that the server gives, with the answer in it."""
    if "text" in case:
        text = case["text"].replace("\\ufeff", "\ufeff")
        text = text.replace("ANSWER_WITH_TAG", ANSWER.replace("On Friday", "</think> On Friday"))
        text = text.replace("ANSWER", ANSWER).replace("DRAFT", DRAFT)
        return {"message": {"content": text}, "finish_reason": "stop"}
    inside = {"ANSWER": json.dumps(ANSWER)[1:-1], "DRAFT": json.dumps(DRAFT)[1:-1], "OBJECT": ANSWER}
    written = case["choice"]
    for mark, text in inside.items():
        written = written.replace(mark, text)
    choice: dict[str, Any] = json.loads(written)
    return choice


class OneChoice:
    """The connection to a server that gives one choice, whole or in pieces."""

    address = "http://server"

    def __init__(self, choice: dict[str, Any]) -> None:
        self._choice = choice

    async def post(self, url: str, body: Mapping[str, object]) -> Mapping[str, object]:
        return {"choices": [self._choice]}

    async def events(
        self, url: str, body: Mapping[str, object]
    ) -> AsyncGenerator[Mapping[str, object], None]:
        message = self._choice["message"]
        content = message.get("content")
        if isinstance(content, str):
            message = {name: value for name, value in message.items() if name != "content"}
            for at in range(0, len(content), 5):
                yield {"choices": [{"delta": {"content": content[at : at + 5]}, "finish_reason": None}]}
        yield {"choices": [{"delta": message, "finish_reason": self._choice.get("finish_reason")}]}


def chat(choice: dict[str, Any]) -> OpenAiChat:
    return OpenAiChat(
        "vllm",
        http=cast(JsonHttp, OneChoice(choice)),
        url="http://server/v1/chat/completions",
        model=ModelChoice("m"),
        dialect=LOCAL,
        is_local=True,
    )


async def streamed(choice: dict[str, Any]) -> str:
    *_, reply = [piece async for piece in chat(choice).stream(ASK)]
    assert isinstance(reply, LlmReply)
    return reply.text


@pytest.mark.parametrize("is_streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("case", named(CASES["answer"]))
async def test_an_answer_is_accepted_in_any_form_and_refused_only_for_known_reasons(
    case: dict[str, Any], is_streamed: bool
) -> None:
    choice = choice_of(case)
    try:
        text = await streamed(choice) if is_streamed else (await chat(choice).complete(ASK)).text
        outcome = parse(text).sentences[0].text.removeprefix("</think> ")
    except LlmError as error:
        outcome = error.code
    except UnusableAnswerError:
        outcome = "llm_bad_output"
    assert outcome == case.get("fails", "On Friday.")


@pytest.mark.parametrize(
    "case", named([case for case in CASES["answer"] if "text" in case and "fails" not in case])
)
def test_reasoning_is_not_shown_while_an_answer_streams(case: dict[str, Any]) -> None:
    """Whatever has arrived so far; drafts without any tag before the answer cannot be told from it."""
    text = choice_of(case)["message"]["content"]
    drafted_after = text.find(ANSWER)
    shown = [after_thoughts(text[:end]) for end in range(len(text))]
    assert not any("Monday" in part for part in shown[: max(0, drafted_after)])


@pytest.mark.parametrize("case", named(CASES["refusal"]))
def test_a_refusal_is_understood(case: dict[str, Any]) -> None:
    http = JsonHttp("vllm", "http://server", {}, timeout_s=1)
    error = http._refusal(HttpResponse(case["status"], {}, case["body"]))
    if "parameters" in case:
        assert isinstance(error, RefusedParameterError)
        assert list(error.parameters[:1]) == case["parameters"]
    elif "fails" in case:
        assert (error.code, isinstance(error, RefusedParameterError)) == (case["fails"], False)
    else:
        assert (error.code, error.context_limit) == ("llm_context_overflow", case.get("context_tokens"))


@pytest.mark.parametrize("case", named(CASES["transcription"]))
def test_the_text_of_a_transcription_is_read_and_unusable_details_are_omitted(case: dict[str, Any]) -> None:
    document = HttpResponse(200, {}, case["body"]).json()
    if "text" not in case:
        with pytest.raises((ValueError, TypeError)):
            result_of(document, 1000, "en")
        return
    result = result_of(document, 1000, "en")
    words = None if result.words is None else [[w.text, w.start_ms, w.end_ms] for w in result.words]
    assert (result.text, words) == (case["text"], case.get("words"))
    assert result.mean_logprob is None


def test_one_item_or_one_field_too_many_spoils_no_answer() -> None:
    """The schema forbids both; not every server holds a model to it."""
    sentence = {"lines": list(range(1, 12)), "text": "On Friday.", "confidence": 0.9}
    answer = parse(json.dumps({"is_found": True, "sentences": [sentence] * 14, "note": ""}))
    assert len(answer.sentences) == 14
    schema = wire_schema(ModelAnswer)
    assert schema["properties"]["sentences"]["maxItems"] == 12
    assert schema["additionalProperties"] is False
