"""`kill -9` at any moment: what was acknowledged is stored, byte for byte."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet

from meeting_assistant.adapters.storage.journal.files import FileAudioStore
from meeting_assistant.adapters.storage.journal.keys import KeyRing
from meeting_assistant.client import LiveClient, paced
from meeting_assistant.demo import demo_audio_path
from meeting_assistant.launcher import ServerProcess, free_port

pytestmark = pytest.mark.fault

MEETING = "01890a5d-ac96-774b-bcce-b302099a8057"

WRITER = """
import random, sys
from pathlib import Path
from meeting_assistant.adapters.storage.journal.files import FileAudioStore
from meeting_assistant.adapters.storage.journal.keys import KeyRing

directory, key, meeting, seed = sys.argv[1:]
store = FileAudioStore(Path(directory), KeyRing([key]))
journal = store.open(meeting) if store.exists(meeting) else store.create(meeting)
sizes = random.Random(int(seed))
while True:
    start = journal.durable_bytes
    piece = b"".join(n.to_bytes(4, "big") for n in range(start // 4, start // 4 + sizes.randrange(1, 9000)))
    journal.append(piece)
    print(journal.durable_bytes, flush=True)
"""


def test_a_writer_killed_repeatedly_loses_no_acknowledged_audio(tmp_path: Path) -> None:
    key = Fernet.generate_key().decode()
    acknowledged = 0
    for round_number in range(6):
        arguments = [str(tmp_path / "audio"), key, MEETING, str(round_number)]
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, *arguments], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        for _ in range(random.Random(round_number).randrange(1, 40)):
            acknowledged = int(writer.stdout.readline())
        writer.kill()
        acknowledged = max([acknowledged, *map(int, writer.stdout.read().split())])
        writer.wait()
        writer.stdout.close()

        journal = FileAudioStore(tmp_path / "audio", KeyRing([key])).open(MEETING, durable_bytes=acknowledged)
        stored = journal.durable_bytes
        assert stored >= acknowledged
        expected = b"".join(n.to_bytes(4, "big") for n in range(stored // 4))
        assert journal.read(0, stored) == expected
        journal.close()


def test_a_server_killed_during_a_meeting_finishes_it_without_a_gap(tmp_path: Path) -> None:
    from meeting_assistant.adapters.audio.trusted import read_pcm

    audio = read_pcm(demo_audio_path())[: 40 * 32_000]
    port = free_port()
    log = tmp_path / "audit.jsonl"
    first, second = (
        ServerProcess(tmp_path / "data", {"MEETING_LOG_PATH": str(log)}, port=port) for _ in range(2)
    )

    async def record() -> Mapping[str, Any]:
        transcribed_enough = asyncio.Event()
        seen: list[int] = []

        def watch(message: Mapping[str, Any]) -> None:
            if message["type"] == "transcript":
                seen.append(message["utterance"])
                if len(seen) == 3:
                    transcribed_enough.set()

        client = LiveClient(f"ws://127.0.0.1:{port}", on_message=watch)
        streaming = asyncio.create_task(client.stream(paced(audio, is_fast=True)))
        await transcribed_enough.wait()
        await asyncio.to_thread(first.kill)
        await asyncio.to_thread(second.start)
        final = await streaming
        assert sorted(set(seen)) == sorted(seen), "no utterance is sent twice"
        return final

    first.start()
    try:
        final = asyncio.run(record())
        while not log.exists():  # workflows run after `final` has been sent
            time.sleep(0.05)
    finally:
        first.kill()
        second.stop()
    assert [json.loads(line)["type"] for line in log.read_text().splitlines()] == ["meeting"], (
        "delivered once"
    )
    coverage = final["coverage"]
    assert coverage["captured_s"] == coverage["stored_s"] == coverage["transcribed_s"] == 40.0
    assert final["transcript"]["gaps"] == []
    text = " ".join(utterance["text"] for utterance in final["transcript"]["utterances"])
    assert "planning meeting" in text
    assert "second solution" in text
