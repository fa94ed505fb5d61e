"""What a fleet carries, what Redis takes for it, how long meetings wait when a worker dies, and what follows for
thousands.

    python benchmarks/fleet.py                 real processes on this machine, then the simulation
    python benchmarks/fleet.py --simulate      the simulation only, from the last measurements

The engine sleeps instead of computing, so that workers do not fight for processors: what is measured is the carrying.
Writes `benchmarks/results/fleet-<date>.json`."""

from __future__ import annotations

import argparse
import asyncio
import datetime
import heapq
import json
import random
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from signal import SIGKILL
from typing import Any

from meeting_assistant.testing.fleet import LEASE_S, Fleet, RedisProcess, check

RESULTS = Path(__file__).parent / "results"
DECODE_S = 0.4
ITEMS = 6
SESSIONS = (10, 100, 1000, 10_000)
FINAL_EVERY_S = 4.0
PARTIAL_EVERY_S = 0.5
MTBF_S = 24 * 3600.0
"""Of one worker."""
REPLAY_FACTOR = 10.0
"""How many times faster than speech a worker hears what it has to hear again."""


async def throughput(folder: Path, workers: int) -> float:
    """Utterances per second of eight meetings that are sent as fast as they are taken."""
    carrier, fleet = new_fleet(folder / f"t{workers}")
    try:
        fleet.add_gateways(1)
        fleet.add_workers(workers, DECODE_S)
        began = time.monotonic()
        meetings = [
            (list(range(ITEMS)), asyncio.create_task(fleet.hold(0, list(range(ITEMS)), is_fast=True)))
            for _ in range(8)
        ]
        for numbers, meeting in meetings:
            check(numbers, await meeting)
        return 8 * ITEMS / (time.monotonic() - began)
    finally:
        fleet.close()
        carrier.close()


async def carrying(folder: Path, sessions: int) -> dict[str, float]:
    """Redis' processor time for a session, and the longest silence when a worker is killed in the middle."""
    carrier, fleet = new_fleet(folder / f"c{sessions}")
    try:
        fleet.add_gateways(2)
        fleet.add_workers(3)
        client = carrier.client()
        before, began = cpu_of(client.info("cpu")), time.monotonic()
        meetings = await fleet.hold_many(sessions, ITEMS)
        calm = [await meeting for _, meeting in meetings]
        cpu_share = (cpu_of(client.info("cpu")) - before) / (time.monotonic() - began)
        meetings = await fleet.hold_many(sessions, ITEMS)
        await asyncio.sleep(5)
        fleet.busiest().signal(SIGKILL)
        shaken = [await meeting for _, meeting in meetings]
        for (numbers, _), final in zip(meetings, shaken, strict=True):
            check(numbers, final)
        return {
            "sessions": sessions,
            "redis_core_percent_per_session": round(100 * cpu_share / sessions, 3),
            "longest_silence_s": round(max(one["longest_silence_s"] for one in calm), 2),
            "longest_silence_with_a_killed_worker_s": round(
                max(one["longest_silence_s"] for one in shaken), 2
            ),
            "lease_s": LEASE_S,
        }
    finally:
        fleet.close()
        carrier.close()


def new_fleet(folder: Path) -> tuple[RedisProcess, Fleet]:
    folder.mkdir(parents=True)
    program = shutil.which("redis-server")
    assert program is not None, "redis-server is not installed"
    carrier = RedisProcess(program, folder / "redis")
    carrier.start()
    return carrier, Fleet(folder, carrier)


def cpu_of(info: Any) -> float:
    return float(info["used_cpu_user"]) + float(info["used_cpu_sys"])


# --- simulation


def simulate(
    sessions: int,
    *,
    slots: int = 24,
    a_ms: float = 60.0,
    b_ms: float = 12.0,
    lease_s: float = 3.0,
    hours: float = 2.0,
) -> dict[str, float]:
    """Virtual time, one event at a time: workers of `slots` meetings with batches that take a + b n milliseconds,
    spare room for one worker, and workers that die. How long a meeting rests after that, and how busy workers are."""
    draw = random.Random(sessions)
    workers = -(-sessions // slots) + 1
    load = [0] * workers
    for session in range(sessions):
        load[session % (workers - 1)] += 1
    deaths = [(draw.expovariate(1 / MTBF_S), worker) for worker in range(workers)]
    heapq.heapify(deaths)
    stalls: list[float] = []
    died = 0
    while deaths and deaths[0][0] < hours * 3600:
        at, dead = heapq.heappop(deaths)
        moved, load[dead] = load[dead], 0
        died += 1
        # Every free slot pulls; what was not committed is heard again, several meetings of a worker at the same time.
        for place in range(moved):
            target = min((w for w in range(workers) if w != dead), key=lambda w: load[w])
            load[target] += 1
            together = 1 + place // max(1, workers - 1)
            heard_again_s = draw.uniform(0, FINAL_EVERY_S)
            stalls.append(lease_s + draw.uniform(0, 0.3) + heard_again_s / REPLAY_FACTOR * together)
        heapq.heappush(deaths, (at + draw.expovariate(1 / MTBF_S), dead))
    windows_per_s = max(load) * (0.75 / PARTIAL_EVERY_S + 1 / FINAL_EVERY_S)
    batch = min(16.0, max(1.0, windows_per_s * (a_ms + 8 * b_ms) / 1000))
    return {
        "sessions": sessions,
        "workers": workers,
        "deaths": died,
        "stall_p50_s": round(statistics.median(stalls), 2) if stalls else 0.0,
        "stall_max_s": round(max(stalls), 2) if stalls else 0.0,
        "fullest_worker_busy": round(windows_per_s / batch * (a_ms + b_ms * batch) / 1000, 2),
    }


async def measure() -> dict[str, Any]:
    folder = Path(tempfile.mkdtemp(prefix="fleet-"))
    try:
        found = {"utterances_per_s": {str(n): round(await throughput(folder, n), 2) for n in (1, 2, 4)}}
        found["carrying"] = [await carrying(folder, n) for n in (10, 20)]  # type: ignore[assignment]
        return found
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--simulate", action="store_true", help="Only the simulation")
    only_simulate: bool = parser.parse_args().simulate
    path = RESULTS / f"fleet-{datetime.datetime.now(tz=datetime.UTC):%Y-%m-%d}.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    if not only_simulate:
        found |= asyncio.run(measure())
    found["simulated"] = [simulate(sessions) for sessions in SESSIONS]
    per_session = [one["redis_core_percent_per_session"] for one in found.get("carrying", [])]
    if per_session:
        found["sessions_per_redis_core"] = int(100 / min(per_session))
    path.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
