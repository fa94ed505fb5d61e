"""Metrics of the fleet that a gateway reads from Redis: jobs that wait, jobs that are held, and FastStream's own."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from faststream.redis.prometheus import RedisPrometheusMiddleware
from prometheus_client import REGISTRY
from redis.asyncio import Redis

from meeting_assistant import observability as obs

MAX_ENTRIES = 1000
"""Entries that are counted: a longer queue needs no exact number."""
LONG_MS = 1000
"""A lease that was renewed more recently is not looked at."""


@cache
def faststream_metrics() -> RedisPrometheusMiddleware:
    """Return the middleware that counts messages, one for all brokers of a process. Its labels are names of job
    streams, which are few."""
    return RedisPrometheusMiddleware(
        registry=REGISTRY, app_name="meeting_assistant", metrics_prefix="meeting_assistant_faststream"
    )


async def measure(client: Redis, group: str, streams: Mapping[str, str], now_ms: int) -> None:
    """Set the gauges of the job streams. `streams`: by their label; `now_ms`: by Redis' clock. Raises RedisError."""
    depth = 0
    for label, stream in streams.items():
        waiting, waited_ms = await _waiting(client, group, stream, now_ms)
        depth += waiting
        obs.fleet_stream_lag.labels(label).set(waiting)
        obs.fleet_waiting_oldest_seconds.labels(label).set(waited_ms / 1000)
        held: list[dict[str, Any]] = await client.xpending_range(
            stream, group, "-", "+", MAX_ENTRIES, idle=LONG_MS
        )
        longest_ms = max((one["time_since_delivered"] for one in held), default=0)
        obs.fleet_pending_oldest_seconds.labels(label).set(longest_ms / 1000)
    obs.queue_depth.labels("redis").set(depth)


async def _waiting(client: Redis, group: str, stream: str, now_ms: int) -> tuple[int, int]:
    """Return how many entries no worker was given yet, and the age of the first in milliseconds. Redis' own `lag` is
    unknown once an entry was deleted."""
    found: list[dict[str, Any]] = await client.xinfo_groups(stream)
    last = next(one["last-delivered-id"] for one in found if one["name"] == group.encode())
    entries: Any = await client.xrange(stream, f"({last.decode()}", "+", MAX_ENTRIES)
    if not entries:
        return 0, 0
    return len(entries), max(0, now_ms - int(entries[0][0].split(b"-")[0]))
