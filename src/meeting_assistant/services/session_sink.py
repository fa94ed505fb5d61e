"""Where a session's results go on this machine: the store, the watchers, the sound that may be forgotten."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from meeting_assistant.domain.audio import BYTES_PER_SAMPLE
from meeting_assistant.domain.errors import StorageError
from meeting_assistant.domain.events import GapFound, PartialTranscript, StorageChanged, UtteranceFinished
from meeting_assistant.domain.ports import MeetingStore, StoredEvent
from meeting_assistant.domain.transcript import Gap, Utterance
from meeting_assistant.observability import log_fields
from meeting_assistant.services.audio_buffer import SecureAudioBuffer
from meeting_assistant.services.meeting_channel import MeetingChannel

R = TypeVar("R")

logger = logging.getLogger(__name__)

MAY_PASS = frozenset({"disk_full", "read_only", "locked", "storage"})
"""A database in this state may take words again; a damaged one does not."""
FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 5.0


class StoreSink:
    """Implements `SessionSink`."""

    def __init__(
        self,
        store: MeetingStore,
        channel: MeetingChannel,
        buffer: SecureAudioBuffer,
        on_progress: Callable[[int], None] | None = None,
    ) -> None:
        self._store = store
        self._channel = channel
        self._buffer = buffer
        self._on_progress = on_progress

    @property
    def is_watched(self) -> bool:
        """By a client that shows captions."""
        return self._channel.has_caption_watchers

    def received_sample(self) -> int:
        """Of everything accepted from the client."""
        return self._buffer.received_bytes // BYTES_PER_SAMPLE

    def show_partial(self, partial: PartialTranscript) -> None:
        """To whoever watches."""
        self._channel.show(partial)

    async def commit_utterance(
        self, utterance: Utterance, committed_sample: int, *, takes_back: bool
    ) -> None:
        """Words, committed sample and event number change in one transaction."""

        async def store() -> StoredEvent:
            seq = await self._patiently(
                lambda: self._store.commit_utterance(self._channel.meeting_id, utterance, committed_sample)
            )
            return StoredEvent(seq, UtteranceFinished(**utterance.model_dump(), takes_back=takes_back))

        await self._channel.publish(store)
        self._committed(committed_sample)

    async def commit_silence(self, committed_sample: int) -> None:
        """Listened to, nothing said."""
        await self._patiently(lambda: self._store.commit_sample(self._channel.meeting_id, committed_sample))
        self._committed(committed_sample)

    async def record_gap(self, gap: Gap, committed_sample: int) -> None:
        """Named and stored, then the session goes on."""
        body = GapFound(start_ms=gap.start_ms, end_ms=gap.end_ms, reason=gap.reason)

        async def store() -> StoredEvent:
            seq = await self._patiently(lambda: self._store.append_event(self._channel.meeting_id, body))
            return StoredEvent(seq, body)

        await self._channel.publish(store)
        await self.commit_silence(committed_sample)

    async def _patiently(self, store: Callable[[], Awaitable[R]]) -> R:
        """What was said waits for a database that may come back; sound goes on into the journal meanwhile."""
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                stored = await store()
            except StorageError as error:
                if error.code not in MAY_PASS:
                    raise
                self._channel.show(StorageChanged(state="full" if error.code == "disk_full" else "failing"))
                logger.warning(
                    "Words cannot be stored for now.",
                    extra=log_fields(meeting=self._channel.meeting_id, code=error.code),
                )
                await asyncio.sleep(pause_s)
                pause_s = min(LONGEST_PAUSE_S, pause_s * 2)
            else:
                if pause_s > FIRST_PAUSE_S:
                    self._channel.show(StorageChanged(state="ok"))
                return stored

    def _committed(self, sample: int) -> None:
        self._buffer.commit(sample * BYTES_PER_SAMPLE)
        if self._on_progress is not None:
            self._on_progress(sample)
