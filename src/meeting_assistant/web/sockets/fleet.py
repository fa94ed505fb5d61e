"""Receives results from workers when `FLEET__CALLBACK_URL` is set; otherwise results go through Redis.

There is no token here: each message is sealed, and signed, with keys that only the machines of the fleet have. A signed
message is taken once: its id is remembered for as long as its signature is valid.
"""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Header, Request, Response, WebSocket, WebSocketDisconnect
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from meeting_assistant import observability as obs
from meeting_assistant.domain.errors import (
    ConflictError,
    InputError,
    JobError,
    NotFoundError,
    UnauthenticatedError,
)
from meeting_assistant.net.signatures import is_signed
from meeting_assistant.services.fleet.messages import WorkerMessage, decode_worker_message
from meeting_assistant.web.context import FleetEntrance, context_of
from meeting_assistant.web.errors import CLOSE_POLICY

router = APIRouter()

FIRST_MESSAGE_SECONDS = 10.0


class SignedMessage(BaseModel):
    """One message of a worker over its socket."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    id: str = Field(alias="webhook-id", max_length=64)
    timestamp: str = Field(alias="webhook-timestamp", max_length=20)
    signature: str = Field(alias="webhook-signature", max_length=400)
    message: str
    """A worker's message, sealed, in base64; this text is what is signed."""


@router.post("/api/fleet/events", status_code=204, response_class=Response, include_in_schema=False)
async def receive_message(
    request: Request,
    message_id: Annotated[str, Header(alias="webhook-id")] = "",
    timestamp: Annotated[str, Header(alias="webhook-timestamp")] = "",
    signature: Annotated[str, Header(alias="webhook-signature")] = "",
) -> Response:
    """Accept one message of a worker with 204."""
    entrance = _entrance(context_of(request).fleet_entrance)
    content = await request.body()
    entrance.on_message(_checked(entrance, message_id, timestamp, content, signature))
    return Response(status_code=204)


@router.websocket("/ws/fleet")
async def receive_messages(socket: WebSocket) -> None:
    """Accept messages over a socket: one signed message per text frame, each answered with `{}`."""
    entrance = context_of(socket).fleet_entrance
    if entrance is None:
        await socket.close(CLOSE_POLICY)
        return
    await socket.accept()
    # A stranger may not hold a connection; a worker that has signed once may have nothing to send for a long time.
    idle_timeout_s: float | None = FIRST_MESSAGE_SECONDS
    try:
        while True:
            async with asyncio.timeout(idle_timeout_s):
                signed = SignedMessage.model_validate_json(await socket.receive_text())
            content = signed.message.encode()
            entrance.on_message(_checked(entrance, signed.id, signed.timestamp, content, signed.signature))
            idle_timeout_s = None
            await socket.send_text("{}")
    except (ValidationError, InputError, UnauthenticatedError, ConflictError, TimeoutError):
        await socket.close(CLOSE_POLICY)
    except (WebSocketDisconnect, RuntimeError, KeyError):
        return  # disconnected, or a frame that is not text


def _entrance(entrance: FleetEntrance | None) -> FleetEntrance:
    if entrance is None:
        raise NotFoundError("This server accepts no results of workers.", "Set FLEET__CALLBACK_URL.")
    return entrance


def _checked(
    entrance: FleetEntrance, message_id: str, timestamp: str, content: bytes, signature: str
) -> WorkerMessage:
    if not is_signed(entrance.keys, message_id, timestamp, content, signature):
        obs.fleet_refused_total.labels("callback").inc()
        raise UnauthenticatedError(
            "The signature is wrong or too old.",
            "Set the same FLEET__SECRET on all machines, and let their clocks agree.",
        )
    if not entrance.recent.add(message_id):
        obs.fleet_refused_total.labels("callback").inc()
        raise ConflictError(
            "This message was received before.", "Send each message once, with an id of its own."
        )
    try:
        return decode_worker_message(entrance.open(content.decode()))
    except JobError as error:
        obs.fleet_refused_total.labels("callback").inc()
        raise InputError(error.message, error.remedy) from error
