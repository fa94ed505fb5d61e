"""Edits minutes for people: rewrites them, changes, adds and removes items, goes back to a version."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from pydantic import BaseModel, ConfigDict, Field

from meeting_assistant import observability as obs
from meeting_assistant.domain.coverage import coverage_of
from meeting_assistant.domain.errors import ConflictError, LlmError, NotFoundError
from meeting_assistant.domain.events import StatusChanged
from meeting_assistant.domain.jobs import InferenceJob, JobKind
from meeting_assistant.domain.meeting import Meeting, MeetingOptions, MeetingState
from meeting_assistant.domain.minutes import ActionItem, Evidence, Item, Minutes, Section
from meeting_assistant.domain.ports import MeetingStore
from meeting_assistant.domain.steps import REWRITE
from meeting_assistant.services.events.meeting_channel import Channels
from meeting_assistant.services.events.stage_errors import MAX_ATTEMPTS, stage_error
from meeting_assistant.services.jobs.orchestrator import Orchestrator
from meeting_assistant.services.minutes.draft import PREFIXES
from meeting_assistant.services.minutes.minutes_service import MinutesService
from meeting_assistant.services.minutes.progress import report_progress
from meeting_assistant.services.minutes.revisions import counted, next_id
from meeting_assistant.services.minutes.start_correction import Redated
from meeting_assistant.services.minutes.templates import TEMPLATES

logger = logging.getLogger(__name__)

IN_ORDER = "auto"
"""In the place of a provider: the first one that answers, whatever was chosen before."""


class ItemChange(BaseModel):
    """A change that a person makes to an item; fields that are left out stay."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    text: str | None = Field(default=None, min_length=1, max_length=2000)
    owner: str | None = Field(default=None, max_length=100)
    """A speaker label or a name; empty takes it away. Of action items only."""
    due: str | None = Field(default=None, max_length=10, pattern=r"^(\d{4}-\d{2}-\d{2})?$")
    """A day; empty takes it away. Of action items only."""


class NewItem(ItemChange):
    """An item that a person adds."""

    kind: str = Field(max_length=32)
    """`summary`, `decisions`, `action_items`… or the key of a section of the template."""
    text: str = Field(min_length=1, max_length=2000)
    utterance: int | None = None
    """Where it was said, if it was."""


class MinutesEditor:
    """Changes the minutes of finished meetings."""

    def __init__(
        self,
        store: MeetingStore,
        channels: Channels,
        minutes: MinutesService,
        orchestrator: Orchestrator,
        on_rewritten: Callable[[str], Awaitable[object]] | None = None,
        redated: Redated | None = None,
    ) -> None:
        """`on_rewritten` is awaited with the meeting's id after its minutes were written again; `redated` dates them as
        of a start that was corrected meanwhile."""
        self._redated = redated
        self._on_rewritten = on_rewritten
        self._store = store
        self._channels = channels
        self._minutes = minutes
        self._orchestrator = orchestrator

    # --- writing again

    async def write_again(
        self,
        meeting_id: str,
        *,
        template: str | None = None,
        language: str | None = None,
        provider: str | None = None,
    ) -> int:
        """Queue it; what is not given stays as it was chosen before, and the provider `auto` takes a choice back.
        Returns the version that it will be.

        Raises NotFoundError, InputError, ConflictError while the meeting is not over or is being written already.
        """
        wishes = MeetingOptions(
            template=template,
            minutes_language=language,
            llm_provider=provider if provider != IN_ORDER else None,
        )
        self._minutes.check_options(wishes)
        meeting = await self._store.get(meeting_id)
        _check_over(meeting)
        if meeting_id in await self._store.incomplete_steps(REWRITE):
            raise ConflictError("These minutes are being written.", "Wait until they are there.")
        await self._store.set_minutes_options(
            meeting_id, template=template, minutes_language=language, llm_provider=provider
        )
        await self._store.open_step(meeting_id, REWRITE, can_repeat=True)
        newest = await self._store.stored_minutes(meeting_id)
        await self._submit(meeting_id)
        return (newest.version if newest is not None else 0) + 1

    async def resume_incomplete(self) -> None:
        """Continue, after a start, minutes that were being written again."""
        for meeting_id in await self._store.incomplete_steps(REWRITE):
            await self._submit(meeting_id)

    async def _submit(self, meeting_id: str) -> None:
        channel = await self._channels.get(meeting_id)
        self._channels.pin(meeting_id)
        channel.broadcast(StatusChanged(status="Writing minutes"))
        await self._orchestrator.submit(InferenceJob(kind=JobKind.WRITE_MINUTES, meeting_id=meeting_id))

    async def handle(self, job: InferenceJob) -> None:
        """Handle one `write_minutes` job. A failure leaves the newest version, and is an error of the meeting."""
        meeting_id = job.meeting_id
        try:
            if await self._store.begin_step(meeting_id, REWRITE) > MAX_ATTEMPTS:
                logger.error("Writing minutes again is given up.", extra=obs.log_fields(meeting=meeting_id))
            else:
                await self._write(await self._store.get(meeting_id))
                if self._on_rewritten is not None:
                    await self._on_rewritten(meeting_id)
            # Only now: a crash before it makes the next start do all of it.
            await self._store.end_step(meeting_id, REWRITE)
        except NotFoundError:
            return  # deleted meanwhile
        except asyncio.CancelledError:
            await self._store.forget_attempts(meeting_id, REWRITE)  # a clean stop: the next start goes on
            raise
        except Exception as error:
            if not isinstance(error, LlmError):
                logger.exception("Writing minutes again failed.", extra=obs.log_fields(meeting=meeting_id))
            await self._store.add_error(meeting_id, stage_error("minutes", error))
            await self._store.end_step(meeting_id, REWRITE)
        channel = await self._channels.get(meeting_id)
        channel.broadcast(StatusChanged(status="Done", progress=1.0))
        self._channels.unpin(meeting_id)

    async def _write(self, meeting: Meeting) -> None:
        channel = await self._channels.get(meeting.id)
        transcript = await self._store.transcript(meeting.id)
        before = await self._store.stored_minutes(meeting.id)
        if before is not None:
            before = counted(before, *await self._store.minutes_versions(meeting.id))
        result = await self._minutes.write(
            meeting, transcript, before=before, progress=report_progress(channel)
        )
        if result.error is not None and before is not None:
            # Somebody asked for better minutes: worse ones are no answer.
            raise result.error
        coverage = coverage_of(meeting, transcript, has_minutes=True)
        minutes = result.minutes if self._redated is None else await self._redated(meeting, result.minutes)
        await self._store.add_minutes_version(meeting.id, minutes=minutes, coverage=coverage)
        await self._store.clear_errors(meeting.id, "minutes")

    # --- items

    async def change(self, meeting_id: str, version: int, item_id: str, change: ItemChange) -> Minutes:
        """Change an item; it is kept when the minutes are written again. Raises NotFoundError, ConflictError."""

        def apply(minutes: Minutes) -> Minutes:
            _require(minutes, item_id)
            return minutes.map_items(lambda item: _with_change(item, change) if item.id == item_id else item)

        return await self._change(meeting_id, version, apply)

    async def remove(self, meeting_id: str, version: int, item_id: str) -> Minutes:
        """Remove an item for good, also from minutes written again. Raises NotFoundError, ConflictError."""

        def apply(minutes: Minutes) -> Minutes:
            gone = _require(minutes, item_id)
            left = minutes.map_items(lambda item: None if item.id == item_id else item)
            return left.model_copy(update={"removed": [*minutes.removed, gone]})

        return await self._change(meeting_id, version, apply)

    async def add(self, meeting_id: str, version: int, new: NewItem) -> Minutes:
        """Add an item. Raises NotFoundError, also for a kind that these minutes do not have, and ConflictError."""
        utterances = {u.utterance: u for u in (await self._store.transcript(meeting_id)).utterances}

        def apply(minutes: Minutes) -> Minutes:
            evidence = (
                [Evidence(utterance=new.utterance, quote=utterances[new.utterance].text)]
                if new.utterance in utterances
                else []
            )
            is_action = new.kind in ("action_items", "possible_follow_ups")
            item = (ActionItem if is_action else Item)(
                id=next_id(minutes, new.kind), text="", evidence=evidence, support="by_hand", is_edited=True
            )
            return counted(_with_added(minutes, new.kind, _with_change(item, new)))

        return await self._change(meeting_id, version, apply)

    async def restore(self, meeting_id: str, version: int) -> int:
        """Make an older version the newest and return its new number. Raises NotFoundError."""
        meeting = await self._store.get(meeting_id)
        _check_over(meeting)
        versions = await self._store.minutes_versions(meeting_id)
        # As it is stored: with marks for speakers, so that naming one changes it too.
        wanted = await self._store.stored_minutes(meeting_id, version)
        if wanted is None:
            there = sorted(minutes.version for minutes in versions)
            raise NotFoundError("There is no such version.", f"There are: {there}.")
        minutes = counted(wanted, *versions)
        if self._redated is not None:
            # A version does not say of which day it is. What was resolved against the day of the record, which counts
            # until another is known, follows a correction; other dates stay.
            as_recorded = meeting.model_copy(update={"began_at_ms": meeting.created_at_ms})
            minutes = await self._redated(as_recorded, minutes)
        return await self._store.add_minutes_version(meeting_id, minutes=minutes, coverage=meeting.coverage)

    async def _change(self, meeting_id: str, version: int, apply: Callable[[Minutes], Minutes]) -> Minutes:
        return await self._store.change_minutes(meeting_id, version, apply)


def _check_over(meeting: Meeting) -> None:
    if meeting.state is not MeetingState.DONE:
        raise ConflictError("This meeting is not over.", "Its minutes are written when it is.")


def _require(minutes: Minutes, item_id: str) -> Item:
    found = next((item for item in minutes.items() if item.id == item_id), None)
    if found is None:
        raise NotFoundError("There is no such item in these minutes.", "Read them again.")
    return found


def _with_change(item: Item, change: ItemChange) -> Item:
    update: dict[str, object] = {"is_edited": True}
    if change.text is not None and change.text.strip() != item.text:
        text = " ".join(change.text.replace("{", "(").replace("}", ")").split())
        original = item.original_text or item.text or None
        update |= {"text": text, "support": "by_hand", "original_text": original}
    if isinstance(item, ActionItem):
        if change.owner is not None:
            update["owner"] = change.owner.strip() or None
        if change.due is not None:
            update |= {"due": change.due or None, "due_phrase": None}
    return type(item).model_validate({**item.model_dump(), **update})


def _with_added(minutes: Minutes, kind: str, item: Item) -> Minutes:
    if kind == "summary" or kind in PREFIXES:
        return minutes.model_copy(update={kind: [*getattr(minutes, kind), item]})
    sections = _with_missing(minutes.sections, minutes.template)
    if kind not in {section.key for section in sections}:
        kinds = ", ".join(["summary", *PREFIXES, *(section.key for section in sections)])
        raise NotFoundError(f"These minutes have no section {kind!r}.", f"Use one of: {kinds}.")
    added = [
        section.model_copy(update={"items": [*section.items, item]}) if section.key == kind else section
        for section in sections
    ]
    return minutes.model_copy(update={"sections": added})


def _with_missing(sections: Sequence[Section], template: str) -> list[Section]:
    """Return the sections with the template's empty ones, which the embedded writer leaves out."""
    known = {section.key for section in sections}
    wanted = TEMPLATES[template].sections if template in TEMPLATES else ()
    return [*sections, *(Section(key=s.key, title=s.title) for s in wanted if s.key not in known)]
