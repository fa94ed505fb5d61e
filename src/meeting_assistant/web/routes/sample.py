"""The sample meeting that ships with the product."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import FileResponse

from meeting_assistant.demo import DemoMeeting, demo_audio_path, load_demo

router = APIRouter(prefix="/api/demo", tags=["sample meeting"])


@router.get("")
async def reference() -> DemoMeeting:
    """Return the reference transcript of the sample and what its minutes have to contain."""
    return load_demo()


@router.get("/audio.flac", response_class=FileResponse)
async def sound() -> FileResponse:
    """Return the recording of the sample as 16 kHz mono FLAC."""
    return FileResponse(demo_audio_path(), media_type="audio/flac")
