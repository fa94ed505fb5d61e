"""`AUDIO_STORAGE=memory`: no audio touches the disk, and still nothing is lost."""

from __future__ import annotations

import asyncio
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from meeting_assistant.client import LiveClient, paced
from meeting_assistant.launcher import ServerProcess

pytestmark = pytest.mark.integration


@pytest.fixture
def memory_server(tmp_path: Path) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path / "data", {"AUDIO_STORAGE": "memory"}) as server:
        yield server


def test_audio_is_acknowledged_once_its_words_are_stored(
    memory_server: ServerProcess, hello: bytes, tmp_path: Path
) -> None:
    order: list[str] = []

    def note(message: Mapping[str, Any]) -> None:
        if message["type"] == "transcript":
            order.append("words")
        if message["type"] == "ack" and message["received_bytes"] >= 64_000:
            order.append("ack")

    final = asyncio.run(LiveClient(memory_server.ws_url, on_message=note).stream(paced(hello, is_fast=True)))
    assert "Monday" in " ".join(utterance["text"] for utterance in final["transcript"]["utterances"])
    assert order[0] == "words", "an ack means that the words are in the database"
    assert final["coverage"]["captured_s"] == final["coverage"]["transcribed_s"]
    assert not list((tmp_path / "data").rglob("*.journal"))
    assert not (tmp_path / "data" / "audio").exists()


def test_in_memory_mode_keeps_no_recording(memory_server: ServerProcess, hello: bytes) -> None:
    final = asyncio.run(LiveClient(memory_server.ws_url).stream(paced(hello, is_fast=True)))
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(
            f"{memory_server.url}/api/meetings/{final['meeting']['id']}/audio.wav", timeout=30
        )
    assert caught.value.code == 404
    caught.value.close()


def test_unacknowledged_audio_is_sent_again_after_a_crash(tmp_path: Path, hello: bytes) -> None:
    from meeting_assistant.launcher import free_port

    port = free_port()
    first = ServerProcess(tmp_path / "data", {"AUDIO_STORAGE": "memory"}, port=port)
    second = ServerProcess(tmp_path / "data", {"AUDIO_STORAGE": "memory"}, port=port)

    async def record() -> Mapping[str, Any]:
        transcribed, restarted = asyncio.Event(), asyncio.Event()

        async def audio() -> Any:
            yield hello
            await restarted.wait()
            yield hello

        def watch(message: Mapping[str, Any]) -> None:
            if message["type"] == "transcript":
                transcribed.set()

        streaming = asyncio.create_task(
            LiveClient(f"ws://127.0.0.1:{port}", on_message=watch).stream(audio())
        )
        await transcribed.wait()
        await asyncio.to_thread(first.kill)
        await asyncio.to_thread(second.start)
        restarted.set()
        return await streaming

    first.start()
    try:
        final = asyncio.run(record())
    finally:
        first.kill()
        second.stop()
    texts = [utterance["text"] for utterance in final["transcript"]["utterances"]]
    assert " ".join(texts).count("Monday") == 2, texts
