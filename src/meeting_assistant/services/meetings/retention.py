"""What happens to meetings that are over: taking a stretch off the record, deleting, letting go of old sound."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from meeting_assistant import observability as obs
from meeting_assistant.domain.coverage import coverage_of
from meeting_assistant.domain.errors import ConflictError, InputError, MeetingAssistantError, NotFoundError
from meeting_assistant.domain.meeting import Meeting
from meeting_assistant.domain.ports import AudioStore, MeetingStore
from meeting_assistant.domain.steps import FORGET
from meeting_assistant.services.events.meeting_channel import Channels
from meeting_assistant.services.minutes.minutes_service import MinutesService
from meeting_assistant.services.recording.off_the_record import byte_range, with_span, without

R = TypeVar("R")

logger = logging.getLogger(__name__)

SWEEP_SECONDS = 3600.0
DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """How long the sound of finished meetings is kept. Words and minutes stay until somebody deletes them."""

    days: int | None = None
    is_after_minutes: bool = False

    @classmethod
    def parse(cls, text: str) -> RetentionPolicy:
        """`keep`, `days:N` or `delete-after-minutes`; checked by the settings."""
        days = re.fullmatch(r"days:(\d+)", text)
        return cls(days=int(days[1]) if days else None, is_after_minutes=text == "delete-after-minutes")

    @property
    def keeps_all(self) -> bool:
        """True when nothing is ever let go by itself."""
        return self.days is None and not self.is_after_minutes


class Upkeep:
    """For meetings that are over."""

    def __init__(
        self,
        *,
        store: MeetingStore,
        audio: AudioStore | None,
        channels: Channels,
        minutes: MinutesService,
        disk_threads: Executor,
        retention: RetentionPolicy,
        now_ms: Callable[[], int] = lambda: int(time.time() * 1000),
    ) -> None:
        self._store = store
        self._audio = audio
        self._channels = channels
        self._minutes = minutes
        self._disk_threads = disk_threads
        self._retention = retention
        self._now_ms = now_ms
        self._forgetting = asyncio.Lock()

    # --- off the record, afterwards

    async def forget(self, meeting_id: str, start_ms: int, end_ms: int) -> None:
        """Drop sound and words of a stretch, everywhere; the minutes are written anew from what is left.

        Raises NotFoundError, InputError, ConflictError while the meeting is not over.
        """
        async with self._forgetting:  # each begins with what the one before left
            await self._forget(meeting_id, start_ms, end_ms)

    async def _forget(self, meeting_id: str, start_ms: int, end_ms: int) -> None:
        meeting = await self._store.get(meeting_id)
        if not meeting.state.is_over:
            raise ConflictError(
                "This meeting is not over.",
                "Use `pause` with `forget` now, or wait until its minutes are written.",
            )
        if not 0 <= start_ms < end_ms:
            raise InputError("The stretch is empty or begins before the meeting.", "Give start_ms < end_ms.")
        channel = await self._channels.get(meeting_id)
        transcript = await self._store.transcript(meeting_id)
        spans = with_span(meeting.off_record, start_ms, end_ms)
        changed, removed = without(transcript, start_ms, end_ms)
        await self._store.begin_step(meeting_id, FORGET, can_repeat=True)
        await channel.publish(partial(self._store.forget, meeting_id, spans, changed, removed))
        self._channels.release(meeting_id)
        await self._finish_forgetting(meeting_id)
        logger.info("A stretch was taken off the record.", extra=obs.log_fields(meeting=meeting_id))

    async def _finish_forgetting(self, meeting_id: str) -> None:
        meeting = await self._store.get(meeting_id)
        if self._audio is not None and await self._on_disk(self._audio.exists, meeting_id):
            await self._on_disk(self._audio.erase, meeting_id, _ended(meeting))
        transcript = await self._store.transcript(meeting_id)
        minutes = (await self._minutes.write(meeting, transcript)).minutes
        coverage = coverage_of(meeting, transcript, has_minutes=True)
        await self._store.rewrite(meeting_id, minutes=minutes, coverage=coverage)
        await self._store.end_step(meeting_id, FORGET)

    async def resume_incomplete(self) -> None:
        """After a start: stretches whose words are gone and whose sound may not be."""
        for meeting_id in await self._store.incomplete_steps(FORGET):
            try:
                await self._finish_forgetting(meeting_id)
            except Exception:
                logger.exception(
                    "A stretch is not yet off the record everywhere; it is tried again at the next start.",
                    extra=obs.log_fields(meeting=meeting_id),
                )

    # --- sound

    async def delete_sound(self, meeting_id: str) -> None:
        """When somebody asks for it. Raises NotFoundError, ConflictError while the meeting is not over."""
        if not (await self._store.get(meeting_id)).state.is_over:
            raise ConflictError(
                "This meeting is not over.", "Its sound is needed until its minutes are written."
            )
        await self.delete_audio(meeting_id)

    @property
    def keeps_all(self) -> bool:
        """True when no sound is ever let go by itself."""
        return self._audio is None or self._retention.keeps_all

    async def run_periodically(self) -> None:
        """Let go of sound when its time has come, until cancelled."""
        if self.keeps_all:
            return
        while True:
            try:
                await self.enforce()
            except MeetingAssistantError:
                logger.exception("Old sound could not be looked for; it is tried again within the hour.")
            await asyncio.sleep(SWEEP_SECONDS)

    async def minutes_are_written(self, meeting_id: str) -> None:
        """With `delete-after-minutes` the sound goes now."""
        if self._retention.is_after_minutes and self._audio is not None:
            await self.enforce()

    async def enforce(self) -> None:
        """Destroy the sound of every finished meeting whose time is over; one that resists does not stop the rest."""
        days = self._retention.days
        due = await self._store.with_sound_until(
            self._now_ms() - (days or 0) * DAY_MS, only_with_minutes=self._retention.is_after_minutes
        )
        for meeting_id in due:
            try:
                await self.delete_audio(meeting_id)
            except MeetingAssistantError as error:
                logger.warning(
                    "Sound whose time is over could not be destroyed.",
                    extra=obs.log_fields(meeting=meeting_id, code=error.code),
                )

    async def delete_audio(self, meeting_id: str) -> None:
        """The wrapped key first, then the file; the record says that and when."""
        if self._audio is not None:
            await self._on_disk(self._audio.delete, meeting_id)
        try:
            await self._store.set_sound_deleted(meeting_id, self._now_ms())
        except NotFoundError:
            return  # deleted meanwhile
        logger.info("Sound deleted.", extra=obs.log_fields(meeting=meeting_id))

    async def _on_disk(self, function: Callable[..., R], *args: object) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._disk_threads, function, *args)


def _ended(meeting: Meeting) -> list[tuple[int, int]]:
    ranges = [byte_range(span, meeting.frame_bytes) for span in meeting.off_record]
    return [(start, end) for start, end in ranges if end is not None]
