"""Where a session's results go on this machine: the store, the watchers, the sound that may be forgotten."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar

from meeting_assistant import observability as obs
from meeting_assistant.domain.audio import BYTES_PER_SAMPLE, samples_to_ms
from meeting_assistant.domain.errors import MeetingAssistantError, NotFoundError, StorageError
from meeting_assistant.domain.events import (
    GapFound,
    PartialTranscript,
    StorageChanged,
    UtteranceFinished,
)
from meeting_assistant.domain.ports import MeetingStore, StoredEvent
from meeting_assistant.domain.transcript import Gap, Utterance
from meeting_assistant.services.events.meeting_channel import MeetingChannel
from meeting_assistant.services.recording.audio_buffer import SecureAudioBuffer
from meeting_assistant.services.transcription.commit_latency import CommitLatency
from meeting_assistant.services.transcription.session_types import CommitPoint

R = TypeVar("R")

logger = logging.getLogger(__name__)

FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 5.0


class StoreSink:
    """Implements `SessionSink`."""

    def __init__(
        self,
        store: MeetingStore,
        channel: MeetingChannel,
        buffer: SecureAudioBuffer,
        *,
        frame_bytes: int = BYTES_PER_SAMPLE,
        on_progress: Callable[[int], None] | None = None,
        has_client: Callable[[], bool] = lambda: True,
        is_live: bool = False,
    ) -> None:
        """`is_live`: sound comes as it is spoken, so that it can be said how far captions and words are behind it."""
        self._frame_bytes = frame_bytes
        self._is_attended = has_client
        self._store = store
        self._channel = channel
        self._buffer = buffer
        self._on_progress = on_progress
        self._word_commits = CommitLatency() if is_live else None

    @property
    def has_viewers(self) -> bool:
        """By a client that shows captions."""
        return self._channel.has_caption_watchers

    @property
    def has_client(self) -> bool:
        """A client is there that sends."""
        return self._is_attended()

    def received_sample(self) -> int:
        """Of everything accepted from the client."""
        return self._buffer.received_bytes // self._frame_bytes

    def send_partial(self, partial: PartialTranscript) -> None:
        """To whoever watches."""
        if self._word_commits is not None:
            received_ms = samples_to_ms(self.received_sample())
            obs.caption_lag_seconds.observe(max(0, received_ms - partial.end_ms) / 1000)
            self._word_commits.show(partial.utterance, partial.stable, received_ms)
        self._channel.show(partial)

    async def commit_utterances(
        self, utterances: Sequence[Utterance], commit_point: CommitPoint, *, takes_back: bool
    ) -> None:
        """Words, committed sample and event numbers change in one transaction."""

        await self._channel.publish(partial(self._write_utterances, utterances, commit_point, takes_back))
        if self._word_commits is not None:
            for delay_s in self._word_commits.finish(utterances, samples_to_ms(self.received_sample())):
                obs.word_commit_seconds.observe(delay_s)
        self._committed(commit_point)

    async def relabel(self, speakers: Mapping[int, str | None]) -> None:
        """One event for all of them."""

        relabel = partial(self._store.relabel, self._channel.meeting_id, speakers)
        await self._channel.publish(partial(self.patiently, relabel))

    async def name_speaker(self, label: str, name: str) -> None:
        """Unless somebody gave a name already."""
        meeting_id = self._channel.meeting_id
        rename = partial(self._store.rename_speaker, meeting_id, label, name, keep_present=True)
        with contextlib.suppress(NotFoundError):  # a person joined it with another one
            await self._channel.publish(partial(self.patiently, rename))

    async def commit_silence(self, commit_point: CommitPoint) -> None:
        """Listened to, nothing said."""
        await self.patiently(
            lambda: self._store.commit_sample(
                self._channel.meeting_id, commit_point.committed_sample, resume=commit_point.resume
            )
        )
        self._committed(commit_point)

    async def record_gap(self, gap: Gap, commit_point: CommitPoint) -> None:
        """Named and stored, then the session goes on."""
        body = GapFound(start_ms=gap.start_ms, end_ms=gap.end_ms, reason=gap.reason)
        append = partial(self._store.append_event, self._channel.meeting_id, body)
        await self._channel.publish(partial(self.patiently, append))
        await self.commit_silence(commit_point)

    async def patiently(self, store: Callable[[], Awaitable[R]]) -> R:
        """What was said waits for a database that may come back; sound goes on into the journal meanwhile."""
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                stored = await store()
            except StorageError as error:
                if not may_pass(error):
                    raise
                self._channel.show(StorageChanged(state="full" if error.code == "disk_full" else "failing"))
                logger.warning(
                    "Words cannot be stored for now.",
                    extra=obs.log_fields(meeting=self._channel.meeting_id, code=error.code),
                )
                await asyncio.sleep(pause_s)
                pause_s = min(LONGEST_PAUSE_S, pause_s * 2)
            else:
                if pause_s > FIRST_PAUSE_S:
                    self._channel.show(StorageChanged(state="ok"))
                return stored

    async def _write_utterances(
        self, utterances: Sequence[Utterance], commit_point: CommitPoint, takes_back: bool
    ) -> list[StoredEvent]:
        commit = partial(
            self._store.commit_utterances,
            self._channel.meeting_id,
            utterances,
            commit_point.committed_sample,
            resume=commit_point.resume,
        )
        return [_with_verdict(event, takes_back) for event in await self.patiently(commit)]

    def _committed(self, commit_point: CommitPoint) -> None:
        # In memory a client may forget only what nobody who takes over would have to hear again.
        self._buffer.commit(commit_point.resume.start_sample * self._frame_bytes)
        if self._on_progress is not None:
            self._on_progress(commit_point.committed_sample)


def may_pass(error: MeetingAssistantError) -> bool:
    """A disk or database in this state may take words again; a damaged one does not."""
    return isinstance(error, StorageError) and error.retryable


def _with_verdict(event: StoredEvent, takes_back: bool) -> StoredEvent:
    body = event.body
    if isinstance(body, UtteranceFinished):
        body = body.model_copy(update={"takes_back": takes_back})
    return StoredEvent(event.seq, body)
