"""A file of two joined recordings, through the server and the embedded engine."""

from __future__ import annotations

import json

import httpx
import numpy as np
from websockets.asyncio.client import connect

from meeting_assistant.launcher import ServerProcess
from meeting_assistant.testing.harness.media import MediaTrack, encode


async def test_both_halves_of_chained_ogg_are_in_the_transcript_at_their_times(
    server: ServerProcess, hello: bytes
) -> None:
    """Mono, then stereo in opposite phase: the second half was lost, and cancelled."""
    voice = np.frombuffer(hello, "<i2").astype(np.float32)[None] / np.float32(32768)
    mono = encode("opus", MediaTrack(voice))
    stereo = encode("opus", MediaTrack(np.concatenate([voice, -voice])))
    seconds = voice.shape[1] / 16_000
    async with httpx.AsyncClient(base_url=server.url) as http:
        answer = await http.post("/api/meetings", files={"file": ("call.ogg", mono + stereo)})
        meeting_id = answer.json()["id"]
        async with connect(f"{server.ws_url}/ws/meetings/{meeting_id}/events", proxy=None) as socket:
            while (event := json.loads(await socket.recv()))["type"] != "final":
                pass
    utterances = event["transcript"]["utterances"]
    assert sum("Monday" in utterance["text"] for utterance in utterances) == 2
    first, last = utterances[0], utterances[-1]
    assert abs(last["start_ms"] - first["start_ms"] - seconds * 1000) < 300
    assert (event["errors"], event["transcript"]["gaps"]) == ([], [])
