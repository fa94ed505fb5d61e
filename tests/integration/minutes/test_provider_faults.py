"""What every provider may do instead of answering, over real HTTP in its own wire format.

The server refuses bodies that the real service would refuse (`testing/doubles/llm_wire.py`): each test checks those
too.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from dataclasses import replace
from email.utils import formatdate
from typing import Any

import pytest

from meeting_assistant.adapters.llm.http import JsonHttp
from meeting_assistant.adapters.llm.openai_chat import LOCAL, ModelChoice, OpenAiChat
from meeting_assistant.bootstrap.language_models import build_llm_service
from meeting_assistant.config import Settings
from meeting_assistant.domain.errors import LlmError
from meeting_assistant.domain.llm_calls import LlmCall
from meeting_assistant.domain.ports import LlmReply, LlmRequest
from meeting_assistant.launcher import free_port
from meeting_assistant.net.backoff import Backoff
from meeting_assistant.services.llm.json_answers import extract_json
from meeting_assistant.services.llm.llm_service import LlmOptions, LLMService
from meeting_assistant.services.minutes.prompts import Extract, wire_schema
from meeting_assistant.testing.doubles.llm_server import PROVIDER_SETTINGS, Answer, LlmServer
from meeting_assistant.testing.doubles.llm_wire import complete_answer

pytestmark = pytest.mark.integration

ASK = LlmRequest(
    system="You write minutes.",
    user="1|Ana| We ship on Friday.",
    schema=wire_schema(Extract),
    schema_name="minutes",
)
GOOD = {"decisions": ["ship"]}

Spoil = Callable[[LlmServer], object]
WITHOUT_END = ("slow", "dribbling")
"""Only with these does time matter."""


def short_timeout(name: str, fault: str) -> dict[str, object]:
    return {"llm_options": {name: {"timeout_seconds": 1.0}}} if fault in WITHOUT_END else {}


def service(first: str, server: LlmServer, second: LlmServer | None = None, /, **more: object) -> LLMService:
    """One provider at one server; another one after it at a second server."""
    values: dict[str, object] = {"llm_backoff_seconds": 0, **more}
    values |= {name: value.format(url=server.url) for name, value in PROVIDER_SETTINGS[first].items()}
    other = "xai" if first == "openai" else "openai"
    order = [first]
    if second is not None:
        order.append(other)
        values |= {name: value.format(url=second.url) for name, value in PROVIDER_SETTINGS[other].items()}
    return build_llm_service(Settings.model_validate({"llm_provider_order": tuple(order), **values}))


async def asked(llm: LLMService) -> LlmReply:
    try:
        return (await llm.complete(ASK, extract_json)).reply
    finally:
        await llm.close()


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
async def test_a_provider_that_fails_is_tried_again_if_that_may_help_and_then_left_for_the_next_one(
    name: str, fault: str
) -> None:
    spoil, _, attempts = FAULTS[fault]
    with LlmServer() as bad, LlmServer().answer_with(GOOD) as good:
        spoil(bad)
        reply = await asked(service(name, bad, good, **short_timeout(name, fault)))
        assert len(bad.requests) == attempts
        assert len(good.requests) == 1
    assert reply.provider == ("xai" if name == "openai" else "openai")


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", PROVIDER_SETTINGS)
async def test_a_failure_has_its_name_a_remedy_and_nothing_of_what_was_said(name: str, fault: str) -> None:
    spoil, code, _ = FAULTS[fault]
    with LlmServer() as bad:
        spoil(bad)
        with pytest.raises(LlmError) as caught:
            await asked(service(name, bad, llm_max_retries=0, **short_timeout(name, fault)))
    assert caught.value.causes == (code,)
    assert caught.value.remedy
    assert "Friday" not in str(caught.value)


@pytest.mark.parametrize("name", PROVIDER_SETTINGS)
async def test_an_answer_that_is_streamed_comes_in_pieces_and_then_as_a_whole(name: str) -> None:
    with LlmServer().answer_with(GOOD) as server:
        llm = service(name, server)
        pieces = [piece async for piece in llm.stream(ASK)]
        await llm.close()
    *texts, reply = pieces
    assert len(texts) > 1
    assert isinstance(reply, LlmReply)
    assert "".join(map(str, texts)) == reply.text == '{"decisions": ["ship"]}'
    assert (reply.provider, reply.prompt_tokens, reply.completion_tokens) == (name, 11, 7)


@pytest.mark.parametrize("name", PROVIDER_SETTINGS)
async def test_a_stream_that_breaks_before_its_first_piece_goes_on_with_the_next_provider(name: str) -> None:
    with LlmServer().answer_with_status(500) as bad, LlmServer().answer_with(GOOD) as good:
        llm = service(name, bad, good)
        pieces = [piece async for piece in llm.stream(ASK)]
        await llm.close()
    assert isinstance(pieces[-1], LlmReply)


@pytest.mark.parametrize("name", PROVIDER_SETTINGS)
@pytest.mark.parametrize("spoil", ["cut off", "truncated", "refused"])
async def test_a_stream_that_breaks_later_is_a_failure_and_no_answer(name: str, spoil: str) -> None:
    with LlmServer() as bad, LlmServer().answer_with(GOOD) as good:
        match spoil:
            case "cut off":
                bad.drop(350, {"decisions": ["x" * 400]})
            case "truncated":
                bad.answer_with({"decisions": ["x" * 40]}, finish="length")
            case _:
                bad.answer_with({"decisions": ["x" * 40]}, finish="refusal")
        llm = service(name, bad, good)
        with pytest.raises(LlmError):
            async for piece in llm.stream(ASK):
                assert isinstance(piece, str)
        await llm.close()
        assert good.requests == [], "what was shown already cannot be taken back"


@pytest.mark.parametrize("name", PROVIDER_SETTINGS)
async def test_each_provider_may_have_a_patience_of_its_own(name: str) -> None:
    more = {
        "llm_options": {name: {"timeout_seconds": 0.2}},
        "llm_timeout_seconds": 3600,
        "llm_max_retries": 0,
    }
    with LlmServer().never_answer() as server:
        llm = service(name, server, None, **more)
        with pytest.raises(LlmError, match="did not answer in time"):
            await llm.complete(ASK, extract_json)
        await llm.close()


async def test_a_pause_that_a_server_asks_for_may_be_a_date() -> None:
    soon = formatdate(usegmt=True)
    with LlmServer().answer_with_status(429, Retry_After=soon).answer_with(GOOD) as server:
        await asked(service("vllm", server))
        assert len(server.requests) == 2


async def test_thinking_aloud_is_no_part_of_an_answer() -> None:
    with LlmServer().answer_with('<think>{"decisions": ["no"]}?</think>{"decisions": ["ship"]}') as server:
        llm = service("vllm", server)
        answer = await llm.complete(ASK, extract_json)
        await llm.close()
    assert answer.value == {"decisions": ["ship"]}
    assert server.requests[0].body["chat_template_kwargs"] == {"enable_thinking": False}


async def test_a_server_that_silently_read_only_a_part_is_found_out() -> None:
    """Ollama cuts long prompts; only its count of tokens tells."""
    whole = complete_answer("/v1/chat/completions", "{}", "complete")
    cut = {**whole, "usage": {"prompt_tokens": 2048, "completion_tokens": 2}}
    with LlmServer().answer_by(lambda request: Answer(json.dumps(cut), is_raw=True)) as server:
        llm = service("vllm", server)
        long = replace(ASK, user="what was said " * 4000)
        with pytest.raises(LlmError) as caught:
            await llm.complete(long, extract_json)
        await llm.close()
    assert caught.value.causes == ("llm_context_overflow",)
    assert caught.value.context_limit == 2048


async def test_localhost_is_found_whichever_of_its_addresses_a_server_listens_on() -> None:
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    with LlmServer().answer_with(GOOD) as server:
        llm = service("vllm", server, vllm_base_url=server.url.replace("127.0.0.1", "localhost"))
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
async def test_azure_is_asked_in_the_form_that_its_version_has(
    settings: dict[str, object], path: str, header: str
) -> None:
    with LlmServer().answer_with(GOOD) as server:
        await asked(service("azure", server, None, **settings))
        (request,) = server.requests
    assert request.path == path
    assert request.headers[header] == "k"


async def test_a_model_says_how_much_it_reads() -> None:
    with LlmServer().serving("m", context_tokens=32_768) as server:
        llm = service("vllm", server)
        assert await llm.context_tokens() == 32_768
        assert await llm.context_tokens() == 32_768
        await llm.close()
        assert len(server.looks) == 1, "asked for once"


async def test_a_wrong_key_is_not_tried_with_every_meeting() -> None:
    with LlmServer().answer_with_status(401) as server:
        llm = service("vllm", server)
        for _ in range(3):
            with pytest.raises(LlmError, match="refused the key"):
                await llm.complete(ASK, extract_json)
        await llm.close()
        assert len(server.requests) == 1


# --- pauses, and streams -----------------------------------------------------------------------------------


def waiting(server: LlmServer, *, jitter: float = 0.0, **more: Any) -> tuple[LLMService, list[float]]:
    """A service that writes down how long it would wait, and does not."""
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


async def test_pauses_double() -> None:
    with LlmServer().answer_with_status(500) as server:
        llm, pauses = waiting(server)
        with pytest.raises(LlmError):
            await asked(llm)
    assert pauses == [0.5, 1.0, 2.0, 4.0]


async def test_many_that_wait_do_not_come_back_together() -> None:
    with LlmServer().answer_with_status(500) as server:
        llm, pauses = waiting(server, jitter=0.2)
        with pytest.raises(LlmError):
            await asked(llm)
    whole = [0.5, 1.0, 2.0, 4.0]
    assert all(0.8 * full <= pause <= full for pause, full in zip(pauses, whole, strict=True))
    assert pauses != whole


@pytest.mark.parametrize(
    ("asked_for", "pauses"), [("7", [7.0]), ("0.1", [0.5]), ("nan", [0.5]), ("soon", [0.5]), ("-3", [0.5])]
)
async def test_a_server_may_ask_for_a_longer_pause_and_for_no_shorter_one(
    asked_for: str, pauses: list[float]
) -> None:
    with LlmServer().answer_with_status(429, Retry_After=asked_for).answer_with(GOOD) as server:
        llm, waited = waiting(server)
        await asked(llm)
    assert waited == pauses


@pytest.mark.parametrize("asked_for", ["21", "inf", "1e400"])
async def test_nobody_waits_longer_than_twenty_seconds(asked_for: str) -> None:
    with LlmServer().answer_with_status(429, Retry_After=asked_for).answer_with(GOOD) as server:
        llm, waited = waiting(server)
        with pytest.raises(LlmError, match="asked too often"):
            await asked(llm)
    assert waited == []


@pytest.mark.parametrize("name", PROVIDER_SETTINGS)
async def test_a_stream_that_fails_before_its_first_piece_is_tried_again(name: str) -> None:
    with LlmServer().answer_with_status(500).answer_with(GOOD) as server:
        llm = service(name, server)
        pieces = [piece async for piece in llm.stream(ASK)]
        await llm.close()
        assert len(server.requests) == 2
    assert isinstance(pieces[-1], LlmReply)


@pytest.mark.parametrize("name", PROVIDER_SETTINGS)
async def test_a_stream_has_a_deadline_as_a_whole(name: str) -> None:
    with LlmServer().dribble() as server:
        llm = service(name, server, llm_max_retries=0, **short_timeout(name, "dribbling"))
        with pytest.raises(LlmError, match="did not answer in time"):
            async for _ in llm.stream(ASK):
                pass
        await llm.close()


@pytest.mark.parametrize("name", PROVIDER_SETTINGS)
async def test_an_answer_without_end_is_not_kept(name: str) -> None:
    with LlmServer().answer_with_status(200, "x" * (9 * 2**20)) as server:
        llm = service(name, server, llm_max_retries=0)
        with pytest.raises(LlmError, match="more than 8 MiB"):
            await llm.complete(ASK, extract_json)
        with pytest.raises(LlmError, match="more than 8 MiB"):
            async for _ in llm.stream(ASK):
                pass
        await llm.close()


# --- a server that hangs, one that is gone, and who was told what ------------------------------------------


async def test_a_server_that_hangs_costs_its_attempts_once_and_not_for_every_meeting() -> None:
    with LlmServer().never_answer() as hung, LlmServer().answer_with(GOOD) as good:
        llm = service("vllm", hung, good, **short_timeout("vllm", "slow"))
        for _ in range(4):
            await llm.complete(ASK, extract_json)
        await llm.close()
        assert len(hung.requests) == 3
        assert len(good.requests) == 4


async def test_a_server_that_does_not_even_say_what_it_has_is_an_attempt() -> None:
    with socket.socket() as silent, LlmServer().answer_with(GOOD) as good:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        llm = service("vllm", good, good, vllm_base_url=url, **short_timeout("vllm", "slow"))
        for _ in range(3):
            await llm.context_tokens()
        await llm.complete(ASK, extract_json)
        await llm.close()
        assert len(good.requests) == 1


async def test_a_repaired_answer_costs_what_both_cost() -> None:
    with LlmServer().answer_with("no JSON").answer_with(GOOD) as server:
        reply = await asked(service("vllm", server))
    assert (reply.prompt_tokens, reply.completion_tokens) == (22, 14)


class Book:
    """Remembers who was asked."""

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
async def test_a_server_that_nobody_configured_is_in_book_and_log_only_when_it_was_sent_something(
    fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    book = Book()
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
        llm = LLMService([chat], LlmOptions(optional=frozenset({"vllm"})), calls=book)
        with pytest.raises(LlmError):
            await llm.complete(replace(ASK, meeting_ids=("meeting",)), extract_json)
        await llm.close()
    assert [call.outcome for call in book.calls.values()] == (["llm_unavailable"] if fault == "fails" else [])
    assert ("A language model gave no usable answer." in caplog.text) is (fault == "fails")
