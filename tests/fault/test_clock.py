"""The clock of the machine jumps: an hour forward, two back. Meetings keep their own time, by their samples."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from meeting_assistant.client import LiveClient, paced
from meeting_assistant.testing.server import ServerProcess

JUMPING = """
import pathlib, time
_offset = pathlib.Path({path!r})
_time = time.time
time.time = lambda: _time() + float(_offset.read_text() or 0)
"""
"""Run by Python in the server's process before anything else."""


def test_a_clock_that_jumps_changes_nothing_of_a_meeting(tmp_path: Path, hello: bytes) -> None:
    offset = tmp_path / "offset"
    offset.write_text("0")
    (tmp_path / "site").mkdir()
    (tmp_path / "site/sitecustomize.py").write_text(JUMPING.format(path=str(offset)))
    sound = hello * 4
    env = {"PYTHONPATH": str(tmp_path / "site"), "SESSION_GRACE_SECONDS": "600"}
    with ServerProcess(tmp_path / "data", env) as server:
        jumps = iter(["3600", "-7200", "86400"])

        def jump(message: Mapping[str, Any]) -> None:
            if message["type"] == "transcript":
                offset.write_text(next(jumps, "0"))

        client = LiveClient(server.ws_url, on_message=jump)
        final = asyncio.run(client.stream(paced(sound, speed=6)))
        assert next(jumps, "all used") == "all used"
    coverage = final["coverage"]
    assert coverage["captured_s"] == coverage["transcribed_s"] == round(len(sound) / 32_000, 3)
    starts = [utterance["start_ms"] for utterance in final["transcript"]["utterances"]]
    assert len(starts) == 4
    assert starts == sorted(starts)
    assert final["errors"] == []
