"""A full server refuses new meetings, and a busy one reports what it omits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedError

from meeting_assistant.client import LiveClient, Message, paced
from meeting_assistant.demo import demo_audio_path
from meeting_assistant.launcher import ServerProcess

START = json.dumps({"type": "start", "sample_rate": 16000, "channels": 1})
PINNED_LEVEL = Path(__file__).parents[3] / "benchmarks/pinned_level.py"


def server_at_level(level: int, data_dir: Path) -> ServerProcess:
    """Return a server whose degradation ladder stays at `level`."""
    server = ServerProcess(data_dir)
    server.command = ("-c", PINNED_LEVEL.read_text(), str(level))
    return server


async def refused(server: ServerProcess) -> dict[str, Any]:
    """Send a `start` that is refused with close code 1013, "try again later"; return the error."""
    async with connect(f"{server.ws_url}/ws/meetings", proxy=None) as socket:
        await socket.send(START)
        error: dict[str, Any] = json.loads(await socket.recv())
        with pytest.raises(ConnectionClosedError) as closed:
            await socket.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1013
    return error


async def test_capacity_is_measured_before_the_first_meeting(server: ServerProcess) -> None:
    capacity = server.get("/api/capacity")
    assert capacity["total"] >= capacity["comfortable"] >= 1
    assert capacity["more"] == capacity["total"] - capacity["live"]
    assert 0 < capacity["load_per_meeting"] < 2
    assert capacity["level"] == 0


async def test_max_sessions_refuses_the_next_meeting_until_one_has_ended(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data", {"MAX_SESSIONS": "1"}) as server:
        async with connect(f"{server.ws_url}/ws/meetings", proxy=None) as socket:
            await socket.send(START)
            assert json.loads(await socket.recv())["type"] == "started"
            assert server.get("/api/capacity")["more"] == 0
            error = await refused(server)
            assert error["code"] == "overloaded"
            assert "MAX_SESSIONS" in error["remedy"]
            await socket.send(json.dumps({"type": "stop"}))
            while json.loads(await socket.recv())["type"] != "final":
                pass
        assert server.get("/api/capacity")["more"] == 1
        async with connect(f"{server.ws_url}/ws/meetings", proxy=None) as socket:
            await socket.send(START)
            assert json.loads(await socket.recv())["type"] == "started"


async def test_at_the_third_level_only_meetings_with_viewers_have_captions(tmp_path: Path) -> None:
    from meeting_assistant.adapters.audio.trusted import read_pcm

    pcm = read_pcm(demo_audio_path())[: 32_000 * 6]
    with server_at_level(3, tmp_path / "data") as server:
        for captions in (True, False):
            seen: list[Message] = []
            client = LiveClient(server.ws_url, on_message=seen.append, start={"captions": captions})
            final = await client.stream(paced(pcm))
            degraded = next(message for message in seen if message["type"] == "degraded")
            assert degraded["level"] == 3
            assert degraded["reason"]
            assert any(message["type"] == "partial_transcript" for message in seen) is captions
            assert final["transcript"]["utterances"], "finals are never left out"


async def test_at_the_last_level_new_meetings_are_refused(tmp_path: Path) -> None:
    with server_at_level(4, tmp_path / "data") as server:
        error = await refused(server)
        assert error["code"] == "overloaded"
        assert server.get("/api/capacity")["more"] == 0
