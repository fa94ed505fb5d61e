"""Retention: how long the audio of finished meetings is kept, and its deletion."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from meeting_assistant import observability as obs
from meeting_assistant.domain.errors import ConflictError, MeetingAssistantError, NotFoundError
from meeting_assistant.services.events.meeting_io import MeetingIo
from meeting_assistant.services.meetings.upload_files import UploadFiles

logger = logging.getLogger(__name__)

ENFORCE_INTERVAL_S = 3600.0
DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """The time that audio of finished meetings is kept. Words and minutes stay until a user deletes them."""

    days: int | None = None
    is_after_minutes: bool = False

    @classmethod
    def parse(cls, text: str) -> RetentionPolicy:
        """Parse `keep`, `days:N` or `delete-after-minutes`; the settings have checked the text."""
        days = re.fullmatch(r"days:(\d+)", text)
        return cls(days=int(days[1]) if days else None, is_after_minutes=text == "delete-after-minutes")

    @property
    def keeps_all(self) -> bool:
        """True when no audio is deleted by the policy."""
        return self.days is None and not self.is_after_minutes


class Retention:
    """Deletes the audio of finished meetings, on request and when the policy says so."""

    def __init__(
        self,
        io: MeetingIo,
        files: UploadFiles,
        policy: RetentionPolicy,
        now_ms: Callable[[], int] = lambda: int(time.time() * 1000),
    ) -> None:
        self._io = io
        self._files = files
        self._store = io.store
        self._policy = policy
        self._now_ms = now_ms

    @property
    def keeps_all(self) -> bool:
        """True when no audio is deleted by the policy, or none is stored."""
        return self._io.audio is None or self._policy.keeps_all

    async def delete_audio(self, meeting_id: str) -> None:
        """Delete the audio of one meeting. Raises NotFoundError; ConflictError while the meeting is not over."""
        if not (await self._store.get(meeting_id)).state.is_over:
            raise ConflictError(
                "This meeting is not over.", "Its audio is needed until its minutes are written."
            )
        await self._delete(meeting_id)

    async def run_periodically(self) -> None:
        """Enforce the policy every hour, until cancelled. Returns at once when it keeps everything."""
        if self.keeps_all:
            return
        while True:
            try:
                await self.enforce()
            except MeetingAssistantError:
                logger.exception("Failed to enforce the retention of audio; trying again within the hour.")
            await asyncio.sleep(ENFORCE_INTERVAL_S)

    async def on_minutes_written(self) -> None:
        """Delete the audio now when the policy is `delete-after-minutes`."""
        if self._policy.is_after_minutes and self._io.audio is not None:
            await self.enforce()

    async def enforce(self) -> None:
        """Delete all audio that is past its time; a recording that cannot be deleted does not stop the others."""
        days = self._policy.days or 0
        due = await self._store.with_audio_before(
            self._now_ms() - days * DAY_MS, only_with_minutes=self._policy.is_after_minutes
        )
        for meeting_id in due:
            try:
                await self._delete(meeting_id)
            except MeetingAssistantError as error:
                logger.warning(
                    "Failed to delete audio that is past its retention.",
                    extra=obs.log_fields(meeting=meeting_id, code=error.code),
                )

    async def _delete(self, meeting_id: str) -> None:
        """Delete the wrapped key, then the file, and an uploaded one; the record keeps the time of it."""
        if self._io.audio is not None:
            await self._io.on_disk(self._io.audio.delete, meeting_id)
        await asyncio.to_thread(self._files.remove, meeting_id)
        try:
            await self._store.set_audio_deleted(meeting_id, self._now_ms())
        except NotFoundError:
            return  # the meeting was deleted meanwhile
        logger.info("Audio deleted.", extra=obs.log_fields(meeting=meeting_id))
