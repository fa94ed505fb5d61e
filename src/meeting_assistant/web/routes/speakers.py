"""Corrections of speakers over HTTP: names, assignments, merges, splits and enrolled voices."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field

from meeting_assistant.domain.ports import VoiceProfile
from meeting_assistant.domain.transcript import Transcript
from meeting_assistant.web.middleware.auth import Context, OwnMeeting, Reader, Recorder

router = APIRouter(prefix="/api", tags=["speakers"])

Label = Annotated[str, Field(min_length=1, max_length=16)]


MAX_WORDS = 100_000
"""More than anybody says in one breath; larger numbers are none for a database."""


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class NameChange(_Body):
    """A speaker's name; null takes it away."""

    name: str | None = Field(max_length=100)


class Merge(_Body):
    """The speaker that another one is merged into."""

    into: Label


class Assignment(_Body):
    """The assignment of utterances to a speaker."""

    utterances: list[int] = Field(min_length=1, max_length=5000)
    """Their numbers in the transcript."""
    speaker: Label | None
    """A label of the meeting; `new` for somebody else; null for unknown."""
    name: str | None = Field(default=None, max_length=100)
    """Of a new speaker."""


class Cut(_Body):
    """The position at which an utterance is split."""

    word: int = Field(ge=1, le=MAX_WORDS)
    """The first word of the second part, counted from 0."""


class VoiceToEnrol(_Body):
    """The speaker whose voice is enrolled."""

    speaker: Label
    name: str = Field(min_length=1, max_length=100)


class KnownVoice(BaseModel):
    """An enrolled voice."""

    id: str
    name: str
    spoken_ms: int
    created_at_ms: int


class KnownVoices(BaseModel):
    """The enrolled voices of the caller."""

    voices: list[KnownVoice]


@router.patch("/meetings/{meeting_id}/speakers/{label}")
async def rename_speaker(
    context: Context, meeting_id: OwnMeeting, label: str, change: NameChange
) -> Transcript:
    """Name a speaker, everywhere at once."""
    await context.meetings.speakers.rename(meeting_id, label, change.name)
    return (await context.meetings.service.read(meeting_id)).transcript


@router.post("/meetings/{meeting_id}/speakers/{label}/merge")
async def merge_speakers(context: Context, meeting_id: OwnMeeting, label: str, merge: Merge) -> Transcript:
    """Merge two labels of one person, in the transcript and for the rest of the meeting."""
    await context.meetings.speakers.merge(meeting_id, label, merge.into)
    return (await context.meetings.service.read(meeting_id)).transcript


@router.post("/meetings/{meeting_id}/speakers")
async def assign_utterances(context: Context, meeting_id: OwnMeeting, assignment: Assignment) -> Transcript:
    """Assign utterances to a speaker; engines do not change them afterwards. `new` creates a speaker."""
    await context.meetings.speakers.assign(
        meeting_id, assignment.utterances, assignment.speaker, name=assignment.name
    )
    return (await context.meetings.service.read(meeting_id)).transcript


@router.post("/meetings/{meeting_id}/utterances/{utterance}/split")
async def split_utterance(
    context: Context, meeting_id: OwnMeeting, utterance: Annotated[int, Path(ge=0, le=MAX_WORDS)], cut: Cut
) -> Transcript:
    """Cut one utterance of a finished meeting in two; what the minutes quote moves to the part that says it."""
    await context.meetings.speakers.split(meeting_id, utterance, cut.word)
    return (await context.meetings.service.read(meeting_id)).transcript


@router.post("/meetings/{meeting_id}/voices", status_code=201)
async def remember_voice(
    context: Context, caller: Recorder, meeting_id: OwnMeeting, voice: VoiceToEnrol
) -> KnownVoice:
    """Know a voice of this meeting again in your later ones. Nothing of it is kept unless you ask here."""
    return _known(await context.meetings.speakers.enrol(meeting_id, voice.speaker, voice.name, caller.owner))


@router.get("/voices")
async def list_voices(context: Context, caller: Reader) -> KnownVoices:
    """List the enrolled voices of the caller."""
    return KnownVoices(
        voices=[_known(profile) for profile in await context.meetings.speakers.voices(caller.owner)]
    )


@router.delete("/voices/{voice_id}", status_code=204)
async def forget_voice(context: Context, caller: Recorder, voice_id: str) -> None:
    """Delete an enrolled voice for good."""
    await context.meetings.speakers.delete_voice(caller.owner, voice_id)


def _known(profile: VoiceProfile) -> KnownVoice:
    return KnownVoice(
        id=profile.id, name=profile.name, spoken_ms=profile.spoken_ms, created_at_ms=profile.created_at_ms
    )
