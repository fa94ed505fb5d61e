"""Where a session's results go on this machine: the store, the watchers, the sound that may be forgotten."""

from __future__ import annotations

from collections.abc import Callable

from meeting_assistant.domain.audio import BYTES_PER_SAMPLE
from meeting_assistant.domain.events import GapFound, PartialTranscript, UtteranceFinished
from meeting_assistant.domain.ports import MeetingStore, StoredEvent
from meeting_assistant.domain.transcript import Gap, Utterance
from meeting_assistant.services.audio_buffer import SecureAudioBuffer
from meeting_assistant.services.meeting_channel import MeetingChannel


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
            seq = await self._store.commit_utterance(self._channel.meeting_id, utterance, committed_sample)
            return StoredEvent(seq, UtteranceFinished(**utterance.model_dump(), takes_back=takes_back))

        await self._channel.publish(store)
        self._committed(committed_sample)

    async def commit_silence(self, committed_sample: int) -> None:
        """Listened to, nothing said."""
        await self._store.commit_sample(self._channel.meeting_id, committed_sample)
        self._committed(committed_sample)

    async def record_gap(self, gap: Gap, committed_sample: int) -> None:
        """Named and stored, then the session goes on."""
        body = GapFound(start_ms=gap.start_ms, end_ms=gap.end_ms, reason=gap.reason)

        async def store() -> StoredEvent:
            return StoredEvent(await self._store.append_event(self._channel.meeting_id, body), body)

        await self._channel.publish(store)
        await self.commit_silence(committed_sample)

    def _committed(self, sample: int) -> None:
        self._buffer.commit(sample * BYTES_PER_SAMPLE)
        if self._on_progress is not None:
            self._on_progress(sample)
