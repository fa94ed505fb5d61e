"""HTTP statuses, WebSocket close codes and the JSON body of errors."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.types import Send

from meeting_assistant.domain import errors as e
from meeting_assistant.observability import log_fields

logger = logging.getLogger(__name__)

_STATUS: tuple[tuple[type[e.MeetingAssistantError], int], ...] = (
    (e.UnauthenticatedError, 401),
    (e.ForbiddenError, 403),
    (e.NotFoundError, 404),
    (e.AudioDecryptionError, 409),
    (e.ConflictError, 409),
    (e.TooLargeError, 413),
    (e.AudioFormatError, 415),
    (e.RangeNotSatisfiableError, 416),
    (e.InputError, 422),
    (e.OverloadedError, 503),
    (e.StorageError, 507),
    (e.EngineError, 503),
    (e.DeliveryError, 502),
)

CLOSE_NORMAL = 1000
CLOSE_GOING_AWAY = 1001
CLOSE_POLICY = 1008
CLOSE_INTERNAL = 1011
CLOSE_TRY_LATER = 1013
CLOSE_UNAUTHENTICATED = 4401
CLOSE_FORBIDDEN = 4403
CLOSE_NOT_FOUND = 4404
CLOSE_IDLE = 4408
CLOSE_TAKEN_OVER = 4409

_OF_CODE = {
    "taken_over": CLOSE_TAKEN_OVER,
    "idle": CLOSE_IDLE,
    "storage_behind": CLOSE_TRY_LATER,
    "disk_full": CLOSE_TRY_LATER,
}


def status_of(error: e.MeetingAssistantError) -> int:
    """Return the HTTP status of an error."""
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


def close_code_of(error: e.MeetingAssistantError) -> int:
    """Return the WebSocket close code of an error."""
    if isinstance(error, e.NotFoundError):
        return CLOSE_NOT_FOUND
    if isinstance(error, e.UnauthenticatedError):
        return CLOSE_UNAUTHENTICATED
    if isinstance(error, e.ForbiddenError):
        return CLOSE_FORBIDDEN
    if isinstance(error, e.OverloadedError):
        return CLOSE_TRY_LATER
    if error.code in _OF_CODE:
        return _OF_CODE[error.code]
    if isinstance(error, e.InputError | e.ConflictError):
        return CLOSE_POLICY
    return CLOSE_INTERNAL


def error_body(code: str, message: str, remedy: str) -> dict[str, Any]:
    """Return `{"error": {"code", "message", "remedy"}}`."""
    return {"error": {"code": code, "message": message, "remedy": remedy}}


async def refuse(
    send: Send, status: int, body: dict[str, Any], headers: Sequence[tuple[bytes, bytes]] = ()
) -> None:
    """Send an error before any route is reached."""
    content = json.dumps(body).encode()
    length = (b"content-length", str(len(content)).encode())
    sent = [(b"content-type", b"application/json"), length, *headers]
    await send({"type": "http.response.start", "status": status, "headers": sent})
    await send({"type": "http.response.body", "body": content})


def describe_validation(error: ValidationError | RequestValidationError) -> str:
    """Return which fields are wrong and why, without repeating the input."""
    parts = []
    if isinstance(error, ValidationError):  # without what would be thrown away: there may be thousands
        problems = error.errors(include_url=False, include_context=False, include_input=False)
    else:
        problems = list(error.errors())
    for problem in problems[:3]:
        place = ".".join(str(part) for part in problem["loc"] if part not in ("body", "query", "path"))
        parts.append(f"{place or 'message'}: {problem['msg'].lower()}")
    return "; ".join(parts)


def install(app: FastAPI) -> None:
    """Register the error handlers."""

    @app.exception_handler(e.MeetingAssistantError)
    async def ours(request: Request, error: e.MeetingAssistantError) -> JSONResponse:
        status = status_of(error)
        headers = {"Retry-After": str(error.retry_after_s)} if isinstance(error, e.OverloadedError) else None
        if status >= 500 and not isinstance(error, e.OverloadedError):
            logger.warning("A request failed.", extra=log_fields(code=error.code, **_place(request)))
        return JSONResponse(error_body(error.code, error.message, error.remedy), status, headers)

    @app.exception_handler(RequestValidationError)
    async def validation(request: Request, error: RequestValidationError) -> JSONResponse:
        body = error_body("bad_input", describe_validation(error), "See /docs for what this address accepts.")
        return JSONResponse(body, 422)

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> JSONResponse:
        message = "This address does not exist." if error.status_code == 404 else str(error.detail)
        body = error_body(f"http_{error.status_code}", message, "See /docs for all addresses.")
        return JSONResponse(body, error.status_code, error.headers)

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> JSONResponse:
        logger.error(
            "A request failed unexpectedly.",
            extra=log_fields(error=type(error).__name__, **_place(request)),
        )
        return JSONResponse(
            error_body(
                "internal_error",
                "The server failed unexpectedly.",
                "See the server's log, and please report it.",
            ),
            500,
        )


def _place(request: Request) -> dict[str, str]:
    """Return the pattern of the route, and the meeting id in it if it is a valid one."""
    route = request.scope.get("route")
    place = {"route": str(getattr(route, "path", "unknown"))}
    with contextlib.suppress(KeyError, ValueError):
        place["meeting"] = str(UUID(request.path_params["meeting_id"]))
    return place
