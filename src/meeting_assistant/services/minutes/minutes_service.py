"""Writes the minutes of a meeting with the writer that is configured."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date

from meeting_assistant import observability as obs
from meeting_assistant.domain.errors import InputError, LlmError
from meeting_assistant.domain.meeting import Meeting, MeetingOptions
from meeting_assistant.domain.meeting_start import local_time
from meeting_assistant.domain.minutes import Minutes
from meeting_assistant.domain.ports import MinutesRequest, MinutesWriter, PreferenceStore
from meeting_assistant.domain.transcript import Transcript
from meeting_assistant.net.blocking import run_blocking
from meeting_assistant.services.llm.llm_service import LLMService
from meeting_assistant.services.minutes.draft import Draft
from meeting_assistant.services.minutes.llm_minutes import LlmMinutes, MinutesTask, Progress
from meeting_assistant.services.minutes.revisions import counted, revise
from meeting_assistant.services.minutes.templates import Template, template_named

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class MinutesResult:
    """Minutes, and the error that made another writer than the configured one write them."""

    minutes: Minutes
    error: LlmError | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """The options for the minutes of one meeting: what the meeting says, else what its owner chose."""

    template: Template
    language: str
    provider: str | None
    is_local_only: bool


class MinutesService:
    """Writes minutes by a language model where one answers, else by the embedded writer, which always does.

    The embedded one has one thread: writing is CPU work that must not slow captions down more than a core can.
    """

    def __init__(
        self,
        writer: MinutesWriter,
        llm: LLMService | None = None,
        llm_minutes: LlmMinutes | None = None,
        preferences: PreferenceStore | None = None,
        now_ms: Callable[[], int] = lambda: int(time.time() * 1000),
    ) -> None:
        self._writer = writer
        self._llm = llm
        self._llm_minutes = llm_minutes
        self._preferences = preferences
        self._now_ms = now_ms
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="minutes")

    @property
    def provider(self) -> str:
        """The names of the writers, in the order in which they are asked."""
        return ", ".join(self.providers)

    @property
    def providers(self) -> list[str]:
        """The names of the writers, in the order in which they are asked."""
        asked = self._llm.names if self._llm is not None and self._llm.is_configured else []
        return list(dict.fromkeys((*asked, self._writer.name)))

    def check_provider(self, name: str | None) -> None:
        """Raise InputError for a provider that is not configured."""
        known = {*(self._llm.names if self._llm is not None else ()), self._writer.name}
        if name is not None and name not in known:
            raise InputError(
                f"The provider {name!r} is not configured.",
                f"Use one of: {', '.join(self.providers)}.",
                code="unknown_provider",
            )

    def check_options(self, options: MeetingOptions) -> None:
        """Raise InputError for a template or a provider that does not exist."""
        template_named(options.template)
        self.check_provider(options.llm_provider)

    async def warm_up(self) -> None:
        """Load word lists and stemmer, so that the first meeting does not wait for them."""
        await self._on_thread(MinutesRequest(transcript=Transcript()))

    async def plan(self, meeting: Meeting) -> Plan:
        """Return how the minutes are written. Raises InputError for a template that does not exist."""
        chosen = await self._preferences.preferences(meeting.owner) if self._preferences else None
        return Plan(
            template=template_named(meeting.template or (chosen.template if chosen else None)),
            language=meeting.minutes_language
            or (chosen.minutes_language if chosen else None)
            or language_of(meeting),
            provider=meeting.llm_provider or (chosen.llm_provider if chosen else None),
            is_local_only=meeting.local_only or bool(chosen and chosen.local_only),
        )

    async def write(
        self,
        meeting: Meeting,
        transcript: Transcript,
        *,
        before: Minutes | None = None,
        draft: Draft | None = None,
        progress: Progress = lambda share: None,
    ) -> MinutesResult:
        """Write the minutes, with evidence checked and provenance set.

        `before`: minutes or notes whose items keep their ids, and their changes by people. `draft`: what a model has
        read already. Raises what the embedded writer raises.
        """
        plan = await self.plan(meeting)
        if not self._may_ask_model(plan) or not transcript.utterances:
            return MinutesResult(await self._write_embedded(meeting, transcript, before))
        assert self._llm is not None
        assert self._llm_minutes is not None
        started = time.monotonic()
        try:
            minutes = await self._llm_minutes.write(
                _task(meeting, plan), transcript, _fitting(draft, plan), progress
            )
        except LlmError as error:
            fault = error if self._llm.is_configured else None
            return MinutesResult(await self._write_embedded(meeting, transcript, before), fault)
        except Exception as error:
            logger.exception(
                "Minutes by a language model failed unexpectedly.", extra=obs.log_fields(meeting=meeting.id)
            )
            fault = LlmError(
                f"Failed to get LLM response. Writing failed unexpectedly ({type(error).__name__}).",
                "The embedded writer's minutes are there. See the server's log, and please report it.",
            )
            return MinutesResult(await self._write_embedded(meeting, transcript, before), fault)
        return MinutesResult(self._after(minutes, before, time.monotonic() - started))

    async def take_notes(
        self, meeting: Meeting, transcript: Transcript, notes: Minutes, draft: Draft
    ) -> Minutes:
        """Return the notes of a meeting that still runs; where a model is asked, it continues the draft.

        Raises LlmError when no model answered: the notes stay as they are.
        """
        plan = await self.plan(meeting)
        is_configured = self._llm is not None and self._llm.is_configured
        if not (is_configured and self._may_ask_model(plan)):
            return await self._write_embedded(meeting, transcript, notes)
        assert self._llm_minutes is not None
        task = _task(meeting, plan)
        await self._llm_minutes.read(task, transcript, draft, "notes")
        try:
            await self._llm_minutes.condense_points(task, transcript, draft)
        except LlmError as error:
            # What was read can be told all the same; the points are joined another time, or at the end.
            logger.info("Points were not joined.", extra=obs.log_fields(meeting=meeting.id, code=error.code))
        return revise(draft.minutes(), notes)

    async def compatible_draft(self, meeting: Meeting, draft: Draft | None = None) -> Draft:
        """Return the draft, or a new one when it was begun for another template or language."""
        return _fitting(draft, await self.plan(meeting))

    def close(self) -> None:
        """Stop the thread."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _may_ask_model(self, plan: Plan) -> bool:
        if self._llm is None or self._llm_minutes is None or plan.provider == self._writer.name:
            return False
        # With no model that may see the meeting, that is a reason to tell only where somebody asked for models.
        return self._llm.may_ask(is_local_only=plan.is_local_only) or self._llm.is_configured

    async def _write_embedded(
        self, meeting: Meeting, transcript: Transcript, before: Minutes | None
    ) -> Minutes:
        started = time.monotonic()
        minutes = await self._on_thread(
            MinutesRequest(
                transcript=transcript,
                attendees=tuple(meeting.attendees),
                language=language_of(meeting),
                meeting_date=local_date(meeting),
            )
        )
        minutes = minutes.model_copy(update={"language": language_of(meeting)})
        seconds = time.monotonic() - started
        obs.llm_latency_seconds.labels(self._writer.name).observe(seconds)
        return self._after(minutes, before, seconds)

    def _after(self, minutes: Minutes, before: Minutes | None, seconds: float) -> Minutes:
        provenance = minutes.provenance.model_copy(update={"seconds": round(seconds, 3)})
        minutes = minutes.model_copy(update={"provenance": provenance, "written_at_ms": self._now_ms()})
        return counted(minutes) if before is None else revise(minutes, before)

    async def _on_thread(self, request: MinutesRequest) -> Minutes:
        return await run_blocking(self._thread, self._writer.write, request)


def _task(meeting: Meeting, plan: Plan) -> MinutesTask:
    return MinutesTask(meeting, local_date(meeting), is_local_only=plan.is_local_only, provider=plan.provider)


def _fitting(draft: Draft | None, plan: Plan) -> Draft:
    if draft is not None and (draft.template, draft.language) == (plan.template, plan.language):
        return draft
    return Draft(template=plan.template, language=plan.language)


def language_of(meeting: Meeting) -> str:
    """Return the language that was spoken."""
    return (meeting.language or "en").partition("-")[0].lower()


def local_date(meeting: Meeting) -> date:
    """Return the day on which a meeting was held, in its own time zone."""
    return local_time(meeting.began_at_ms, meeting.utc_offset_minutes).date()
