"""`MinutesParts`: the services that write, edit and search minutes, as one value."""

from __future__ import annotations

from dataclasses import dataclass

from meeting_assistant.domain.ports import LlmCallLog, PreferenceStore
from meeting_assistant.services.llm.llm_service import LLMService
from meeting_assistant.services.minutes.editor import MinutesEditor
from meeting_assistant.services.minutes.live_notes import LiveNotes
from meeting_assistant.services.minutes.minutes_service import MinutesService
from meeting_assistant.services.minutes.questions.ask_service import AskService
from meeting_assistant.services.minutes.start_correction import StartCorrection


@dataclass(frozen=True, slots=True)
class MinutesParts:
    """The parts that turn a transcript into minutes, notes and answers."""

    service: MinutesService
    notes: LiveNotes
    editor: MinutesEditor
    start_correction: StartCorrection
    ask: AskService
    llm: LLMService
    calls: LlmCallLog
    preferences: PreferenceStore

    async def close(self) -> None:
        """Close the connections to language models and stop the thread of the embedded writer."""
        await self.llm.close()
        self.service.close()
