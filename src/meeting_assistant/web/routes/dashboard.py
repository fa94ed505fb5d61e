"""The metrics report behind the dashboard, the page `#/figures`."""

from __future__ import annotations

import time
from collections.abc import Sequence

from fastapi import APIRouter
from prometheus_client import REGISTRY
from pydantic import BaseModel, ConfigDict

from meeting_assistant.services.admin.dashboard import MetricGroup, summarise_metrics
from meeting_assistant.web.middleware.auth import Admin, Context

router = APIRouter(tags=["health"])

MAX_WORKERS = 200


class Room(BaseModel):
    """The capacity of this server or its fleet, in meetings."""

    live: int
    total: int
    more: int


class Worker(BaseModel):
    """A worker that transcribes meetings for this gateway."""

    model_config = ConfigDict(use_attribute_docstrings=True)
    name: str
    slots: int
    busy: int
    """Occupied slots, whichever gateway the meetings belong to."""


class MetricsReport(BaseModel):
    """Metrics of this process since it started."""

    model_config = ConfigDict(use_attribute_docstrings=True)
    at_ms: int
    started_at_ms: int | None
    """The start of the process; when it changes, counters have been reset."""
    groups: Sequence[MetricGroup]
    room: Room
    workers: list[Worker] | None
    """The workers of the fleet, each with a `/metrics` of its own; null where this server recognises speech itself."""


@router.get("/api/figures")
async def metrics_report(caller: Admin, context: Context) -> MetricsReport:
    """Return the metrics of `/metrics`, aggregated and labelled; no label names a meeting or a person."""
    families = list(REGISTRY.collect())
    planned = context.meetings.live.capacity()
    ask = context.workers
    workers = None if ask is None else sorted(ask(), key=lambda worker: worker.name)[:MAX_WORKERS]
    started = [family.samples[0].value for family in families if family.name == "process_start_time_seconds"]
    return MetricsReport(
        at_ms=int(time.time() * 1000),
        started_at_ms=int(started[0] * 1000) if started else None,
        groups=summarise_metrics(families, has_fleet=workers is not None),
        room=Room(live=planned.live, total=planned.total, more=planned.more),
        workers=None
        if workers is None
        else [Worker(name=one.name, slots=one.slots, busy=one.busy) for one in workers],
    )
