"""Transfer of speaker turns from a worker to its gateway."""

from __future__ import annotations

from typing import cast

import numpy as np
import pytest

from meeting_assistant.domain.jobs import InferenceJob, JobKind
from meeting_assistant.domain.ports import GatewayLink, SpeakerTurn
from meeting_assistant.services.fleet.messages import Turns, WorkerMessage, decode_worker_message, encode
from meeting_assistant.services.fleet.remote_diarization import RemoteDiarization, split_turns

pytestmark = pytest.mark.unit

JOB = InferenceJob(kind=JobKind.IDENTIFY_SPEAKERS, meeting_id="m")
MOST_BYTES = 200_000
"""Less than a gateway accepts at its own address."""


def new_gateway() -> RemoteDiarization:
    return RemoteDiarization(JOB, np.zeros(0, np.int16), lambda share: None, cast(GatewayLink, None))


@pytest.mark.parametrize("count", [0, 1, 2000, 4321])
async def test_turns_are_sent_unchanged_in_parts_that_a_gateway_accepts(count: int) -> None:
    turns = [SpeakerTurn(n * 20_000_000, n * 20_000_000 + 900, n % 7) for n in range(count)]
    gateway = new_gateway()
    for number, part in enumerate(split_turns(turns), start=1):
        wire = encode(WorkerMessage(meeting_id="m", attempt="attempt", number=number, body=part))
        assert len(wire) < MOST_BYTES
        body = decode_worker_message(wire).body
        assert isinstance(body, Turns)
        await gateway.apply(body)
    assert gateway.turns == turns


async def test_turns_of_a_worker_that_died_are_replaced() -> None:
    gateway = new_gateway()
    for count in (5, 2):
        (part,) = split_turns([SpeakerTurn(n, n + 1, 0) for n in range(count)])
        await gateway.apply(part)
    assert len(gateway.turns) == 2
