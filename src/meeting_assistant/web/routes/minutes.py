"""Minutes over HTTP: versions, writing again, changes by hand; who saw a meeting; what people chose for theirs."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from fastapi import Path as PathParam
from pydantic import BaseModel, ConfigDict, Field

from meeting_assistant.domain.errors import NotFoundError
from meeting_assistant.domain.llm_calls import LlmCall, LlmPreferences
from meeting_assistant.domain.meeting import Meeting
from meeting_assistant.domain.minutes import Minutes
from meeting_assistant.services.minutes.editor import ItemChange, NewItem
from meeting_assistant.services.minutes.templates import TEMPLATES, template_named
from meeting_assistant.web.middleware.auth import Context, OwnMeeting, ReadableMeeting, Reader, Recorder

router = APIRouter(prefix="/api", tags=["minutes"])

ItemId = Annotated[str, PathParam(max_length=40)]
Version = Annotated[int, Query(ge=1, description="Version that was read; another one is refused with 409")]


class TemplateInfo(BaseModel):
    """A kind of minutes."""

    name: str
    title: str
    sections: list[str]
    """Titles of the sections that only this kind has. They need a language model."""


class WritingOptions(BaseModel):
    """The templates and providers that this server offers for minutes."""

    templates: list[TemplateInfo]
    providers: list[str]
    """In the order in which they are asked; `embedded` needs no model."""


class RewriteOptions(BaseModel):
    """Options for rewriting the minutes; an omitted option keeps its present value."""

    model_config = ConfigDict(extra="forbid")
    template: str | None = Field(default=None, max_length=32)
    language: str | None = Field(default=None, max_length=16, pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*$")
    llm_provider: str | None = Field(default=None, max_length=32)
    """`auto`: the first one that answers, whatever was chosen before."""


class ComingVersion(BaseModel):
    """Minutes that are being written; watch `/ws/meetings/{id}/events` for `Done`."""

    version: int


class VersionInfo(BaseModel):
    """Summary of one version of the minutes."""

    version: int
    template: str
    language: str
    provider: str
    model: str | None
    written_at_ms: int
    edited_items: int


class Tightening(BaseModel):
    """A restriction to local providers; it cannot be undone, so it has one value."""

    model_config = ConfigDict(extra="forbid")
    local_only: Literal[True]


@router.get("/minutes-options")
async def writing_options(context: Context, caller: Reader) -> WritingOptions:
    """Return the available templates and providers."""
    return WritingOptions(
        templates=[
            TemplateInfo(name=t.name, title=t.title, sections=[section.title for section in t.sections])
            for t in TEMPLATES.values()
        ],
        providers=context.minutes.service.providers,
    )


@router.get("/meetings/{meeting_id}/minutes")
async def versions(context: Context, meeting_id: ReadableMeeting) -> list[VersionInfo]:
    """List all versions, oldest first."""
    return [
        VersionInfo(
            version=minutes.version,
            template=minutes.template,
            language=minutes.language,
            provider=minutes.provenance.provider,
            model=minutes.provenance.model,
            written_at_ms=minutes.written_at_ms,
            edited_items=sum(item.is_edited for item in minutes.items()),
        )
        for minutes in await context.meetings.service.store.minutes_versions(meeting_id)
    ]


@router.get("/meetings/{meeting_id}/minutes/{version}")
async def read_version(context: Context, meeting_id: ReadableMeeting, version: int) -> Minutes:
    """Return one version of the minutes."""
    for minutes in await context.meetings.service.store.minutes_versions(meeting_id):
        if minutes.version == version:
            return minutes
    raise NotFoundError("There is no such version.", "See the list of versions.")


@router.post("/meetings/{meeting_id}/minutes", status_code=202)
async def write_again(context: Context, meeting_id: OwnMeeting, how: RewriteOptions) -> ComingVersion:
    """Write the minutes again. Changes by hand are kept; so are all versions."""
    version = await context.minutes.editor.write_again(
        meeting_id, template=how.template, language=how.language, provider=how.llm_provider
    )
    return ComingVersion(version=version)


@router.post("/meetings/{meeting_id}/minutes/{version}/restore")
async def restore(context: Context, meeting_id: OwnMeeting, version: int) -> Minutes:
    """Make an older version the newest one."""
    await context.minutes.editor.restore(meeting_id, version)
    newest = await context.meetings.service.store.minutes(meeting_id)
    assert newest is not None
    return newest


@router.post("/meetings/{meeting_id}/minutes/items", status_code=201)
async def add_item(context: Context, meeting_id: OwnMeeting, version: Version, item: NewItem) -> Minutes:
    """Add an item by hand."""
    return await context.minutes.editor.add(meeting_id, version, item)


@router.patch("/meetings/{meeting_id}/minutes/items/{item_id}")
async def change_item(
    context: Context, meeting_id: OwnMeeting, item_id: ItemId, version: Version, change: ItemChange
) -> Minutes:
    """Change an item; it stays like that when the minutes are written again."""
    return await context.minutes.editor.change(meeting_id, version, item_id, change)


@router.delete("/meetings/{meeting_id}/minutes/items/{item_id}")
async def remove_item(context: Context, meeting_id: OwnMeeting, item_id: ItemId, version: Version) -> Minutes:
    """Take an item out; it does not come back when the minutes are written again."""
    return await context.minutes.editor.remove(meeting_id, version, item_id)


@router.post("/meetings/{meeting_id}/local-only")
async def keep_local(context: Context, meeting_id: OwnMeeting, tightening: Tightening) -> Meeting:
    """Exclude this meeting from providers outside the operator's machines. This cannot be undone."""
    await context.workflows.keep_local(meeting_id)
    return await context.meetings.service.store.get(meeting_id)


@router.get("/meetings/{meeting_id}/llm-calls")
async def llm_calls(context: Context, meeting_id: OwnMeeting) -> list[LlmCall]:
    """List the calls to language models about this meeting, oldest first."""
    return await context.minutes.calls.of_meeting(meeting_id)


@router.get("/preferences")
async def preferences(context: Context, caller: Reader) -> LlmPreferences:
    """Return the preferences that apply to all of the caller's meetings."""
    return await context.minutes.preferences.preferences(caller.owner)


@router.put("/preferences")
async def set_preferences(context: Context, caller: Recorder, chosen: LlmPreferences) -> LlmPreferences:
    """Set the preferences for all of the caller's meetings, existing ones included."""
    template_named(chosen.template)
    context.minutes.service.check_provider(chosen.llm_provider)
    await context.minutes.preferences.set_preferences(caller.owner, chosen)
    return chosen
