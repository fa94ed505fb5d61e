"""A meeting that a worker transcribes: its spans are in the meeting's trace, and its log names the meeting."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from meeting_assistant.testing.harness.fleet import Fleet, check, under_way
from meeting_assistant.testing.servers.redis import RedisProcess
from meeting_assistant.testing.servers.traces import ReceivedSpan, TraceReceiver


@pytest.fixture
def receiver() -> Iterator[TraceReceiver]:
    with TraceReceiver() as running:
        yield running


@pytest.fixture
def traced_fleet(redis_server: str, tmp_path: Path, receiver: TraceReceiver) -> Iterator[Fleet]:
    broker = RedisProcess(redis_server, tmp_path / "redis")
    broker.start()
    fleet = Fleet(tmp_path, broker, {**receiver.env, "LOG_FORMAT": "json"})
    fleet.add_gateways(1)
    fleet.add_workers(1)
    yield fleet
    fleet.close()
    broker.close()


async def test_the_work_of_a_worker_is_in_the_trace_of_the_meeting(
    traced_fleet: Fleet, receiver: TraceReceiver
) -> None:
    final = await traced_fleet.start_meeting(0, [3, 4], is_fast=True).final
    check([3, 4], final)
    meeting_id = final["meeting"]["id"]
    spans = await asyncio.to_thread(receiver.wait_for, meeting_id, "meeting", "session.worker", "session")
    assert {one.trace_id for one in receiver.all()} == {meeting_id.replace("-", "")}
    (of_worker,) = [one for one in spans if one.name == "session.worker"]
    assert of_worker.service == "meeting-assistant-worker"
    above = {one.span_id: one for one in spans}
    utterances = [one for one in spans if one.name == "utterance"]
    assert len(utterances) == 2
    for one in utterances:
        assert one.service == "meeting-assistant-worker"
        assert chain(one, above) == ["utterance", "session.worker", "session", "meeting"]
        assert one.attributes["meeting_assistant.engine"] == "numbers"


async def test_a_worker_that_takes_over_is_in_the_same_trace(
    traced_fleet: Fleet, receiver: TraceReceiver
) -> None:
    (first,) = traced_fleet.workers
    meeting = traced_fleet.start_meeting(0, [5, 6, 7])
    await under_way([meeting])
    first.signal(signal.SIGTERM)
    await asyncio.to_thread(first.wait)
    await asyncio.to_thread(traced_fleet.mend, 1)
    final = await meeting.final
    check([5, 6, 7], final)
    meeting_id = final["meeting"]["id"]
    names = ("meeting", "session", "session.worker", "session.worker")
    spans = await asyncio.to_thread(receiver.wait_for, meeting_id, *names)
    workers = [one for one in spans if one.name == "session.worker"]
    above = {one.span_id: one for one in spans}
    assert len({one.attributes["meeting_assistant.worker"] for one in workers}) == len(workers) == 2
    assert all(chain(one, above) == ["session.worker", "session", "meeting"] for one in workers)


def chain(span: ReceivedSpan, above: dict[str, ReceivedSpan]) -> list[str]:
    """Return the names from a span up to the root."""
    names = [span.name]
    while span.parent_id:
        span = above[span.parent_id]
        names.append(span.name)
    return names


async def test_log_lines_of_a_worker_name_the_meeting_and_its_trace(traced_fleet: Fleet) -> None:
    final = await traced_fleet.start_meeting(0, [8], is_fast=True).final
    meeting_id = final["meeting"]["id"]
    written = traced_fleet.workers[0].log.read_text().splitlines()
    lines = [json.loads(line) for line in written if line[:1] == "{"]
    (taken,) = [line for line in lines if line["message"] == "Took a job."]
    assert taken["meeting"] == meeting_id
    assert taken["trace_id"] == meeting_id.replace("-", "")
