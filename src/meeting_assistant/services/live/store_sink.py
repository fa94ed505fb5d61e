"""`StoreSink`: carries the results of a session to the store, to the watchers and back to the audio buffer."""

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
from meeting_assistant.net.backoff import Backoff
from meeting_assistant.services.events.meeting_channel import MeetingChannel
from meeting_assistant.services.recording.audio_buffer import SecureAudioBuffer
from meeting_assistant.services.transcription.commit_latency import CommitLatency
from meeting_assistant.services.transcription.session_types import CommitPoint

R = TypeVar("R")

logger = logging.getLogger(__name__)

FIRST_PAUSE_S = 0.25
"""Pause before the first retry; each one after it waits twice as long."""
LONGEST_PAUSE_S = 5.0
RETRY = Backoff(first_s=FIRST_PAUSE_S, longest_s=LONGEST_PAUSE_S)


class StoreSink:
    """Stores and publishes what a session transcribes; implements `SessionSink`."""

    def __init__(
        self,
        store: MeetingStore,
        channel: MeetingChannel,
        buffer: SecureAudioBuffer,
        *,
        frame_bytes: int = BYTES_PER_SAMPLE,
        on_progress: Callable[[int], None] | None = None,
        is_live: bool = False,
    ) -> None:
        """`frame_bytes` is the size of one sample of every channel; `on_progress` is called with the committed sample.

        With `is_live`, audio comes as it is spoken: the lag of captions and words behind it is measured.
        """
        self._frame_bytes = frame_bytes
        self._store = store
        self._channel = channel
        self._buffer = buffer
        self._on_progress = on_progress
        self._word_commits = CommitLatency() if is_live else None

    @property
    def has_viewers(self) -> bool:
        """True while a client shows captions."""
        return self._channel.has_caption_watchers

    def received_sample(self) -> int:
        """Return the end of the audio accepted from the client."""
        return self._buffer.received_bytes // self._frame_bytes

    def send_partial(self, partial: PartialTranscript) -> None:
        """Broadcast a caption of the open utterance."""
        if self._word_commits is not None:
            received_ms = samples_to_ms(self.received_sample())
            obs.caption_lag_seconds.observe(max(0, received_ms - partial.end_ms) / 1000)
            self._word_commits.show(partial.utterance, partial.stable, received_ms)
        self._channel.broadcast(partial)

    async def commit_utterances(
        self, utterances: Sequence[Utterance], commit_point: CommitPoint, *, takes_back: bool
    ) -> None:
        """Store and publish finished utterances, in one transaction with the committed sample."""
        await self._channel.publish(partial(self._write_utterances, utterances, commit_point, takes_back))
        if self._word_commits is not None:
            for delay_s in self._word_commits.finish(utterances, samples_to_ms(self.received_sample())):
                obs.word_commit_seconds.observe(delay_s)
        self._report_committed(commit_point)

    async def relabel(self, speakers: Mapping[int, str | None]) -> None:
        """Store new speaker labels and publish one `speakers` event."""
        relabel = partial(self._store.relabel, self._channel.meeting_id, speakers)
        await self._channel.publish(partial(self.retry_while_unavailable, relabel))

    async def name_speaker(self, label: str, name: str) -> None:
        """Store and publish a speaker's name unless the speaker has one already."""
        meeting_id = self._channel.meeting_id
        rename = partial(self._store.rename_speaker, meeting_id, label, name, keep_present=True)
        with contextlib.suppress(NotFoundError):  # a person joined it with another one
            await self._channel.publish(partial(self.retry_while_unavailable, rename))

    async def commit_silence(self, commit_point: CommitPoint) -> None:
        """Store that nothing was said up to here."""
        await self.retry_while_unavailable(
            lambda: self._store.commit_sample(
                self._channel.meeting_id, commit_point.committed_sample, resume=commit_point.resume
            )
        )
        self._report_committed(commit_point)

    async def record_gap(self, gap: Gap, commit_point: CommitPoint) -> None:
        """Store and publish that a stretch could not be transcribed."""
        body = GapFound(start_ms=gap.start_ms, end_ms=gap.end_ms, reason=gap.reason)
        append = partial(self._store.append_event, self._channel.meeting_id, body)
        await self._channel.publish(partial(self.retry_while_unavailable, append))
        await self.commit_silence(commit_point)

    async def retry_while_unavailable(self, store: Callable[[], Awaitable[R]]) -> R:
        """Await `store`, again and again while the database refuses; audio goes on into the journal meanwhile.

        Raises what `store` raises, unless it is transient.
        """
        failures = 0
        while True:
            try:
                stored = await store()
            except StorageError as error:
                if not is_transient(error):
                    raise
                self._channel.broadcast(
                    StorageChanged(state="full" if error.code == "disk_full" else "failing")
                )
                logger.warning(
                    "Failed to store the transcript; retrying.",
                    extra=obs.log_fields(meeting=self._channel.meeting_id, code=error.code),
                )
                failures += 1
                await asyncio.sleep(RETRY.pause_s(failures))
            else:
                if failures:
                    self._channel.broadcast(StorageChanged(state="ok"))
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
        return [_with_takes_back(event, takes_back) for event in await self.retry_while_unavailable(commit)]

    def _report_committed(self, commit_point: CommitPoint) -> None:
        # Without a journal a client may drop only audio that a resumed session does not need again.
        self._buffer.commit(commit_point.resume.start_sample * self._frame_bytes)
        if self._on_progress is not None:
            self._on_progress(commit_point.committed_sample)


def is_transient(error: MeetingAssistantError) -> bool:
    """Return True when the disk or the database may accept writes again; a damaged one does not."""
    return isinstance(error, StorageError) and error.retryable


def _with_takes_back(event: StoredEvent, takes_back: bool) -> StoredEvent:
    body = event.body
    if isinstance(body, UtteranceFinished):
        body = body.model_copy(update={"takes_back": takes_back})
    return StoredEvent(event.seq, body)
