"""What every provider of a language model promises, each in its own wire format over real HTTP.

How failures are named, tried again and passed on to the next provider is tested in
`tests/integration/minutes/test_provider_faults.py`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from meeting_assistant.bootstrap.language_models import choose_llm
from meeting_assistant.config import Settings
from meeting_assistant.domain.errors import LlmError
from meeting_assistant.domain.ports import LlmProvider, LlmReply, LlmRequest
from meeting_assistant.testing.doubles.llm_server import PROVIDER_SETTINGS, Finish, LlmServer, user_text

PLAIN = LlmRequest(system="Answer briefly.", user="When do we ship?")
ANSWER = "We ship on Friday, as Ana said."


@pytest.fixture
def model() -> Iterator[LlmServer]:
    with LlmServer() as server:
        yield server


def provider_at(name: str, url: str) -> LlmProvider:
    values = {setting: value.format(url=url) for setting, value in PROVIDER_SETTINGS[name].items()}
    provider = choose_llm(name, Settings.model_validate(values))
    assert provider is not None
    assert provider.name == name
    return provider


@pytest.fixture(params=PROVIDER_SETTINGS)
async def provider(request: pytest.FixtureRequest, model: LlmServer) -> AsyncIterator[LlmProvider]:
    provider = provider_at(request.param, model.url)
    yield provider
    await provider.close()


async def test_a_reply_is_the_whole_answer_with_its_provider(provider: LlmProvider, model: LlmServer) -> None:
    model.answer_with(ANSWER)
    reply = await provider.complete(PLAIN)
    assert (reply.text, reply.provider) == (ANSWER, provider.name)
    assert reply.model
    assert (reply.prompt_tokens, reply.completion_tokens) == (11, 7)
    assert reply.seconds >= 0
    assert user_text(model.requests[0]) == PLAIN.user


async def test_a_stream_yields_pieces_of_the_answer_and_then_the_reply(
    provider: LlmProvider, model: LlmServer
) -> None:
    model.answer_with(ANSWER)
    *pieces, reply = [piece async for piece in provider.stream(PLAIN)]
    assert isinstance(reply, LlmReply)
    assert "".join(map(str, pieces)) == reply.text == ANSWER
    assert reply.provider == provider.name


async def test_a_request_is_sent_once(provider: LlmProvider, model: LlmServer) -> None:
    model.answer_with_status(500)
    with pytest.raises(LlmError):
        await provider.complete(PLAIN)
    assert len(model.requests) == 1
    with pytest.raises(LlmError):
        [piece async for piece in provider.stream(PLAIN)]
    assert len(model.requests) == 2


@pytest.mark.parametrize("finish", ["length", "refusal"])
async def test_an_incomplete_answer_is_an_error(
    provider: LlmProvider, model: LlmServer, finish: Finish
) -> None:
    model.answer_with(ANSWER, finish=finish)
    with pytest.raises(LlmError):
        await provider.complete(PLAIN)
    with pytest.raises(LlmError):
        async for piece in provider.stream(PLAIN):
            assert isinstance(piece, str)


async def test_the_context_window_is_a_number_of_tokens_or_unknown(
    provider: LlmProvider, model: LlmServer
) -> None:
    model.serving("m", context_tokens=32_768)
    window = await provider.context_tokens()
    assert window is None or window >= 32_768
    if provider.name == "vllm":
        assert window == 32_768, "it says so itself"


@pytest.mark.parametrize("name", PROVIDER_SETTINGS)
@pytest.mark.parametrize(
    ("address", "is_local"), [("https://models.example.com", False), ("http://127.0.0.1:8000", True)]
)
async def test_a_provider_is_local_when_its_server_is_this_machine(
    name: str, address: str, is_local: bool
) -> None:
    provider = provider_at(name, address)
    assert provider.is_local is is_local
    await provider.close()


async def test_closing_twice_has_no_effect(provider: LlmProvider) -> None:
    await provider.close()
    await provider.close()
