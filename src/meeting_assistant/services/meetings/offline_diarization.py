"""Offline diarization: an engine labels the whole recording after the meeting, and its labels replace the live ones.

Minutes wait for it at most `DIARIZATION_TIMEOUT_SECONDS`. Later results are published when they arrive, as `speakers`
and `transcript` events with higher revisions. An interrupted diarization starts again after a restart.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial

from meeting_assistant import observability as obs
from meeting_assistant.domain.errors import EngineError, MeetingAssistantError, NotFoundError, StorageError
from meeting_assistant.domain.events import StatusChanged
from meeting_assistant.domain.meeting import YOU, Meeting, StageError
from meeting_assistant.domain.ports import SpeakerTurn, StoredEvent
from meeting_assistant.domain.steps import SPEAKERS
from meeting_assistant.domain.transcript import PROVISIONAL
from meeting_assistant.services.diarization.attribution import attribute
from meeting_assistant.services.diarization.diarization_service import DiarizationService
from meeting_assistant.services.events.meeting_channel import MeetingChannel
from meeting_assistant.services.events.meeting_io import MeetingIo
from meeting_assistant.services.events.stage_errors import MAX_ATTEMPTS, stage_error
from meeting_assistant.services.meetings.recording_reader import read_recording

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Diarization:
    """A recording that is being diarized, or waits for it."""

    waiting: MeetingChannel | None
    """Shows the progress while the minutes wait for it; None when they do not."""
    task: asyncio.Task[None] | None = None
    applying: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Labels are stored before the minutes are begun or after they stopped waiting, never in between."""


class OfflineDiarization:
    """Diarizes the recordings of finished meetings, one at a time."""

    def __init__(
        self,
        io: MeetingIo,
        diarization: DiarizationService,
        *,
        timeout_s: float,
    ) -> None:
        """`timeout_s`: how long minutes wait for it."""
        self._io = io
        self._store = io.store
        self._channels = io.channels
        self._diarization = diarization
        self._timeout_s = timeout_s
        self._running: dict[str, _Diarization] = {}
        self._one_at_a_time = asyncio.Lock()
        """A recording is some hundred megabytes: one that waits is not in memory."""

    async def run(self, meeting: Meeting, channel: MeetingChannel) -> None:
        """Diarize the recording before the minutes are written, and wait for at most the timeout.

        An engine that fails becomes an entry of the meeting's errors, and the live labels stay.
        """
        if self._diarization.recordings.is_available:
            if await self._store.open_step(meeting.id, SPEAKERS):
                await self._store_load_errors(meeting.id)
                await self._wait_for(meeting, channel)  # else it was done before a later step was interrupted
        else:
            await self._store_load_errors(meeting.id)
        transcript = await self._store.transcript(meeting.id)
        left: dict[int, str | None] = {
            u.utterance: None for u in transcript.utterances if u.speaker == PROVISIONAL
        }
        await self._relabel(meeting.id, left)

    async def resume_incomplete(self) -> None:
        """Resume the recordings of finished meetings that were not diarized before the restart."""
        for meeting_id in await self._store.incomplete_steps(SPEAKERS):
            with contextlib.suppress(NotFoundError):  # deleted meanwhile
                meeting = await self._store.get(meeting_id)
                if not meeting.state.is_over:
                    continue  # `run` comes to it
                if not self._diarization.recordings.is_available:
                    await self._store_load_errors(meeting_id)
                    await self._store.end_step(meeting_id, SPEAKERS)
                    continue
                self._begin(meeting, waiting=None)

    async def wait_idle(self) -> None:
        """Wait until no recording is being diarized."""
        await asyncio.gather(*self._tasks(), return_exceptions=True)

    async def close(self) -> None:
        """Cancel what runs; the next start resumes it."""
        for task in self._tasks():
            task.cancel()
        await self.wait_idle()

    def _tasks(self) -> list[asyncio.Task[None]]:
        return [running.task for running in self._running.values() if running.task is not None]

    async def _wait_for(self, meeting: Meeting, channel: MeetingChannel) -> None:
        running = self._begin(meeting, waiting=channel)
        assert running.task is not None
        await asyncio.wait([running.task], timeout=self._timeout_s)
        async with running.applying:
            # From here on minutes cite whole utterances.
            running.waiting = None
        if not running.task.done():
            logger.info(
                "Minutes no longer wait for speaker labels.", extra=obs.log_fields(meeting=meeting.id)
            )

    def _begin(self, meeting: Meeting, *, waiting: MeetingChannel | None) -> _Diarization:
        running = self._running.get(meeting.id)
        if running is not None:
            running.waiting = waiting
            return running
        running = self._running[meeting.id] = _Diarization(waiting)
        running.task = asyncio.create_task(self._diarize(meeting, running), name=f"speakers-{meeting.id}")
        running.task.add_done_callback(lambda _: self._running.pop(meeting.id, None))
        return running

    async def _diarize(self, meeting: Meeting, running: _Diarization) -> None:
        try:
            async with self._one_at_a_time:
                problem = await self._attempt(meeting, running)
            if problem is not None:
                await self._store.add_error(meeting.id, problem)
            await self._store.end_step(meeting.id, SPEAKERS)
        except NotFoundError:
            return  # deleted meanwhile
        except MeetingAssistantError as error:
            logger.warning(
                "Failed to store speaker labels; the next start tries again.",
                extra=obs.log_fields(meeting=meeting.id, code=error.code),
            )

    async def _attempt(self, meeting: Meeting, running: _Diarization) -> StageError | None:
        """Diarize, if the process did not die of it too often; recordings that only wait have no attempt."""
        if await self._store.begin_step(meeting.id, SPEAKERS) > MAX_ATTEMPTS:
            return _too_many_attempts()
        try:
            return await self._find_speakers(meeting, running)
        finally:
            with contextlib.suppress(StorageError):
                await self._store.forget_attempts(meeting.id, SPEAKERS)

    async def _find_speakers(self, meeting: Meeting, running: _Diarization) -> StageError | None:
        """Diarize the recording and store the labels. Returns what went wrong, if anything did."""

        def report(share: float) -> None:
            if running.waiting is not None:
                running.waiting.broadcast(
                    StatusChanged(status="Identifying speakers", progress=min(1.0, max(0.0, share)))
                )

        report(0.0)
        try:
            await self._check_limit(meeting)
            turns = await self._diarization.recordings.diarize_recording(
                meeting.id, await read_recording(self._io, meeting), report
            )
            # In a fleet, the limit is known only after a worker took the recording.
            await self._check_limit(meeting)
            async with running.applying:
                await self._apply(meeting, turns, may_split=running.waiting is not None)
        except MeetingAssistantError as error:
            logger.warning(
                "Offline diarization failed; the live speaker labels stay.",
                extra=obs.log_fields(meeting=meeting.id, code=error.code),
            )
            return stage_error(SPEAKERS, error)
        except Exception as error:
            logger.exception(
                "Offline diarization failed unexpectedly.", extra=obs.log_fields(meeting=meeting.id)
            )
            return stage_error(SPEAKERS, error)
        return None

    async def _check_limit(self, meeting: Meeting) -> None:
        """Raise EngineError when the engine tells apart fewer speakers than were labelled live."""
        limit = self._diarization.recordings.max_speakers
        utterances = (await self._store.transcript(meeting.id)).utterances
        labels = {u.speaker for u in utterances if u.speaker not in (None, PROVISIONAL)}
        if meeting.channels > 1:
            labels.discard(YOU)
        if limit is not None and len(labels) > limit:
            raise EngineError(
                f"Speaker labels: {self._diarization.name} tells apart at most {limit} speakers, and {len(labels)} "
                "were labelled live.",
                "The labels of the embedded engine were kept. Use DIARIZATION_ENGINE=pyannote for meetings of more.",
                code="too_many_speakers",
            )

    async def _apply(self, meeting: Meeting, turns: list[SpeakerTurn], *, may_split: bool) -> None:
        utterances = (await self._store.transcript(meeting.id)).utterances
        taken = {u.speaker for u in utterances if u.speaker is not None}
        taken |= set(await self._store.speaker_names(meeting.id))
        if meeting.channels > 1:
            taken.add(YOU)
        result = await asyncio.to_thread(
            attribute,
            [u for u in utterances if meeting.channels == 1 or u.speaker != YOU],
            turns,
            next_utterance=max((u.utterance for u in utterances), default=0) + 1,
            may_split=may_split,
            taken=taken,
        )
        await self._relabel(meeting.id, result.speakers)
        if result.splits:
            await self._publish(meeting.id, partial(self._store.split_utterances, meeting.id, result.splits))
        if result.overlaps:
            await self._publish(meeting.id, partial(self._store.mark_overlap, meeting.id, result.overlaps))

    async def _relabel(self, meeting_id: str, speakers: dict[int, str | None]) -> None:
        if speakers:
            await self._publish(meeting_id, partial(self._store.relabel, meeting_id, speakers))

    async def _publish(self, meeting_id: str, write: Callable[[], Awaitable[list[StoredEvent]]]) -> None:
        """Publish to the watchers of now: the channel of the time of finishing may be closed."""
        channel = await self._channels.get(meeting_id)
        try:
            await channel.publish(write)
        finally:
            self._channels.release(meeting_id)

    async def _store_load_errors(self, meeting_id: str) -> None:
        """Store why another engine than the requested one labels speakers."""
        await self._store.clear_errors(meeting_id, SPEAKERS)
        for problem in self._diarization.load_errors:
            await self._store.add_error(meeting_id, stage_error(SPEAKERS, problem))


def _too_many_attempts() -> StageError:
    return StageError(
        stage=SPEAKERS,
        code="needs_attention",
        message=f"Speaker labels: diarizing this recording was started {MAX_ATTEMPTS} times and never completed.",
        remedy="The live labels were kept. See the server's log; most likely memory ran out.",
    )
