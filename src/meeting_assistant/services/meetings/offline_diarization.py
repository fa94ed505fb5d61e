"""The last word on who spoke: an engine that hears the whole recording, if there is one. A step of its own.

Minutes do not wait for it longer than `DIARIZATION_TIMEOUT_SECONDS`. What it finds later is told then, as `speakers`
and `transcript` with higher revisions; what a restart cuts short is begun again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from meeting_assistant import observability as obs
from meeting_assistant.domain.audio import SAMPLE_RATE_HZ, Samples, pcm_to_samples
from meeting_assistant.domain.errors import EngineError, MeetingAssistantError, NotFoundError
from meeting_assistant.domain.events import StatusChanged
from meeting_assistant.domain.meeting import YOU, Meeting, StageError
from meeting_assistant.domain.ports import AudioStore, SpeakerTurn, StoredEvent
from meeting_assistant.domain.steps import SPEAKERS
from meeting_assistant.domain.transcript import PROVISIONAL
from meeting_assistant.services.diarization.diarization_service import DiarizationService
from meeting_assistant.services.diarization.turns import attribute
from meeting_assistant.services.events.meeting_channel import MeetingChannel
from meeting_assistant.services.events.meeting_io import MeetingIo
from meeting_assistant.services.events.stage_errors import MAX_ATTEMPTS, stage_error

logger = logging.getLogger(__name__)

"""Also the name of the step that stays open until a recording was heard out."""
PIECE_SECONDS = 60


@dataclass(slots=True)
class _Hearing:
    """A recording that is being heard out, or waits for it."""

    waiting: MeetingChannel | None
    """Told how far it is while the minutes wait for it; None when nobody waits (any more)."""
    task: asyncio.Task[None] | None = None
    applying: asyncio.Lock = field(default_factory=asyncio.Lock)
    """What was found is stored before the minutes are begun or after they were given up waiting, never in between."""


class OfflineDiarization:
    """Of all meetings."""

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
        self._hearings: dict[str, _Hearing] = {}
        self._one_at_a_time = asyncio.Lock()
        """A recording is some hundred megabytes: those that wait are not in memory."""

    async def settle(self, meeting: Meeting, channel: MeetingChannel) -> None:
        """Before the minutes. Raises nothing of an engine's: what fails is an entry of the meeting's errors, and the
        labels stay."""
        if self._diarization.has_offline_diarizer:
            attempts = await self._store.begin_step(meeting.id, SPEAKERS)
            if attempts:  # else it was heard out before something else was cut short
                await self._note_troubles(meeting.id)
                await self._wait_for(meeting, channel, attempts)
        else:
            await self._note_troubles(meeting.id)
        said = await self._store.transcript(meeting.id)
        left: dict[int, str | None] = {u.utterance: None for u in said.utterances if u.speaker == PROVISIONAL}
        await self._relabel(meeting.id, left)

    async def resume_incomplete(self) -> None:
        """After a start: recordings of finished meetings that were not heard out."""
        for meeting_id in await self._store.incomplete_steps(SPEAKERS):
            with contextlib.suppress(NotFoundError):  # deleted meanwhile
                meeting = await self._store.get(meeting_id)
                if not meeting.state.is_over:
                    continue  # `settle` comes to it
                if not self._diarization.has_offline_diarizer:
                    await self._note_troubles(meeting_id)
                    await self._store.end_step(meeting_id, SPEAKERS)
                    continue
                self._begin(meeting, await self._store.begin_step(meeting_id, SPEAKERS), waiting=None)

    async def rest(self) -> None:
        """Wait until nothing is being heard out."""
        await asyncio.gather(*self._tasks(), return_exceptions=True)

    async def close(self) -> None:
        """What is being heard out is dropped; the next start hears it again."""
        for task in self._tasks():
            task.cancel()
        await self.rest()

    def _tasks(self) -> list[asyncio.Task[None]]:
        return [hearing.task for hearing in self._hearings.values() if hearing.task is not None]

    async def _wait_for(self, meeting: Meeting, channel: MeetingChannel, attempts: int) -> None:
        hearing = self._begin(meeting, attempts, waiting=channel)
        assert hearing.task is not None
        await asyncio.wait([hearing.task], timeout=self._timeout_s)
        async with hearing.applying:
            # From here on minutes cite whole utterances.
            hearing.waiting = None
        if not hearing.task.done():
            logger.info("Minutes do not wait for speakers.", extra=obs.log_fields(meeting=meeting.id))

    def _begin(self, meeting: Meeting, attempts: int, *, waiting: MeetingChannel | None) -> _Hearing:
        hearing = self._hearings.get(meeting.id)
        if hearing is not None:
            hearing.waiting = waiting
            return hearing
        hearing = self._hearings[meeting.id] = _Hearing(waiting)
        hearing.task = asyncio.create_task(
            self._hear_out(meeting, hearing, attempts), name=f"speakers-{meeting.id}"
        )
        hearing.task.add_done_callback(lambda _: self._hearings.pop(meeting.id, None))
        return hearing

    async def _hear_out(self, meeting: Meeting, hearing: _Hearing, attempts: int) -> None:
        try:
            trouble = _given_up() if attempts > MAX_ATTEMPTS else await self._hear(meeting, hearing)
            if trouble is not None:
                await self._store.add_error(meeting.id, trouble)
            await self._store.end_step(meeting.id, SPEAKERS)
        except NotFoundError:
            return  # deleted meanwhile
        except MeetingAssistantError as error:
            logger.warning(
                "What was found out about speakers could not be stored; the next start tries again.",
                extra=obs.log_fields(meeting=meeting.id, code=error.code),
            )

    async def _hear(self, meeting: Meeting, hearing: _Hearing) -> StageError | None:
        """Find out and store who spoke. Returns what went wrong."""

        def tell(share: float) -> None:
            if hearing.waiting is not None:
                hearing.waiting.show(
                    StatusChanged(status="Identifying speakers", progress=min(1.0, max(0.0, share)))
                )

        tell(0.0)
        try:
            async with self._one_at_a_time:
                await self._check_limit(meeting)
                turns = await self._diarization.diarize_recording(
                    meeting.id, await self._sound(meeting), tell
                )
                # Of a fleet, only who did it knows what it can.
                await self._check_limit(meeting)
            async with hearing.applying:
                await self._apply(meeting, turns, may_split=hearing.waiting is not None)
        except MeetingAssistantError as error:
            logger.warning(
                "Speakers stay as they were heard live.",
                extra=obs.log_fields(meeting=meeting.id, code=error.code),
            )
            return stage_error(SPEAKERS, error)
        except Exception as error:
            logger.exception(
                "Hearing a recording out failed unexpectedly.", extra=obs.log_fields(meeting=meeting.id)
            )
            return stage_error(SPEAKERS, error)
        return None

    async def _check_limit(self, meeting: Meeting) -> None:
        """Raises EngineError when the engine would take some of these people for one another."""
        limit = self._diarization.max_speakers
        said = (await self._store.transcript(meeting.id)).utterances
        labels = {u.speaker for u in said if u.speaker not in (None, PROVISIONAL)}
        if meeting.channels > 1:
            labels.discard(YOU)
        if limit is not None and len(labels) > limit:
            raise EngineError(
                f"Speaker labels: {self._diarization.name} tells at most {limit} speakers apart, and {len(labels)} "
                "were heard while people talked.",
                "The labels of the embedded engine were kept. Use DIARIZATION_ENGINE=pyannote for meetings of more.",
                code="too_many_speakers",
            )

    async def _apply(self, meeting: Meeting, turns: list[SpeakerTurn], *, may_split: bool) -> None:
        said = (await self._store.transcript(meeting.id)).utterances
        taken = {u.speaker for u in said if u.speaker is not None}
        taken |= set(await self._store.speaker_names(meeting.id))
        if meeting.channels > 1:
            taken.add(YOU)
        result = await self._diarization.compute(
            partial(
                attribute,
                [u for u in said if meeting.channels == 1 or u.speaker != YOU],
                turns,
                next_utterance=max((u.utterance for u in said), default=0) + 1,
                may_split=may_split,
                taken=taken,
            )
        )
        await self._relabel(meeting.id, result.speakers)
        if result.parts:
            await self._publish(meeting.id, partial(self._store.split_utterances, meeting.id, result.parts))
        if result.overlaps:
            await self._publish(meeting.id, partial(self._store.mark_overlap, meeting.id, result.overlaps))

    async def _relabel(self, meeting_id: str, speakers: dict[int, str | None]) -> None:
        if speakers:
            await self._publish(meeting_id, partial(self._store.relabel, meeting_id, speakers))

    async def _publish(self, meeting_id: str, write: Callable[[], Awaitable[list[StoredEvent]]]) -> None:
        """To whoever watches now: the channel that the meeting was finished in may be gone."""
        channel = await self._channels.get(meeting_id)
        try:
            await channel.publish(write)
        finally:
            self._channels.release(meeting_id)

    async def _sound(self, meeting: Meeting) -> Samples:
        """All of it; with two channels the second one."""
        if (await self._store.get(meeting.id)).sound_deleted_at_ms is not None:
            raise EngineError(
                "Speaker labels: the sound was deleted before it was heard again.",
                "Those heard live were kept. AUDIO_RETENTION says how long sound is.",
                code="no_sound",
            )
        if self._io.audio is None:
            raise EngineError(
                "Speaker labels: no sound is stored to hear again (AUDIO_STORAGE=memory).",
                "Use AUDIO_STORAGE=journal for labels by this engine; those heard live were kept.",
                code="no_sound",
            )
        return await self._io.on_disk(self._read, self._io.audio, meeting)

    @staticmethod
    def _read(audio: AudioStore, meeting: Meeting) -> Samples:
        journal = audio.open(meeting.id)
        try:
            piece, pieces, offset = PIECE_SECONDS * SAMPLE_RATE_HZ * meeting.frame_bytes, [], 0
            while pcm := journal.read(offset, piece):
                offset += len(pcm)
                whole = pcm_to_samples(pcm[: len(pcm) - len(pcm) % meeting.frame_bytes], meeting.channels)
                pieces.append(whole if meeting.channels == 1 else whole[:, 1])
            return np.concatenate(pieces) if pieces else np.zeros(0, np.int16)
        finally:
            journal.close()

    async def _note_troubles(self, meeting_id: str) -> None:
        """Why another engine than the wished one tells who spoke."""
        await self._store.clear_errors(meeting_id, SPEAKERS)
        for trouble in self._diarization.load_errors:
            await self._store.add_error(meeting_id, stage_error(SPEAKERS, trouble))


def _given_up() -> StageError:
    return StageError(
        stage=SPEAKERS,
        code="needs_attention",
        message=f"Speaker labels: hearing this recording out was begun {MAX_ATTEMPTS} times and never ended.",
        remedy="Those heard live were kept. See the server's log; most likely memory ran out.",
    )
