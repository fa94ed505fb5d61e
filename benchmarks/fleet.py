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
import json
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from signal import SIGKILL
from typing import Any

from fleet_simulation import Costs, Scenario, Simulation, fitted, slots_that_keep_pace
from meeting_assistant.adapters.jobs.redis_gateway import RedisGatewayLink
from meeting_assistant.adapters.jobs.redis_worker import RedisWorkerLink
from meeting_assistant.domain.jobs import InferenceJob, JobKind
from meeting_assistant.services.fleet.messages import Hello, WorkerMessage, encode
from meeting_assistant.testing.harness.fleet import KEYS, LEASE_S, Fleet
from meeting_assistant.testing.servers.redis import RedisProcess

RESULTS = Path(__file__).parent / "results"
DECODE_S = 0.4
ITEMS = 6
SESSIONS = (10, 100, 1000, 10_000)


async def throughput(folder: Path, workers: int) -> float:
    """Utterances per second of eight meetings that are sent as fast as they are taken."""
    broker, fleet = new_fleet(folder / f"t{workers}")
    try:
        fleet.add_gateways(1)
        fleet.add_workers(workers, DECODE_S)
        began = time.monotonic()
        meetings = [fleet.start_meeting(0, list(range(ITEMS)), is_fast=True) for _ in range(8)]
        for meeting in meetings:
            await meeting.check()
        return 8 * ITEMS / (time.monotonic() - began)
    finally:
        fleet.close()
        broker.close()


async def carrying(folder: Path, sessions: int) -> dict[str, float]:
    """Redis' processor time for a session, and the longest silence when a worker is killed in the middle."""
    broker, fleet = new_fleet(folder / f"c{sessions}")
    try:
        fleet.add_gateways(2)
        fleet.add_workers(3)
        client = broker.client()
        before, began = cpu_of(client.info("cpu")), time.monotonic()
        calm = fleet.hold_many(sessions, ITEMS)
        for meeting in calm:
            await meeting.check()
        cpu_share = (cpu_of(client.info("cpu")) - before) / (time.monotonic() - began)
        shaken = fleet.hold_many(sessions, ITEMS)
        await asyncio.sleep(5)
        fleet.busiest().signal(SIGKILL)
        for meeting in shaken:
            await meeting.check()
        return {
            "sessions": sessions,
            "redis_core_percent_per_session": round(100 * cpu_share / sessions, 3),
            "longest_silence_s": round(max(one.longest_silence_s for one in calm), 2),
            "longest_silence_with_a_killed_worker_s": round(max(one.longest_silence_s for one in shaken), 2),
            "lease_s": LEASE_S,
        }
    finally:
        fleet.close()
        broker.close()


def new_fleet(folder: Path) -> tuple[RedisProcess, Fleet]:
    folder.mkdir(parents=True)
    program = shutil.which("redis-server")
    assert program is not None, "redis-server is not installed"
    broker = RedisProcess(program, folder / "redis")
    broker.start()
    return broker, Fleet(folder, broker)


def cpu_of(info: Any) -> float:
    return float(info["used_cpu_user"]) + float(info["used_cpu_sys"])


async def taking(folder: Path, jobs: int = 200) -> float:
    """Seconds that a worker needs to take one job and to say hello, with Redis to itself."""
    broker, _ = new_fleet(folder / "taking")
    gateway = RedisGatewayLink(broker.url, "gateway", KEYS)
    worker = RedisWorkerLink(broker.url, "worker", KEYS, lease_s=LEASE_S)
    try:
        offered = [
            InferenceJob(kind=JobKind.LIVE_SESSION, meeting_id=f"m{n}", gateway="gateway")
            for n in range(jobs)
        ]
        for job in offered:
            await gateway.submit(job)
        took = []
        for _ in offered:
            began = time.perf_counter()
            held = await worker.take(1)
            assert held is not None
            hello = Hello(
                worker="worker", job=held.job.kind, offer=held.job.offer, lease=held.lease, engines={}
            )
            message = WorkerMessage(meeting_id=held.job.meeting_id, attempt="attempt", body=hello)
            await worker.send(held.job, encode(message))
            took.append(time.perf_counter() - began)
            await held.ack()
        return statistics.median(took)
    finally:
        await worker.close()
        await gateway.close()
        broker.close()


def simulated(found: dict[str, Any]) -> dict[str, Any]:
    """For thousands, from what was measured: here, and of batches by `whisper_batches.py`."""
    curves = json.loads((RESULTS / "whisper-batches-tiny-whisper-cpu.json").read_text())
    a_ms, b_ms = fitted([row for row in curves["table"] if row["kind"] == "caption"])
    # As measured, and with a device ten times as fast: the shape of the curve is kept.
    runs = []
    for speed in (1, 10):
        costs = Costs(
            a_ms / speed,
            b_ms / speed,
            take_s=found["take_s"],
            redis_core_percent=min(one["redis_core_percent_per_session"] for one in found["carrying"]),
        )
        slots = slots_that_keep_pace(costs)
        runs += [
            {"times_the_measured_device": speed, "slots": slots}
            | Simulation(Scenario(sessions, slots), costs).run()
            for sessions in SESSIONS
        ]
    return {"batch_ms": {"a": round(a_ms, 1), "b": round(b_ms, 1)}, "runs": runs}


async def measure() -> dict[str, Any]:
    folder = Path(tempfile.mkdtemp(prefix="fleet-"))
    try:
        found: dict[str, Any] = {
            "utterances_per_s": {str(n): round(await throughput(folder, n), 2) for n in (1, 2, 4)}
        }
        found["carrying"] = [await carrying(folder, n) for n in (10, 20)]
        found["take_s"] = round(await taking(folder), 5)
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
    found["simulated"] = simulated(found)
    per_session = [one["redis_core_percent_per_session"] for one in found.get("carrying", [])]
    if per_session:
        found["sessions_per_redis_core"] = int(100 / min(per_session))
    path.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
