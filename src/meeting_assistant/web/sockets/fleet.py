"""Where workers bring their results, when `FLEET__CALLBACK_URL` asks them to; else they lie in Redis.

Nobody is asked for a token here: each message is signed with a secret that only the machines of the fleet know."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated

from fastapi import APIRouter, Header, Request, Response, WebSocket, WebSocketDisconnect
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from meeting_assistant.domain.errors import InputError, NotFoundError, UnauthenticatedError
from meeting_assistant.domain.ports import FleetEvent
from meeting_assistant.domain.signatures import is_signed
from meeting_assistant.web.context import FleetEntrance, context_of
from meeting_assistant.web.errors import CLOSE_POLICY

router = APIRouter()

FIRST_MESSAGE_SECONDS = 10.0

_EVENT: TypeAdapter[FleetEvent] = TypeAdapter(FleetEvent)


class SignedEvent(BaseModel):
    """One message of a worker over its socket."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    id: str = Field(alias="webhook-id", max_length=64)
    timestamp: str = Field(alias="webhook-timestamp", max_length=20)
    signature: str = Field(alias="webhook-signature", max_length=400)
    event: str
    """JSON; what was signed."""


@router.post("/api/fleet/events", status_code=204, response_class=Response, include_in_schema=False)
async def take_event(
    request: Request,
    message_id: Annotated[str, Header(alias="webhook-id")] = "",
    timestamp: Annotated[str, Header(alias="webhook-timestamp")] = "",
    signature: Annotated[str, Header(alias="webhook-signature")] = "",
) -> Response:
    """One result of a worker. 204 when it was taken."""
    entrance = _entrance(context_of(request).fleet_entrance)
    content = await request.body()
    entrance.hear(_checked(entrance, message_id, timestamp, content, signature))
    return Response(status_code=204)


@router.websocket("/ws/fleet")
async def take_events(socket: WebSocket) -> None:
    """The same over a socket: a signed event in each text frame, each answered with `{}`."""
    entrance = context_of(socket).fleet_entrance
    if entrance is None:
        await socket.close(CLOSE_POLICY)
        return
    await socket.accept()
    # A stranger may not keep a connection for nothing; a worker that signed once may have nothing to tell for long.
    idle_timeout_s: float | None = FIRST_MESSAGE_SECONDS
    try:
        while True:
            async with asyncio.timeout(idle_timeout_s):
                signed = SignedEvent.model_validate_json(await socket.receive_text())
            content = signed.event.encode()
            entrance.hear(_checked(entrance, signed.id, signed.timestamp, content, signed.signature))
            idle_timeout_s = None
            await socket.send_text("{}")
    except (ValidationError, InputError, UnauthenticatedError, TimeoutError):
        await socket.close(CLOSE_POLICY)
    except (WebSocketDisconnect, RuntimeError, KeyError):
        return  # gone, or something that is no text


def _entrance(entrance: FleetEntrance | None) -> FleetEntrance:
    if entrance is None:
        raise NotFoundError("This server takes no results of workers.", "Set FLEET__CALLBACK_URL.")
    return entrance


def _checked(
    entrance: FleetEntrance, message_id: str, timestamp: str, content: bytes, signature: str
) -> FleetEvent:
    if not is_signed(entrance.keys, message_id, timestamp, content, signature, now_s=time.time()):
        raise UnauthenticatedError(
            "The signature is not right, or old.",
            "Set the same FLEET__CALLBACK_SECRET on all machines, and let their clocks agree.",
        )
    try:
        return _EVENT.validate_json(content)
    except ValidationError as error:
        raise InputError("This is no result of a worker.", "Run the same version on all machines.") from error
