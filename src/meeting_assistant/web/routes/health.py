"""Is it alive, is it ready, what is it, how is it doing."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from meeting_assistant.services.asr.degradation import REASONS
from meeting_assistant.web.context import context_of
from meeting_assistant.web.middleware.auth import Admin, Caller
from meeting_assistant.web.protocol import PROTOCOL_VERSION, json_schema

router = APIRouter()


@router.get("/health", tags=["health"])
async def health(request: Request) -> dict[str, Any]:
    """Liveness: answers as long as the process works; `degraded` when something has to be mended."""
    context = context_of(request)
    info = context.info
    problems = [
        *info.problems,
        *info.current_problems(),
        *context.readiness.problems,
    ]
    return {
        "status": "degraded" if problems else "ok",
        "problems": problems,
        "version": info.version,
        "engines": dict(info.engines),
        "engine_reason": info.engine_reason,
        "notes": list(info.notes),
    }


@router.get("/ready", tags=["health"])
async def ready(request: Request) -> JSONResponse:
    """Readiness: 200 when the engines are loaded and meetings are welcome, else 503."""
    context = context_of(request)
    readiness = context.readiness
    is_ready = readiness.is_ready and not context.is_closing
    content = {"ready": is_ready, "waiting_for": readiness.waiting_for}
    return JSONResponse(content, 200 if is_ready else 503)


@router.get("/api/capacity", tags=["health"])
async def capacity(request: Request, caller: Caller) -> dict[str, Any]:
    """How many meetings record, and how many more fit, by what decoding was measured to take on this machine."""
    planned = context_of(request).meetings.live.capacity()
    return {**asdict(planned), "level": int(planned.level), "reason": REASONS[planned.level]}


@router.get("/metrics", tags=["health"], response_class=Response)
async def metrics(caller: Admin) -> Response:
    """Prometheus text format."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


@router.get("/api/info", tags=["health"])
async def info(request: Request) -> dict[str, Any]:
    """What the web app needs to know about the server."""
    server = context_of(request).info
    told = context_of(request).workflows.configured()
    return {
        "tells_others": any(not one.description.is_local for one in told),
        "version": server.version,
        "protocol": PROTOCOL_VERSION,
        "engines": dict(server.engines),
        "engine_reason": server.engine_reason,
        "storage": server.storage,
        "limits": {
            "upload_bytes": server.max_upload_bytes,
            "max_meeting_hours": server.max_meeting_hours,
        },
        "notes": list(server.notes),
    }


@router.get("/api/protocol.json", tags=["health"])
async def protocol_schema() -> dict[str, Any]:
    """JSON Schema of the live protocol."""
    return json_schema()
