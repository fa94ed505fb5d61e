"""Meetings over HTTP: list, read, rename, export, play, delete."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import datetime
from functools import partial
from typing import Annotated, Literal
from urllib.parse import quote

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from meeting_assistant.domain.errors import InputError
from meeting_assistant.domain.meeting import Meeting
from meeting_assistant.services.meetings.meeting_service import MeetingDocument
from meeting_assistant.web.audio_range import WavRange, wav_range
from meeting_assistant.web.middleware.auth import (
    Caller,
    Context,
    OwnMeeting,
    ReadableMeeting,
    Reader,
)

router = APIRouter(prefix="/api/meetings", tags=["meetings"])

PIECE_BYTES = 1 << 20
MAX_MS = 48 * 3_600_000
"""The longest meeting that can be configured."""


class MeetingList(BaseModel):
    """A page of meetings, newest first."""

    meetings: list[Meeting]
    next: str | None
    """Pass it as `before` for the next page; null on the last."""


class MeetingChange(BaseModel):
    """What changes of a meeting; what is left out stays."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)
    title: str | None = Field(default=None, min_length=1, max_length=200)
    began_at: datetime | None = None
    """When it began (ISO 8601); without an offset it is a time of the meeting's own time zone. Due dates follow."""


class Span(BaseModel):
    """A stretch of a meeting, in milliseconds from its start."""

    model_config = ConfigDict(extra="forbid")
    start_ms: int = Field(ge=0, le=MAX_MS)
    end_ms: int = Field(gt=0, le=MAX_MS)


@router.get("")
async def list_meetings(
    context: Context,
    caller: Reader,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    before: Annotated[str | None, Query(max_length=36)] = None,
) -> MeetingList:
    """List the caller's meetings, newest first."""
    owner = None if caller.sees_all else caller.owner
    meetings = await context.meetings.service.recent(limit=limit + 1, before=before, owner=owner)
    page = meetings[:limit]
    return MeetingList(meetings=page, next=page[-1].id if len(meetings) > limit else None)


@router.get("/{meeting_id}")
async def read_meeting(context: Context, meeting_id: ReadableMeeting) -> MeetingDocument:
    """Return a meeting with its transcript and minutes."""
    return await context.meetings.service.read(meeting_id)


@router.patch("/{meeting_id}")
async def change_meeting(context: Context, meeting_id: OwnMeeting, change: MeetingChange) -> Meeting:
    """Change the title of a meeting, or when it began."""
    service = context.meetings.service
    if change.began_at is not None:
        await context.minutes.start_correction.correct(meeting_id, change.began_at)
    if change.title is not None:
        await service.rename(meeting_id, change.title)
    return await service.store.get(meeting_id)


@router.post("/{meeting_id}/forget")
async def forget(context: Context, meeting_id: OwnMeeting, span: Span) -> MeetingDocument:
    """Take a stretch of a meeting that is over off the record: sound and words go, the minutes are written anew."""
    await context.meetings.redaction.redact(meeting_id, span.start_ms, span.end_ms)
    return await read_meeting(context, meeting_id)


@router.delete("/{meeting_id}/audio", status_code=204)
async def delete_sound(context: Context, meeting_id: OwnMeeting) -> None:
    """Destroy the sound of a meeting that is over; its words stay."""
    await context.meetings.retention.delete_audio(meeting_id)


@router.post("/{meeting_id}/end", status_code=202)
async def end_meeting(context: Context, meeting_id: OwnMeeting) -> Meeting:
    """End a meeting that records, from any device; also one whose client is gone."""
    return await context.meetings.service.end(meeting_id)


@router.post("/{meeting_id}/retry", status_code=202)
async def retry(context: Context, meeting_id: OwnMeeting) -> Meeting:
    """Retry the failed steps of a meeting."""
    return await context.meetings.service.retry(meeting_id)


@router.delete("/{meeting_id}", status_code=204)
async def delete_meeting(context: Context, meeting_id: OwnMeeting) -> None:
    """Delete recording, transcript and meeting for good."""
    await context.meetings.service.delete(meeting_id)
    context.access.registry.recheck(meeting_id=meeting_id)


@router.get("/{meeting_id}/export")
async def export_meeting(
    context: Context,
    meeting_id: ReadableMeeting,
    fmt: Annotated[Literal["md", "json", "srt", "vtt", "txt"], Query(alias="format")] = "md",
) -> Response:
    """Export a meeting as a file."""
    exported = await context.meetings.service.export(meeting_id, fmt)
    plain = re.sub(r"[^A-Za-z0-9._ -]", "_", exported.name)
    disposition = f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(exported.name)}"
    return Response(
        exported.text, media_type=exported.media_type, headers={"Content-Disposition": disposition}
    )


@router.get("/{meeting_id}/audio.wav")
async def play_meeting(
    context: Context, request: Request, caller: Caller, meeting_id: ReadableMeeting
) -> Response:
    """Return the recording; range requests allow a player to seek."""
    channels = (await context.meetings.service.store.get(meeting_id)).channels
    journal = await context.meetings.service.open_recording(meeting_id)
    try:
        wanted = wav_range(journal.durable_bytes, request.headers.get("range"), channels=channels)
    except InputError:
        journal.close()
        raise

    async def body(part: WavRange) -> AsyncIterator[bytes]:
        try:
            yield part.header
            position, end = part.pcm_start, part.pcm_end
            while position < end:
                piece = await asyncio.to_thread(journal.read, position, min(PIECE_BYTES, end - position))
                if not piece:
                    return
                yield piece
                position += len(piece)
        finally:
            journal.close()

    async def guarded() -> AsyncIterator[bytes]:
        may_read = partial(context.access.require_read, meeting_id=meeting_id)
        with context.access.registry.hold(caller, meeting_id, may_read) as held:
            async for piece in held.guard(body(wanted)):
                yield piece

    return StreamingResponse(
        guarded(), status_code=wanted.status, headers=wanted.headers, media_type="audio/wav"
    )
