"""What a gateway tells Prometheus about the fleet: what waits, what is held, and what FastStream counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from faststream.redis.prometheus import RedisPrometheusMiddleware
from prometheus_client import REGISTRY
from redis.asyncio import Redis

from meeting_assistant import observability as obs
from meeting_assistant.domain.ports import WorkerState

MOST = 1000
"""Entries that are looked at: with more of them the figure says enough."""
LONG_MS = 1000
"""A lease that was renewed more recently is not looked at."""


@cache
def counted_by_faststream() -> RedisPrometheusMiddleware:
    """One for all brokers of a process. Its labels are names of job streams, of which there are two."""
    return RedisPrometheusMiddleware(
        registry=REGISTRY, app_name="meeting_assistant", metrics_prefix="meeting_assistant_faststream"
    )


async def measure(client: Redis, group: str, streams: Mapping[str, str], now_ms: int) -> None:
    """Set the gauges. `streams`: by the name that they have in figures; `now_ms` by Redis' clock. Raises RedisError."""
    depth = 0
    for name, stream in streams.items():
        waiting, waited_ms = await _waiting(client, group, stream, now_ms)
        depth += waiting
        obs.fleet_stream_lag.labels(name).set(waiting)
        obs.fleet_waiting_oldest_seconds.labels(name).set(waited_ms / 1000)
        held: list[dict[str, Any]] = await client.xpending_range(stream, group, "-", "+", MOST, idle=LONG_MS)
        longest_ms = max((one["time_since_delivered"] for one in held), default=0)
        obs.fleet_pending_oldest_seconds.labels(name).set(longest_ms / 1000)
    obs.queue_depth.labels("redis").set(depth)


async def _waiting(client: Redis, group: str, stream: str, now_ms: int) -> tuple[int, int]:
    """How many entries nobody was given yet, and how long the first of them is there. Redis' own `lag` is unknown as
    soon as somebody takes an entry back."""
    found: list[dict[str, Any]] = await client.xinfo_groups(stream)
    last = next(one["last-delivered-id"] for one in found if one["name"] == group.encode())
    entries: Any = await client.xrange(stream, f"({last.decode()}", "+", MOST)
    if not entries:
        return 0, 0
    return len(entries), max(0, now_ms - int(entries[0][0].split(b"-")[0]))


def count_slots(workers: Sequence[WorkerState]) -> None:
    """Of all workers that are there."""
    taken = sum(min(worker.busy, worker.slots) for worker in workers)
    obs.fleet_slots.labels("taken").set(taken)
    obs.fleet_slots.labels("free").set(sum(worker.slots for worker in workers) - taken)
