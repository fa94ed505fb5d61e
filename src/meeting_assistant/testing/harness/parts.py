"""The parts of a server without a web layer, built by `bootstrap`; only speech recognition may be replaced."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from meeting_assistant.bootstrap.meetings import build_meetings
from meeting_assistant.bootstrap.minutes import build_minutes
from meeting_assistant.bootstrap.speech import SpeechParts
from meeting_assistant.bootstrap.storage import StorageParts, build_storage
from meeting_assistant.bootstrap.workflows import OutboxParts, build_outbox
from meeting_assistant.config import Settings, load_settings
from meeting_assistant.domain.ports import AudioStore
from meeting_assistant.services.jobs.orchestrator import Orchestrator
from meeting_assistant.services.meetings.parts import MeetingParts
from meeting_assistant.services.minutes.parts import MinutesParts


def settings_for(folder: Path, **changes: Any) -> Settings:
    """Return settings for tests: no notes while people talk, no language model. `changes` are not validated."""
    quiet = {
        "data_dir": folder,
        "notes_interval_seconds": 0,
        "inference_workers": 1,
        "llm_provider_order": (),
    }
    return load_settings(env_file=None).model_copy(update={**quiet, **changes})


def with_audio(storage: StorageParts, audio: AudioStore | None) -> StorageParts:
    """Return the storage with another store of recordings."""
    return replace(
        storage,
        writing=replace(storage.writing, audio=audio),
        reading=replace(storage.reading, audio=audio),
    )


@dataclass(frozen=True, slots=True)
class HarnessParts:
    """Storage, outbox, minutes and meetings of one server. Use it as an async context manager."""

    storage: StorageParts
    outbox: OutboxParts
    orchestrator: Orchestrator
    minutes: MinutesParts
    meetings: MeetingParts
    _threads_timeout_s: float = field(default=5.0)

    async def __aenter__(self) -> Self:
        await self.storage.store.open()
        self.orchestrator.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.meetings.live.close()
        await self.orchestrator.drain(5)
        await self.meetings.offline_diarization.close()
        self.storage.channels.close()
        await self.outbox.workflows.close()
        await self.minutes.close()
        await self.storage.close(self._threads_timeout_s)


def build_parts(
    settings: Settings,
    speech: SpeechParts,
    *,
    storage: StorageParts | None = None,
    now_ms: Callable[[], int] = lambda: int(time.time() * 1000),
) -> HarnessParts:
    """Build the parts as a server does, around another recogniser and, if given, another storage."""
    storage = storage or build_storage(settings)
    outbox = build_outbox(settings, storage)
    orchestrator = Orchestrator(settings.inference_workers)
    minutes = build_minutes(settings, storage, speech, orchestrator, outbox.workflows.run_again)
    meetings = build_meetings(
        settings, storage, speech, minutes, outbox.workflows, orchestrator, now_ms=now_ms
    )
    return HarnessParts(storage, outbox, orchestrator, minutes, meetings)
