"""Finished utterances: decoded again when the engine failed, and at a higher temperature when a quality check fails."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import numpy as np
import pytest

from meeting_assistant.domain.errors import EngineError
from meeting_assistant.domain.ports import AsrRequest, AsrResult, EngineInfo
from meeting_assistant.services.asr.asr_service import AsrService
from meeting_assistant.services.asr.batching import TicketKind
from meeting_assistant.services.asr.temperature_fallback import decode_with_temperature_fallback

REQUEST = AsrRequest("s", "final", np.zeros(16_000, np.float32))
LOOP = AsrResult("and then and then and then and then and then", mean_logprob=-0.1, no_speech_probability=0.0)
DOUBTFUL = AsrResult("something", mean_logprob=-1.6, no_speech_probability=0.1)
BETTER = AsrResult("something else", mean_logprob=-1.2, no_speech_probability=0.1)
GOOD = AsrResult("We ship on Friday.", mean_logprob=-0.3, no_speech_probability=0.0)
SILENCE = AsrResult("Thank you.", mean_logprob=-1.4, no_speech_probability=0.9)


class Scripted:
    """An engine with scripted results; an exception among them is raised."""

    info = EngineInfo("scripted", "scripted", ("en",), 30.0, temperatures=(0.0, 0.2, 0.4))

    def __init__(self) -> None:
        self.answers: list[AsrResult | Exception] = []
        self.temperatures: list[float] = []

    def load(self) -> None:
        pass

    def transcribe(self, batch: Sequence[AsrRequest]) -> list[AsrResult]:
        self.temperatures += [request.temperature for request in batch]
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return [answer]

    def close_session(self, session: str) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.fixture
def engine() -> Scripted:
    return Scripted()


@pytest.fixture
async def asr(engine: Scripted) -> AsyncIterator[AsrService]:
    service = AsrService(engine)
    await service.start()
    yield service
    await service.close()


async def decode(asr: AsrService) -> AsrResult:
    decoded = await decode_with_temperature_fallback(asr, TicketKind.FINAL, REQUEST)
    assert decoded is not None
    return decoded.result


async def test_a_text_that_passes_the_quality_checks_is_decoded_once(
    asr: AsrService, engine: Scripted
) -> None:
    engine.answers = [GOOD]
    assert await decode(asr) == GOOD
    assert engine.temperatures == [0.0]


@pytest.mark.parametrize("bad", [LOOP, DOUBTFUL])
async def test_a_text_that_fails_the_quality_checks_is_decoded_at_a_higher_temperature(
    asr: AsrService, engine: Scripted, bad: AsrResult
) -> None:
    engine.answers = [bad, GOOD]
    assert await decode(asr) == GOOD
    assert engine.temperatures == [0.0, 0.2]


async def test_if_every_text_fails_the_quality_checks_the_likeliest_is_taken(
    asr: AsrService, engine: Scripted
) -> None:
    engine.answers = [DOUBTFUL, BETTER, replace(DOUBTFUL, mean_logprob=-2.0)]
    assert await decode(asr) == BETTER
    assert engine.temperatures == [0.0, 0.2, 0.4]


async def test_silence_is_not_decoded_again(asr: AsrService, engine: Scripted) -> None:
    engine.answers = [SILENCE]
    await decode(asr)
    assert engine.temperatures == [0.0]


async def test_a_transient_engine_error_loses_no_words(asr: AsrService, engine: Scripted) -> None:
    engine.answers = [RuntimeError("device reset"), GOOD]
    assert await decode(asr) == GOOD


async def test_a_lasting_engine_error_is_raised(asr: AsrService, engine: Scripted) -> None:
    engine.answers = [RuntimeError("device gone"), RuntimeError("device gone")]
    with pytest.raises(EngineError):
        await decode(asr)
