"""The access checks of the web layer, and the description of the server that it gives."""

from __future__ import annotations

from functools import partial

from meeting_assistant import __version__
from meeting_assistant.bootstrap.speech import SpeechEngines
from meeting_assistant.bootstrap.storage import StorageParts
from meeting_assistant.config import Settings
from meeting_assistant.services.admin.access_service import AccessService
from meeting_assistant.web.context import ServerInfo


def build_access(settings: Settings, storage: StorageParts) -> AccessService:
    """Build the check of tokens, share links and browser sessions."""
    from meeting_assistant.adapters.storage.sql.access_changes import read_access_changes
    from meeting_assistant.adapters.storage.sql.browser_sessions import SqlBrowserSessions
    from meeting_assistant.adapters.storage.sql.shares import SqlShareStore

    database = storage.database
    return AccessService(
        settings.token_grants(),
        meetings=storage.store,
        shares=SqlShareStore(database),
        browser_sessions=SqlBrowserSessions(database),
        read_changes=partial(read_access_changes, database) if database.is_shared else None,
    )


def build_server_info(settings: Settings, storage: StorageParts, speech: SpeechEngines) -> ServerInfo:
    """Return what `/health` and `/api/info` say about this server."""
    recordings = storage.recordings

    def current_problems() -> list[str]:
        moving = recordings.moves.problem if recordings.moves is not None else None
        return [*speech.problems, *([] if moving is None else [moving])]

    return ServerInfo(
        version=__version__,
        engines=speech.parts.engines,
        engine_reason=speech.reason,
        storage=settings.audio_storage,
        max_upload_bytes=settings.max_upload_bytes,
        max_meeting_hours=settings.max_meeting_hours,
        notes=[*recordings.notes, *speech.notes],
        problems=list(recordings.problems),
        current_problems=current_problems,
    )
