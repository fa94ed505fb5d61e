"""A day of sound through one meeting in compressed time: does memory stay flat, is every sentence there?

    python benchmarks/day_of_sound.py --hours 24

One spoken sentence every five minutes, silence between them, sent as fast as the server takes it. Prints resident
memory of the server by hour of sound, its slope after the first hours, and how many sentences were found.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np

from long_meeting import resident_mb
from meeting_assistant.adapters.audio.trusted import read_pcm
from meeting_assistant.client import LiveClient
from meeting_assistant.demo import hello_clip
from meeting_assistant.launcher import ServerProcess

SENTENCE_EVERY_S = 300
PIECE = 32_000
STEADY_AFTER_HOURS = 7.0


async def run(server: ServerProcess, hours: float) -> dict[str, Any]:
    """Stream it and watch memory."""
    hello = read_pcm(hello_clip()[0])
    memory: list[tuple[float, float]] = []
    sentences = 0

    async def sound() -> AsyncIterator[bytes]:
        nonlocal sentences
        second, total = 0, int(hours * 3600)
        while second < total:
            if second % 3600 == 0:
                memory.append((second / 3600, await asyncio.to_thread(resident_mb, server.url)))
            if second % SENTENCE_EVERY_S == SENTENCE_EVERY_S // 2:
                sentences += 1
                for start in range(0, len(hello) // PIECE * PIECE, PIECE):
                    yield hello[start : start + PIECE]
                second += len(hello) // PIECE
            else:
                yield bytes(PIECE)
                second += 1

    began = time.monotonic()
    final = await LiveClient(server.ws_url).stream(sound())
    took = time.monotonic() - began
    memory.append((hours, resident_mb(server.url)))
    steady = [entry for entry in memory if entry[0] >= min(STEADY_AFTER_HOURS, hours / 2)]
    hours_seen, megabytes = [hour for hour, _ in steady], [mb for _, mb in steady]
    slope = float(np.polyfit(hours_seen, megabytes, 1)[0]) if len(steady) > 2 else float("nan")
    texts = [utterance["text"] for utterance in final["transcript"]["utterances"]]
    return {
        "hours": hours,
        "seconds": round(took, 1),
        "times_real_time": round(hours * 3600 / took),
        "memory_mb": {f"{hour:.0f}": round(mb, 1) for hour, mb in memory},
        "slope_mb_per_hour": round(slope, 3),
        "sentences_said": sentences,
        "utterances": len(texts),
        "coverage": final["coverage"],
    }


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--storage", choices=["journal", "memory"], default="journal")
    options = parser.parse_args()
    env = {"MAX_MEETING_HOURS": "48", "CLIENT_LIMITS__LIVE_SPEED": "1000", "AUDIO_STORAGE": options.storage}
    with tempfile.TemporaryDirectory() as folder, ServerProcess(Path(folder, "data"), env) as server:
        print(json.dumps(asyncio.run(run(server, options.hours)), indent=2))


if __name__ == "__main__":
    main()
