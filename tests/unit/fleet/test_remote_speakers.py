"""Turns on their way from a worker to its gateway."""

from __future__ import annotations

import json
from typing import cast

import numpy as np
import pytest

from meeting_assistant.domain.jobs import InferenceJob, JobKind
from meeting_assistant.domain.ports import FleetEvent, GatewayLink, SpeakerTurn
from meeting_assistant.services.fleet.remote_diarization import RemoteDiarization, turns_to_wire

pytestmark = pytest.mark.unit

JOB = InferenceJob(kind=JobKind.IDENTIFY_SPEAKERS, meeting_id="m")
MOST_BYTES = 200_000
"""Less than a gateway takes at its own address."""


@pytest.mark.parametrize("count", [0, 1, 2000, 4321])
async def test_turns_of_any_meeting_arrive_as_they_are_in_pieces_that_a_gateway_takes(count: int) -> None:
    turns = [SpeakerTurn(n * 20_000_000, n * 20_000_000 + 900, n % 7) for n in range(count)]
    gateway = RemoteDiarization(JOB, np.zeros(0, np.int16), lambda share: None, cast(GatewayLink, None))
    for number, body in enumerate(turns_to_wire(turns), start=1):
        wire = json.dumps(body)
        assert len(wire) < MOST_BYTES
        await gateway.apply(FleetEvent("m", "attempt", number, "turns", json.loads(wire)))
    assert gateway.turns == turns


async def test_what_a_worker_told_before_it_died_is_replaced() -> None:
    gateway = RemoteDiarization(JOB, np.zeros(0, np.int16), lambda share: None, cast(GatewayLink, None))
    for attempt, count in (("first", 5), ("second", 2)):
        (body,) = turns_to_wire([SpeakerTurn(n, n + 1, 0) for n in range(count)])
        await gateway.apply(FleetEvent("m", attempt, 1, "turns", body))
    assert len(gateway.turns) == 2
