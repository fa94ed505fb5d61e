"""Health checks, and what the server says about itself."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel, ConfigDict

from meeting_assistant.services.asr.degradation import REASONS
from meeting_assistant.web.context import context_of
from meeting_assistant.web.middleware.auth import Admin, Caller
from meeting_assistant.web.protocol import PROTOCOL_VERSION, json_schema

router = APIRouter()


class Health(BaseModel):
    """The state of the process and the problems that an operator should fix."""

    status: Literal["ok", "degraded"]
    problems: list[str]
    version: str
    engines: dict[str, str]
    engine_reason: str
    notes: list[str]


class ReadyState(BaseModel):
    """Readiness for meetings, with the parts that are loading or failed to load."""

    ready: bool
    waiting_for: list[str]


class CapacityReport(BaseModel):
    """The capacity of this server in meetings, from the measured cost of decoding."""

    model_config = ConfigDict(use_attribute_docstrings=True)
    live: int
    """Meetings that are recorded now."""
    comfortable: int
    """Meetings that fit with captions at full pace."""
    total: int
    """Meetings that fit with slower captions; more are refused."""
    more: int
    """Meetings that may still begin."""
    level: int
    """The present degradation level; 0 is full quality."""
    predicted_wait_s: float
    """The wait of a caption requested now."""
    load_per_meeting: float
    """Seconds of one engine thread per second of a meeting with captions at full pace."""
    reason: str
    """Why captions are slower, in words for people."""


class ServerLimits(BaseModel):
    """The limits of this server."""

    upload_bytes: int
    max_meeting_hours: float


class ServerDescription(BaseModel):
    """A description of the server for the web app."""

    model_config = ConfigDict(use_attribute_docstrings=True)
    tells_others: bool
    """An integration outside the operator's machines receives meetings."""
    version: str
    protocol: int
    engines: dict[str, str]
    engine_reason: str
    storage: str
    limits: ServerLimits
    notes: list[str]


@router.get("/health", tags=["health"])
async def health(request: Request) -> Health:
    """Liveness: answers as long as the process works; `degraded` when something has to be mended."""
    context = context_of(request)
    info = context.info
    problems = [
        *info.problems,
        *info.current_problems(),
        *context.readiness.problems,
    ]
    return Health(
        status="degraded" if problems else "ok",
        problems=problems,
        version=info.version,
        engines=dict(info.engines),
        engine_reason=info.engine_reason,
        notes=list(info.notes),
    )


@router.get("/ready", tags=["health"], response_model=ReadyState)
async def ready(request: Request) -> JSONResponse:
    """Readiness: 200 when the engines are loaded and meetings can begin, else 503."""
    context = context_of(request)
    readiness = context.readiness
    waiting_for = readiness.waiting_for
    state = ReadyState(ready=not waiting_for and not context.is_closing, waiting_for=waiting_for)
    return JSONResponse(state.model_dump(), 200 if state.ready else 503)


@router.get("/api/capacity", tags=["health"])
async def capacity(request: Request, caller: Caller) -> CapacityReport:
    """Return how many meetings are recorded and how many more fit, from the measured cost of decoding."""
    planned = context_of(request).meetings.live.capacity()
    return CapacityReport(
        **{**asdict(planned), "level": int(planned.level), "reason": REASONS[planned.level]}
    )


@router.get("/metrics", tags=["health"], response_class=Response)
async def metrics(caller: Admin) -> Response:
    """Return the metrics in the text format of Prometheus."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


@router.get("/api/info", tags=["health"])
async def info(request: Request) -> ServerDescription:
    """Describe the server to the web app."""
    server = context_of(request).info
    integrations = context_of(request).workflows.configured()
    return ServerDescription(
        tells_others=any(not one.description.is_local for one in integrations),
        version=server.version,
        protocol=PROTOCOL_VERSION,
        engines=dict(server.engines),
        engine_reason=server.engine_reason,
        storage=server.storage,
        limits=ServerLimits(upload_bytes=server.max_upload_bytes, max_meeting_hours=server.max_meeting_hours),
        notes=list(server.notes),
    )


@router.get("/api/protocol.json", tags=["health"])
async def protocol_schema() -> dict[str, Any]:
    """Return the JSON Schema of the live protocol."""
    return json_schema()
