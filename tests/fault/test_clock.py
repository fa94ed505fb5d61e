"""The clock of the machine jumps: an hour forward, two back. Meetings keep their own time, by their samples."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from meeting_assistant.client import LiveClient, paced
from meeting_assistant.launcher import ServerProcess
from meeting_assistant.testing.harness.campaign import Campaign

JUMPING = """
import pathlib, time
_offset = pathlib.Path({path!r})
_time = time.time
time.time = lambda: _time() + float(_offset.read_text() or 0)
"""
"""Run by Python in the server's process before anything else."""


@pytest.mark.timeout(0)
@pytest.mark.short(1)
def test_a_jump_of_the_clock_does_not_affect_a_meeting(
    tmp_path: Path, campaign: Campaign, hello: bytes
) -> None:
    offset = tmp_path / "offset"
    set_clock(offset, 0)
    (tmp_path / "site").mkdir()
    (tmp_path / "site/sitecustomize.py").write_text(JUMPING.format(path=str(offset)))
    sound = hello * 4
    env = {"PYTHONPATH": str(tmp_path / "site"), "SESSION_GRACE_SECONDS": "600"}
    with ServerProcess(tmp_path / "data", env) as server:
        undisturbed = spoken_lines(asyncio.run(LiveClient(server.ws_url).stream(paced(sound, speed=6))))
        assert len(undisturbed) == 4
        for seed in campaign.seeds():
            dice = random.Random(seed)
            jumps = 0

            def jump(message: Mapping[str, Any], dice: random.Random = dice) -> None:
                nonlocal jumps
                if message["type"] == "transcript" or dice.random() < 0.3:
                    set_clock(offset, round(dice.choice((-1, 1)) * 10 ** dice.uniform(0, 6.5)))
                    jumps += 1

            client = LiveClient(server.ws_url, on_message=jump)
            final = asyncio.run(client.stream(paced(sound, speed=6)))
            coverage = final["coverage"]
            assert coverage["captured_s"] == coverage["transcribed_s"] == round(len(sound) / 32_000, 3)
            assert spoken_lines(final) == undisturbed
            assert final["errors"] == []
            assert jumps >= 4
            campaign.count(meetings=1, jumps=jumps)


def spoken_lines(final: Mapping[str, Any]) -> list[tuple[int, int, str]]:
    return [(u["start_ms"], u["end_ms"], u["text"]) for u in final["transcript"]["utterances"]]


def set_clock(offset: Path, seconds: int) -> None:
    """In one step, so that the server never reads half a number."""
    written = offset.with_suffix(".new")
    written.write_text(str(seconds))
    written.replace(offset)
