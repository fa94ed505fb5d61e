"""A long meeting in compressed time: memory while it grows, and how long the end takes.

    python benchmarks/long_meeting.py --hours 1

Sound is sent at ten times the pace of speech (`--speed`), slower than it is transcribed, so that there is as little
left to do at the end as in a real meeting. Prints resident memory with its slope per hour of sound, and seconds from
`stop` to `final`; then ten minutes as a file against the engine called directly on the same utterances.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np

from meeting_assistant.adapters.asr.moonshine import MoonshineEngine
from meeting_assistant.adapters.vad.silero import SileroVad
from meeting_assistant.bench.clips import demo_clip, part
from meeting_assistant.bench.load import Snapshot, stall_bound
from meeting_assistant.bench.offline import transcribe_as_file
from meeting_assistant.bench.timeline import Clip
from meeting_assistant.client import LiveClient, Message, paced
from meeting_assistant.domain.audio import pcm_to_samples, to_waveform
from meeting_assistant.domain.ports import AsrRequest
from meeting_assistant.launcher import ServerProcess
from meeting_assistant.services.asr.endpointing import Endpointer, SpeechEnded

SAMPLE_EVERY_S = 120.0
"""Seconds of sound between two looks at memory."""


def resident_mb(url: str) -> float:
    """Of the server process."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=30) as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith("process_resident_memory_bytes"):
                return float(line.split()[1]) / 1e6
    return float("nan")


async def live(server: ServerProcess, clip: Clip, speed: float) -> dict[str, Any]:
    """Stream it, watch memory, wait for the end."""
    memory: list[tuple[float, float]] = []
    stopped_at = 0.0

    async def sound() -> AsyncIterator[bytes]:
        nonlocal stopped_at
        sent, next_look = 0.0, 0.0
        async for piece in paced(clip.pcm, speed=speed):
            if sent >= next_look:
                memory.append((sent / 3600, await asyncio.to_thread(resident_mb, server.url)))
                next_look = sent + SAMPLE_EVERY_S
            sent += len(piece) / 32_000
            yield piece
        stopped_at = time.monotonic()

    processing_at = 0.0

    def watch(message: Message) -> None:
        nonlocal processing_at
        if message["type"] == "status" and message["status"] == "Processing audio" and not processing_at:
            processing_at = time.monotonic()

    before, began = Snapshot.take(server.url), time.monotonic()
    final = await LiveClient(server.ws_url, on_message=watch).stream(sound())
    ended = time.monotonic()
    steady = [(hour, mb) for hour, mb in memory if hour > memory[-1][0] * 0.2]
    hours_seen, megabytes = [hour for hour, _ in steady], [mb for _, mb in steady]
    slope = float(np.polyfit(hours_seen, megabytes, 1)[0]) if len(steady) > 2 else float("nan")
    return {
        "hours": round(clip.seconds / 3600, 2),
        "speed": round(clip.seconds / (ended - began), 1),
        "last_sound_to_final_s": round(ended - stopped_at, 2),
        "stop_to_final_s": round(ended - processing_at, 2),
        "utterances": len(final["transcript"]["utterances"]),
        "coverage": final["coverage"],
        "memory_mb": [round(mb) for _, mb in memory][:: max(1, len(memory) // 8)],
        "memory_mb_per_hour": round(slope, 1),
        "event_loop_stall_s": stall_bound(before, Snapshot.take(server.url)),
    }


async def as_file(server: ServerProcess, clip: Clip) -> dict[str, Any]:
    """The upload path against the engine itself on the same utterances, one after the other."""
    _, seconds = await transcribe_as_file(server.url, clip)
    engine, vad = MoonshineEngine(), SileroVad()
    engine.load()
    vad.load()
    samples = pcm_to_samples(clip.pcm)
    began = time.monotonic()
    endpointer = Endpointer()
    events = [*endpointer.push(vad.open().feed(samples).tolist()), *endpointer.flush(len(samples))]
    for event in events:
        if isinstance(event, SpeechEnded):
            window = to_waveform(samples[event.start_sample : event.end_sample])
            engine.transcribe([AsrRequest("direct", "final", window)])
    direct = time.monotonic() - began
    return {
        "file_s": round(seconds, 2),
        "engine_alone_s": round(direct, 2),
        "share_of_its_speed": round(direct / seconds, 2),
    }


async def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--speed", type=float, default=10.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ServerProcess(Path(folder, "data")) as server:
        report = {
            "live": await live(server, part(demo_clip(), seconds=options.hours * 3600), options.speed),
            "file": await as_file(server, part(demo_clip(), seconds=600)),
        }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    asyncio.run(main())
