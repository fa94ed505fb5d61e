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
from meeting_assistant.services.audio_session import Reached
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
        is_attended: Callable[[], bool] = lambda: True,
    ) -> None:
        self._is_attended = is_attended
        self._store = store
        self._channel = channel
        self._buffer = buffer
        self._on_progress = on_progress

    @property
    def is_watched(self) -> bool:
        """By a client that shows captions."""
        return self._channel.has_caption_watchers

    @property
    def is_attended(self) -> bool:
        """A client is there that sends."""
        return self._is_attended()

    def received_sample(self) -> int:
        """Of everything accepted from the client."""
        return self._buffer.received_bytes // BYTES_PER_SAMPLE

    def show_partial(self, partial: PartialTranscript) -> None:
        """To whoever watches."""
        self._channel.show(partial)

    async def commit_utterance(self, utterance: Utterance, reached: Reached, *, takes_back: bool) -> None:
        """Words, committed sample and event number change in one transaction."""

        async def store() -> StoredEvent:
            seq = await self._patiently(
                lambda: self._store.commit_utterance(
                    self._channel.meeting_id,
                    utterance,
                    reached.committed_sample,
                    resume=reached.resume,
                )
            )
            return StoredEvent(seq, UtteranceFinished(**utterance.model_dump(), takes_back=takes_back))

        await self._channel.publish(store)
        self._committed(reached)

    async def commit_silence(self, reached: Reached) -> None:
        """Listened to, nothing said."""
        await self._patiently(
            lambda: self._store.commit_sample(
                self._channel.meeting_id, reached.committed_sample, resume=reached.resume
            )
        )
        self._committed(reached)

    async def record_gap(self, gap: Gap, reached: Reached) -> None:
        """Named and stored, then the session goes on."""
        body = GapFound(start_ms=gap.start_ms, end_ms=gap.end_ms, reason=gap.reason)

        async def store() -> StoredEvent:
            seq = await self._patiently(lambda: self._store.append_event(self._channel.meeting_id, body))
            return StoredEvent(seq, body)

        await self._channel.publish(store)
        await self.commit_silence(reached)

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

    def _committed(self, reached: Reached) -> None:
        # In memory a client may forget only what nobody who takes over would have to hear again.
        self._buffer.commit(reached.resume.start_sample * BYTES_PER_SAMPLE)
        if self._on_progress is not None:
            self._on_progress(reached.committed_sample)
