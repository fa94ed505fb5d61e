"""One engine thread serves all sessions: in order, isolated, without losing tickets."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import numpy as np
import pytest

from meeting_assistant.domain.errors import EngineError
from meeting_assistant.domain.ports import AsrRequest, AsrResult, EngineInfo
from meeting_assistant.services.asr.asr_service import AsrService, shape_of
from meeting_assistant.services.asr.batching import TicketKind
from meeting_assistant.services.asr.degradation import DegradationLadder, LadderOptions, Level


class ScriptedEngine:
    """An engine that returns the name of the session, waits until it is released, and fails on session "bad"."""

    info = EngineInfo("scripted", "scripted", ("en",), 30.0, max_batch=4)

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.threads: set[str] = set()
        self.released = threading.Event()
        self.released.set()

    def load(self) -> None:
        self.threads.add(threading.current_thread().name)

    def transcribe(self, batch: Sequence[AsrRequest]) -> list[AsrResult]:
        self.threads.add(threading.current_thread().name)
        assert self.released.wait(10)
        self.batches.append([request.session for request in batch])
        if any(request.session == "bad" for request in batch):
            raise ValueError("tensor of secret words")
        return [AsrResult(text=request.session) for request in batch]

    def close_session(self, session: str) -> None:
        self.threads.add(threading.current_thread().name)

    def close(self) -> None:
        self.threads.add(threading.current_thread().name)


def window(session: str) -> AsrRequest:
    return AsrRequest(session=session, kind="final", samples=np.zeros(1600, dtype=np.float32))


@pytest.fixture
def engine() -> ScriptedEngine:
    return ScriptedEngine()


@pytest.fixture
async def service(engine: ScriptedEngine) -> AsyncIterator[AsrService]:
    service = AsrService(engine, batch_size=4)
    await service.start()
    yield service
    engine.released.set()
    await service.close()


async def ask(service: AsrService, session: str, kind: TicketKind = TicketKind.FINAL) -> str | None:
    decoded = await service.decode(kind, session, lambda: window(session))
    return decoded.result.text if decoded else None


async def test_all_calls_run_on_one_engine_thread(service: AsrService, engine: ScriptedEngine) -> None:
    assert await ask(service, "a") == "a"
    await service.close_session("a")
    await service.close()
    assert len(engine.threads) == 1
    assert next(iter(engine.threads)).startswith("asr-engine")


async def test_one_bad_window_does_not_fail_its_neighbours(
    service: AsrService, engine: ScriptedEngine
) -> None:
    engine.released.clear()
    blocker = asyncio.create_task(ask(service, "first"))
    await asyncio.sleep(0)
    requests = [asyncio.create_task(ask(service, name)) for name in ("a", "bad", "b")]
    await asyncio.sleep(0)
    engine.released.set()
    answers = await asyncio.gather(*requests, return_exceptions=True)
    assert await blocker == "first"
    assert (answers[0], answers[2]) == ("a", "b")
    assert isinstance(answers[1], EngineError)
    assert "secret" not in str(answers[1])


async def test_a_newer_partial_cancels_the_older_one_of_its_session(
    service: AsrService, engine: ScriptedEngine
) -> None:
    engine.released.clear()
    blocker = asyncio.create_task(ask(service, "first"))
    await asyncio.sleep(0)
    older = asyncio.create_task(ask(service, "a", TicketKind.PARTIAL))
    await asyncio.sleep(0)
    newer = asyncio.create_task(ask(service, "a", TicketKind.PARTIAL))
    await asyncio.sleep(0)
    engine.released.set()
    assert await older is None
    assert await newer == "a"
    await blocker


async def test_audio_is_read_when_the_decode_starts(service: AsrService, engine: ScriptedEngine) -> None:
    read: list[str] = []
    engine.released.clear()
    blocker = asyncio.create_task(ask(service, "first"))
    await asyncio.sleep(0.05)

    def bind() -> AsrRequest:
        read.append("now")
        return window("late")

    late = asyncio.create_task(service.decode(TicketKind.FINAL, "late", bind))
    await asyncio.sleep(0.05)
    assert read == []
    engine.released.set()
    await asyncio.gather(blocker, late)
    assert read == ["now"]


async def test_a_session_decodes_as_long_as_a_window_of_it_waits(
    service: AsrService, engine: ScriptedEngine
) -> None:
    engine.released.clear()
    asked = [asyncio.create_task(ask(service, session)) for session in ("a", "b")]
    await asyncio.sleep(0)
    assert [service.is_decoding(session) for session in ("a", "b", "c")] == [True, True, False]
    engine.released.set()
    await asyncio.gather(*asked)
    assert not service.is_decoding("a")


async def test_closing_fails_the_tickets_that_wait(service: AsrService, engine: ScriptedEngine) -> None:
    engine.released.clear()
    first = asyncio.create_task(ask(service, "a"))
    await asyncio.sleep(0)
    second = asyncio.create_task(ask(service, "b"))
    await asyncio.sleep(0)
    engine.released.set()
    await service.close()
    for answer in await asyncio.gather(first, second, return_exceptions=True):
        assert answer in ("a", "b") or isinstance(answer, EngineError)


async def test_each_step_of_the_degradation_ladder_is_reported(engine: ScriptedEngine) -> None:
    ladder = DegradationLadder(LadderOptions(target_s=0.05, up_after_s=0.0, down_after_s=0.0))
    service = AsrService(engine, batch_size=1, ladder=ladder)
    levels: list[int] = []
    stepped, relieved = asyncio.Event(), asyncio.Event()

    def listen(level: Level) -> None:
        levels.append(int(level))
        (stepped if level is not Level.NORMAL else relieved).set()

    service.on_level(listen)
    await service.start()
    engine.released.clear()
    requests = [asyncio.create_task(ask(service, f"room {n}", TicketKind.PARTIAL)) for n in range(20)]
    async with asyncio.timeout(10):
        await stepped.wait()
    engine.released.set()
    await asyncio.gather(*requests)
    async with asyncio.timeout(10):
        await relieved.wait()
    assert levels[0] == 1
    assert all(abs(step - before) == 1 for before, step in itertools.pairwise(levels))
    await service.close()


def test_prompts_and_attempts_of_different_shape_are_not_batched_together() -> None:
    info = replace(ScriptedEngine.info, partial_buckets_s=(8.5, 30.0), final_buckets_s=(30.0,))
    plain = window("a")
    assert shape_of(info, plain) == shape_of(info, window("b"))
    others = [
        replace(plain, kind="partial"),
        replace(plain, temperature=0.2),
        replace(plain, hotwords=("Ana",)),
        replace(plain, hotwords=("Ana " * 99,)),
        replace(plain, kind="partial", samples=np.zeros(16_000 * 9, np.float32)),
    ]
    keys = [shape_of(info, request).key for request in (plain, *others)]
    assert len(set(keys)) == len(keys)
    assert shape_of(info, plain).padded_s == 30.0
