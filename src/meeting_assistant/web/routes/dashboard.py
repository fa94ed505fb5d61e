"""The figures of `/metrics` for a person: the page `#/figures` asks for them."""

from __future__ import annotations

import time
from collections.abc import Sequence

from fastapi import APIRouter
from prometheus_client import REGISTRY
from pydantic import BaseModel, ConfigDict

from meeting_assistant.services.admin.dashboard import FigureGroup, figures_of
from meeting_assistant.web.middleware.auth import Admin, Context

router = APIRouter(tags=["health"])

MAX_WORKERS = 200


class Room(BaseModel):
    """How many meetings fit."""

    live: int
    total: int
    more: int


class Worker(BaseModel):
    """A machine that hears meetings for this one."""

    model_config = ConfigDict(use_attribute_docstrings=True)
    name: str
    slots: int
    busy: int
    """Of its slots, with meetings of any gateway."""


class Figures(BaseModel):
    """Since this process started, and of this process alone."""

    model_config = ConfigDict(use_attribute_docstrings=True)
    at_ms: int
    started_at_ms: int | None
    """A change means that counters began again."""
    groups: Sequence[FigureGroup]
    room: Room
    workers: list[Worker] | None
    """None where this server recognises speech itself. With a fleet the figures are those of this gateway; workers
    have a `/metrics` of their own."""


@router.get("/api/figures")
async def figures(caller: Admin, context: Context) -> Figures:
    """What `/metrics` tells, added up and in words; no label names a meeting or a person."""
    families = list(REGISTRY.collect())
    planned = context.meetings.live.capacity()
    ask = context.workers
    workers = None if ask is None else sorted(ask(), key=lambda worker: worker.name)[:MAX_WORKERS]
    started = [family.samples[0].value for family in families if family.name == "process_start_time_seconds"]
    return Figures(
        at_ms=int(time.time() * 1000),
        started_at_ms=int(started[0] * 1000) if started else None,
        groups=figures_of(families, has_fleet=workers is not None),
        room=Room(live=planned.live, total=planned.total, more=planned.more),
        workers=None
        if workers is None
        else [Worker(name=one.name, slots=one.slots, busy=one.busy) for one in workers],
    )
