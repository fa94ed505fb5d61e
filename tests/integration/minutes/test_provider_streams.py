"""Answers that are streamed, and streams that break."""

from __future__ import annotations

import pytest

from meeting_assistant.domain.errors import LlmError
from meeting_assistant.domain.ports import LlmReply
from meeting_assistant.testing.doubles.llm_server import PROVIDER_SETTINGS, LlmServer
from meeting_assistant.testing.harness.llm_providers import ASK, GOOD, service_for, short_timeout


@pytest.mark.parametrize("name", PROVIDER_SETTINGS)
async def test_a_streamed_answer_arrives_in_pieces_and_then_as_a_whole(name: str) -> None:
    with LlmServer().answer_with(GOOD) as server:
        llm = service_for(name, server)
        pieces = [piece async for piece in llm.stream(ASK)]
        await llm.close()
    *texts, reply = pieces
    assert len(texts) > 1
    assert isinstance(reply, LlmReply)
    assert "".join(map(str, texts)) == reply.text == '{"decisions": ["ship"]}'
    assert (reply.provider, reply.prompt_tokens, reply.completion_tokens) == (name, 11, 7)


@pytest.mark.parametrize("name", PROVIDER_SETTINGS)
async def test_a_stream_that_fails_before_its_first_piece_moves_to_the_next_provider(name: str) -> None:
    with LlmServer().answer_with_status(500) as bad, LlmServer().answer_with(GOOD) as good:
        llm = service_for(name, bad, good)
        pieces = [piece async for piece in llm.stream(ASK)]
        await llm.close()
    assert isinstance(pieces[-1], LlmReply)


@pytest.mark.parametrize("name", PROVIDER_SETTINGS)
@pytest.mark.parametrize("spoil", ["cut off", "truncated", "refused"])
async def test_a_stream_that_fails_later_is_an_error(name: str, spoil: str) -> None:
    with LlmServer() as bad, LlmServer().answer_with(GOOD) as good:
        match spoil:
            case "cut off":
                bad.drop(350, {"decisions": ["x" * 400]})
            case "truncated":
                bad.answer_with({"decisions": ["x" * 40]}, finish="length")
            case _:
                bad.answer_with({"decisions": ["x" * 40]}, finish="refusal")
        llm = service_for(name, bad, good)
        with pytest.raises(LlmError):
            async for piece in llm.stream(ASK):
                assert isinstance(piece, str)
        await llm.close()
        assert good.requests == [], "what was shown already cannot be taken back"


@pytest.mark.parametrize("name", PROVIDER_SETTINGS)
async def test_a_stream_that_fails_before_its_first_piece_is_retried(name: str) -> None:
    with LlmServer().answer_with_status(500).answer_with(GOOD) as server:
        llm = service_for(name, server)
        pieces = [piece async for piece in llm.stream(ASK)]
        await llm.close()
        assert len(server.requests) == 2
    assert isinstance(pieces[-1], LlmReply)


@pytest.mark.parametrize("name", PROVIDER_SETTINGS)
async def test_a_stream_has_a_total_timeout(name: str) -> None:
    with LlmServer().dribble() as server:
        llm = service_for(name, server, llm_max_retries=0, **short_timeout(name, "dribbling"))
        with pytest.raises(LlmError, match="did not answer in time"):
            async for _ in llm.stream(ASK):
                pass
        await llm.close()
