"""`kill -9`, torn sockets and full disks in the middle of live meetings, with a real client and the real engine.

After each the meeting must be what it is without any fault: every byte, every word, every event once.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from meeting_assistant.adapters.audio.trusted import read_pcm
from meeting_assistant.client import LiveClient, paced
from meeting_assistant.demo import demo_audio_path
from meeting_assistant.launcher import ServerProcess, free_port
from meeting_assistant.testing.harness.campaign import Campaign
from meeting_assistant.testing.servers.proxy import CuttingProxy

SECONDS = 24
SPEED = 6.0
"""Times the pace of speech."""
Line = tuple[int, int, str | None, str]


@pytest.fixture(scope="module")
def sound() -> bytes:
    return read_pcm(demo_audio_path())[: SECONDS * 32_000]


@pytest.fixture(scope="module")
def undisturbed(server: ServerProcess, sound: bytes) -> list[Line]:
    """Return the transcript of the meeting without faults."""
    final = asyncio.run(LiveClient(server.ws_url).stream(paced(sound, speed=SPEED)))
    found = lines(final)
    assert len(found) >= 5
    return found


def lines(final: Mapping[str, Any]) -> list[Line]:
    """Speakers in the order in which they appear: a label that was taken back is not given again."""
    order: dict[str | None, str | None] = {None: None}
    for utterance in final["transcript"]["utterances"]:
        order.setdefault(utterance["speaker"], f"speaker {len(order)}")
    return [
        (u["start_ms"], u["end_ms"], order[u["speaker"]], u["text"])
        for u in final["transcript"]["utterances"]
    ]


def without_speakers(given: list[Line]) -> list[tuple[int, int, str]]:
    return [(start, end, text) for start, end, _, text in given]


@dataclass
class Witness:
    """A client that records the durable events it receives."""

    url: str
    numbers: list[int] = field(default_factory=list)
    utterances: list[int] = field(default_factory=list)
    acknowledged: int = 0

    def note(self, message: Mapping[str, Any]) -> None:
        if message["type"] in ("transcript", "speakers", "notes", "gap", "final"):
            self.numbers.append(message["seq"])
        if message["type"] == "transcript":
            self.utterances.append(message["utterance"])
        if message["type"] in ("ack", "started"):
            assert message["received_bytes"] >= self.acknowledged, "what was safe is safe"
            self.acknowledged = message["received_bytes"]

    async def stream(self, sound: bytes, speed: float = SPEED) -> Mapping[str, Any]:
        client = LiveClient(self.url, on_message=self.note, retry_seconds=(0.05, 0.1, 0.2))
        return await client.stream(paced(sound, speed=speed))

    def check(self) -> None:
        assert self.numbers == list(range(1, len(self.numbers) + 1)), "every event once, in order"
        assert len(set(self.utterances)) == len(self.utterances)


def is_whole(final: Mapping[str, Any]) -> bool:
    coverage = final["coverage"]
    captured = SECONDS
    return bool(
        coverage["captured_s"] == coverage["stored_s"] == coverage["transcribed_s"] == captured
        and final["errors"] == []
        and final["minutes"] is not None
    )


async def kill_at_random(server: ServerProcess, dice: random.Random, done: asyncio.Event, most: int) -> int:
    """Kill it, and start it again, some of the time before it is ready; returns how often."""
    kills = 0
    while not done.is_set() and kills < most:
        try:
            async with asyncio.timeout(dice.uniform(0.05, 1.5)):
                await done.wait()
        except TimeoutError:
            await asyncio.to_thread(server.kill)
            kills += 1
            if dice.random() < 0.3:
                server.spawn()
                await asyncio.sleep(dice.uniform(0.2, 3.0))
                await asyncio.to_thread(server.kill)
                kills += 1
            await asyncio.to_thread(server.start)
    return kills


@pytest.mark.timeout(0)
@pytest.mark.short(2)
@pytest.mark.parametrize("mode", ["journal", "memory"])
def test_a_server_killed_repeatedly_loses_and_repeats_nothing(
    tmp_path: Path, campaign: Campaign, sound: bytes, undisturbed: list[Line], mode: str
) -> None:
    killed = 0
    for seed in campaign.seeds():
        if killed >= campaign.cycles:
            break
        dice = random.Random(seed)
        server = ServerProcess(tmp_path / "data", {"AUDIO_STORAGE": mode}, port=free_port())
        witness = Witness("")

        async def record(server: ServerProcess, witness: Witness, dice: random.Random, most: int) -> Any:
            done = asyncio.Event()
            killing = asyncio.create_task(kill_at_random(server, dice, done, most))
            final = await witness.stream(sound)
            done.set()
            return final, await killing

        server.start()
        witness.url = server.ws_url
        try:
            most = min(25, campaign.cycles - killed)
            final, kills = asyncio.run(record(server, witness, dice, most))
            witness.check()
            assert is_whole(final), final["coverage"]
            if mode == "journal":
                assert lines(final) == undisturbed
                meeting = final["meeting"]["id"]
                stored = httpx.get(f"{server.url}/api/meetings/{meeting}/audio.wav", timeout=30).content
                assert stored[44:] == sound
            else:
                assert without_speakers(lines(final)) == without_speakers(undisturbed)
                assert not (tmp_path / "data/audio").exists()
        finally:
            server.stop()
        killed += max(1, kills)
        campaign.count(meetings=1, kills=kills, sound_bytes=len(sound))


@pytest.mark.timeout(0)
@pytest.mark.short(2)
def test_sockets_cut_at_any_byte_lose_nothing(
    server: ServerProcess, campaign: Campaign, sound: bytes, undisturbed: list[Line]
) -> None:
    cut = 0
    for seed in campaign.seeds():
        if cut >= campaign.cycles:
            break

        async def record(seed: int) -> tuple[Any, Witness, int]:
            async with CuttingProxy(int(server.url.rsplit(":", 1)[1]), seed) as proxy:
                witness = Witness(f"ws://127.0.0.1:{proxy.port}")
                return await witness.stream(sound, speed=20), witness, proxy.cuts

        final, witness, cuts = asyncio.run(record(seed))
        witness.check()
        assert is_whole(final), final["coverage"]
        assert lines(final) == undisturbed
        stored = httpx.get(f"{server.url}/api/meetings/{final['meeting']['id']}/audio.wav", timeout=30)
        assert stored.content[44:] == sound
        cut += max(1, cuts)
        campaign.count(meetings=1, cuts=cuts)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A separate file system of 6 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        if os.environ.get("CI"):
            pytest.fail("CI has to be able to mount a small disk")
        pytest.skip("only root may mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.timeout(0)
@pytest.mark.short(1)
def test_a_full_disk_stops_acknowledgements_but_not_captions_until_there_is_space(
    small_disk: Path, campaign: Campaign, sound: bytes, undisturbed: list[Line]
) -> None:
    ballast = small_disk / "ballast"
    with ServerProcess(small_disk / "data", {"MIN_FREE_DISK_BYTES": "0"}) as server:
        for seed in campaign.seeds():
            dice = random.Random(seed)
            seen: list[tuple[str, Any]] = []
            full, shown_while_full = asyncio.Event(), asyncio.Event()

            def note(
                message: Mapping[str, Any],
                seen: list[tuple[str, Any]] = seen,
                full: asyncio.Event = full,
                shown_while_full: asyncio.Event = shown_while_full,
            ) -> None:
                if message["type"] == "storage":
                    seen.append(("storage", message["state"]))
                    if message["state"] != "ok":
                        full.set()
                elif message["type"] == "ack":
                    stored = sum(
                        f.stat().st_size for f in (small_disk / "data/audio").rglob("*") if f.is_file()
                    )
                    seen.append(("ack", (message["received_bytes"], stored)))
                elif message["type"] == "partial_transcript" and full.is_set() and ballast.exists():
                    shown_while_full.set()

            client = LiveClient(server.ws_url, on_message=note, retry_seconds=(0.1,))

            async def record(
                client: LiveClient = client,
                dice: random.Random = dice,
                full: asyncio.Event = full,
                shown_while_full: asyncio.Event = shown_while_full,
            ) -> tuple[Mapping[str, Any], int]:
                meeting = asyncio.create_task(client.stream(paced(sound, speed=4)))
                await asyncio.sleep(dice.uniform(0.3, 1.5))  # the meeting is under way
                await asyncio.to_thread(fill, ballast, dice.randrange(0, 400_000))
                async with asyncio.timeout(60):
                    await full.wait()
                    await shown_while_full.wait()
                refused = await asyncio.to_thread(
                    httpx.post, f"{server.url}/api/meetings", files={"file": ("a.wav", bytes(2_000_000))}
                )
                await asyncio.to_thread(ballast.unlink)
                return await meeting, refused.status_code

            final, upload_status = asyncio.run(record())
            assert ("storage", "full") in seen
            assert ("storage", "ok") in seen
            for kind, value in seen:
                # A few bytes may still fit beside the ballast: what is acknowledged lies on the disk.
                assert kind != "ack" or value[0] <= value[1]
            assert upload_status == 507
            assert is_whole(final), final["coverage"]
            assert lines(final) == undisturbed
            meeting = f"{server.url}/api/meetings/{final['meeting']['id']}"
            assert httpx.get(f"{meeting}/audio.wav", timeout=30).content[44:] == sound
            assert httpx.delete(meeting).is_success, "room for the next one"
            campaign.count(meetings=1, sound_bytes=len(sound))


def fill(ballast: Path, left: int) -> None:
    """Take all of the disk but so many bytes."""
    room = os.statvfs(ballast.parent)
    # The server writes at the same time: even if it was faster, the disk is full.
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        file.write(bytes(max(0, room.f_bavail * room.f_frsize - left)))


def test_a_nearly_full_disk_refuses_new_meetings_with_a_reason(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data", {"MIN_FREE_DISK_BYTES": "900TB"}) as server:
        from meeting_assistant.domain.errors import MeetingRefusedError

        with pytest.raises(MeetingRefusedError, match="MB are free") as refused:
            asyncio.run(LiveClient(server.ws_url).stream(paced(bytes(3200), is_fast=True)))
        assert refused.value.code == "disk_full"
        answer = httpx.post(f"{server.url}/api/meetings", files={"file": ("a.wav", b"RIFF")})
        assert answer.status_code == 507
        assert "MIN_FREE_DISK_BYTES" in answer.json()["error"]["remedy"]
