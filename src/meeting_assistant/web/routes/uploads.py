"""Uploads over HTTP."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, File, Form, UploadFile
from pydantic import ValidationError

from meeting_assistant.domain.access import Scope
from meeting_assistant.domain.errors import InputError
from meeting_assistant.domain.meeting import Meeting, MeetingOptions
from meeting_assistant.domain.meeting_start import FileOrigin
from meeting_assistant.domain.meeting_start import time_zone as zone_of
from meeting_assistant.web.errors import describe_validation
from meeting_assistant.web.middleware.auth import Context, Recorder
from meeting_assistant.web.upload_form import UploadRoute

router = APIRouter(prefix="/api/meetings", tags=["meetings"], route_class=UploadRoute)


@router.post("", status_code=201)
async def upload(
    context: Context,
    caller: Recorder,
    file: Annotated[UploadFile, File(description="Any common audio or video file")],
    title: Annotated[str, Form(max_length=200)] = "",
    language: Annotated[str | None, Form(max_length=16)] = None,
    attendees: Annotated[str, Form(max_length=4000, description="Names, comma separated")] = "",
    vocabulary: Annotated[
        str, Form(max_length=8000, description="Names and words to expect, comma separated")
    ] = "",
    began_at: Annotated[
        datetime | None,
        Form(
            description="When the meeting began (ISO 8601); else the file's metadata or its own time say it"
        ),
    ] = None,
    file_modified_at_ms: Annotated[
        int | None, Form(ge=0, le=2**53, description="When the file was last written; Unix time")
    ] = None,
    time_zone: Annotated[
        str | None, Form(max_length=64, description="IANA name of the place, such as `Europe/Berlin`")
    ] = None,
    utc_offset_minutes: Annotated[
        int, Form(ge=-960, le=960, description="Of the place, where its time zone is not known")
    ] = 0,
    local_only: Annotated[bool, Form(description="No provider outside your machines sees it")] = False,
    template: Annotated[str | None, Form(max_length=32)] = None,
    minutes_language: Annotated[str | None, Form(max_length=16)] = None,
    llm_provider: Annotated[str | None, Form(max_length=32)] = None,
    workflows: Annotated[
        str | None, Form(max_length=4000, description="Integrations, comma separated; empty for none")
    ] = None,
) -> Meeting:
    """Take a recording in; it is transcribed in the background (watch `/ws/meetings/{id}/events`)."""
    try:
        options = MeetingOptions(
            title=title or Path(file.filename or "").stem[:200],
            language=language or None,
            attendees=_listed(attendees),
            vocabulary=_listed(vocabulary),
            began_at=began_at,
            local_only=local_only,
            template=template or None,
            minutes_language=minutes_language or None,
            llm_provider=llm_provider or None,
            workflows=None if workflows is None else _listed(workflows),
        )
        origin = FileOrigin(zone_of(time_zone, utc_offset_minutes), file_modified_at_ms)
    except ValidationError as error:
        raise InputError(f"The form could not be read: {describe_validation(error)}.", "See /docs.") from None
    # The body may have taken long to arrive.
    context.access.require(await context.access.refresh(caller), Scope.RECORD)
    path = Path(file.file.name)
    await file.close()  # Windows moves no file that is open
    return await context.meetings.uploads.take(path, options, origin, owner=caller.owner)


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
