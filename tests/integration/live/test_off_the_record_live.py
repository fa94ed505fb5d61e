"""Off the record: neither audio nor words are stored anywhere."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from websockets.asyncio.client import ClientConnection, connect

from meeting_assistant.client import LiveClient, paced
from meeting_assistant.domain.audio import Waveform, samples_to_ms
from meeting_assistant.launcher import ServerProcess, free_port

START = {"type": "start", "sample_rate": 16000, "channels": 1}
SECRET = "strawberry"


def pcm(audio: Waveform) -> bytes:
    return (np.pad(audio, (0, 12_000)) * 32767).astype("<i2").tobytes()


def ms(offset: int) -> int:
    return samples_to_ms(offset // 2)


async def send_message(socket: ClientConnection, **message: object) -> None:
    await socket.send(json.dumps(message))


async def receive(socket: ClientConnection, kind: str) -> dict[str, Any]:
    while True:
        message: dict[str, Any] = json.loads(await socket.recv())
        if message["type"] == kind:
            return message


async def send(socket: ClientConnection, audio: bytes) -> None:
    for start in range(0, len(audio), 6400):
        await socket.send(audio[start : start + 6400])


async def acknowledged(socket: ClientConnection, offset: int) -> None:
    while (await receive(socket, "ack"))["received_bytes"] < offset:
        pass


def words_of(document: Mapping[str, Any]) -> str:
    return " ".join(u["text"] for u in document["transcript"]["utterances"]).lower()


def files_with(folder: Path, text: str) -> list[Path]:
    return [
        file for file in folder.rglob("*") if file.is_file() and text.encode() in file.read_bytes().lower()
    ]


async def test_off_the_record_speech_is_stored_nowhere_even_if_the_server_is_killed(
    tmp_path: Path, speak: Any
) -> None:
    before = pcm(speak("The budget of the project was approved."))
    secret = pcm(speak(f"My password is {SECRET}, keep it to yourself."))
    after = pcm(speak("We will meet again on Monday morning."))
    port = free_port()
    server = ServerProcess(tmp_path / "data", port=port)
    server.start()
    async with connect(f"{server.ws_url}/ws/meetings", proxy=None) as socket:
        await send_message(socket, **START)
        meeting = (await receive(socket, "started"))["meeting_id"]
        await send(socket, before)
        await send_message(socket, type="pause", forget=True)
        await send(socket, secret[: len(secret) // 2 // 2 * 2])
        await acknowledged(socket, len(before) + len(secret) // 2 // 2 * 2)
        server.kill()
    server.start()
    try:
        async with connect(f"{server.ws_url}/ws/meetings", proxy=None) as socket:
            await send_message(socket, **START, meeting_id=meeting)
            # The client does not repeat that it is off the record: the server remembers.
            offset = (await receive(socket, "started"))["received_bytes"]
            await send(socket, (before + secret)[offset:])
            await send_message(socket, type="resume")
            await send(socket, after)
            await send_message(socket, type="stop")
            final = await receive(socket, "final")
        assert "budget" in words_of(final)
        assert "monday" in words_of(final)
        assert SECRET not in json.dumps(final).lower()
        gap = final["transcript"]["gaps"]
        assert [(g["reason"], g["start_ms"], g["end_ms"]) for g in gap] == [
            ("off_the_record", ms(len(before)), ms(len(before) + len(secret)))
        ]
        stored = await asyncio.to_thread(httpx.get, f"{server.url}/api/meetings/{meeting}/audio.wav")
        assert stored.content[44:] == before + bytes(len(secret)) + after
    finally:
        server.stop()
    assert files_with(tmp_path, SECRET) == []


def test_a_span_can_be_redacted_afterwards(tmp_path: Path, speak: Any) -> None:
    first = pcm(speak("We decided to ship the release on Friday."))
    second = pcm(speak(f"By the way, I will bring the {SECRET} cake tomorrow."))
    with ServerProcess(tmp_path / "data") as server:
        client = LiveClient(server.ws_url)
        final = asyncio.run(client.stream(paced(first + second, is_fast=True)))
        assert SECRET in words_of(final)
        meeting = final["meeting"]["id"]
        path = f"{server.url}/api/meetings/{meeting}"
        span = {"start_ms": ms(len(first)), "end_ms": ms(len(first) + len(second))}
        document = httpx.post(f"{path}/forget", json=span, timeout=30).raise_for_status().json()
        assert SECRET not in json.dumps(document).lower()
        assert "friday" in words_of(document)
        assert document["minutes"] is not None
        assert [gap["reason"] for gap in document["transcript"]["gaps"]] == ["off_the_record"]
        for form in ("md", "json", "srt", "vtt", "txt"):
            assert SECRET not in httpx.get(f"{path}/export?format={form}").text.lower()
        audio = httpx.get(f"{path}/audio.wav").content[44:]
        assert audio[: len(first) - 32] == first[:-32]
        assert not any(audio[len(first) + 32 :])
        assert files_with(tmp_path, SECRET) == [], "nor in the database, its log, or any other file"
        # Twice is once, and the order of the two ends is checked.
        assert httpx.post(f"{path}/forget", json=span, timeout=30).status_code == 200
        assert httpx.post(f"{path}/forget", json={"start_ms": 5, "end_ms": 5}).status_code == 422


async def test_a_redaction_during_recording_is_refused_with_the_message_to_send(
    server: ServerProcess,
) -> None:
    async with connect(f"{server.ws_url}/ws/meetings", proxy=None) as socket:
        await send_message(socket, **START)
        meeting = (await receive(socket, "started"))["meeting_id"]
        refused = await asyncio.to_thread(
            httpx.post, f"{server.url}/api/meetings/{meeting}/forget", json={"start_ms": 0, "end_ms": 1}
        )
        assert refused.status_code == 409
        assert "`forget`" in refused.json()["error"]["remedy"]
        await send_message(socket, type="stop")
        await receive(socket, "final")


@pytest.mark.parametrize("kind", ["pause", "resume"])
async def test_a_resume_without_a_pause_and_an_empty_pause_change_nothing(
    server: ServerProcess, kind: str
) -> None:
    async with connect(f"{server.ws_url}/ws/meetings", proxy=None) as socket:
        await send_message(socket, **START)
        await receive(socket, "started")
        if kind == "pause":
            await send_message(socket, type="pause", forget=True)
        await send_message(socket, type="resume")
        await send(socket, bytes(32_000))
        await send_message(socket, type="stop")
        final = await receive(socket, "final")
    assert final["transcript"]["gaps"] == []
    assert final["coverage"]["captured_s"] == 1.0
