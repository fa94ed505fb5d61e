"""The services that write, edit and search minutes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from meeting_assistant.bootstrap.language_models import build_llm_service
from meeting_assistant.bootstrap.speech import SpeechParts
from meeting_assistant.bootstrap.storage import StorageParts
from meeting_assistant.config import Settings
from meeting_assistant.domain.jobs import JobKind
from meeting_assistant.services.jobs.orchestrator import Orchestrator
from meeting_assistant.services.minutes.editor import MinutesEditor
from meeting_assistant.services.minutes.live_notes import LiveNotes
from meeting_assistant.services.minutes.llm_minutes import LlmMinutes
from meeting_assistant.services.minutes.minutes_service import MinutesService
from meeting_assistant.services.minutes.parts import MinutesParts
from meeting_assistant.services.minutes.questions.ask_service import AskService
from meeting_assistant.services.minutes.start_correction import StartCorrection


def build_minutes(
    settings: Settings,
    storage: StorageParts,
    speech: SpeechParts,
    orchestrator: Orchestrator,
    on_rewritten: Callable[[str], Awaitable[object]],
) -> MinutesParts:
    """Build them, and register the jobs that they handle.

    `on_rewritten` is awaited with the meeting's id after its minutes were written again or its day changed.
    Raises ConfigurationError.
    """
    from meeting_assistant.adapters.minutes_rules import EmbeddedWriter
    from meeting_assistant.adapters.minutes_rules.due_phrases import resolve_due
    from meeting_assistant.adapters.minutes_rules.question import EmbeddedQuestionReader
    from meeting_assistant.adapters.storage.sql.llm_calls import SqlLlmCalls, SqlPreferences
    from meeting_assistant.adapters.storage.sql.search import SqlSearchIndex

    store, channels, database = storage.store, storage.channels, storage.database
    calls, preferences = SqlLlmCalls(database), SqlPreferences(database)
    llm = build_llm_service(settings, calls, preferences.keeps_local)
    service = MinutesService(EmbeddedWriter(), llm, LlmMinutes(llm, resolve_due), preferences)
    speech.engines["minutes"] = service.provider
    notes = LiveNotes(
        store,
        channels,
        service,
        interval_s=settings.notes_interval_seconds,
        is_busy=lambda: bool(speech.runner.level),
    )
    correction = StartCorrection(store, resolve_due, on_corrected=on_rewritten)
    editor = MinutesEditor(
        store, channels, service, orchestrator, on_rewritten=on_rewritten, redated=correction.redated
    )
    orchestrator.handle(JobKind.WRITE_MINUTES, editor.handle)
    ask = AskService(store, SqlSearchIndex(database), EmbeddedQuestionReader(), service, llm)
    return MinutesParts(service, notes, editor, correction, ask, llm, calls, preferences)
