"""The last word on who spoke: an engine that hears the whole recording, if there is one. A step of finishing a meeting.

Minutes do not wait for it longer than `DIARIZATION_TIMEOUT_SECONDS`; what it finds later is told as `speakers`.
"""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import Executor
from functools import partial

import numpy as np

from meeting_assistant import observability as obs
from meeting_assistant.domain.audio import SAMPLE_RATE_HZ, Samples, pcm_to_samples
from meeting_assistant.domain.errors import EngineError, MeetingAssistantError, NotFoundError
from meeting_assistant.domain.events import StatusChanged
from meeting_assistant.domain.meeting import YOU, Meeting, StageError
from meeting_assistant.domain.ports import AudioStore, MeetingStore, SpeakerTurn, StoredEvent
from meeting_assistant.domain.transcript import PROVISIONAL
from meeting_assistant.services.diarization_service import DiarizationService
from meeting_assistant.services.meeting_channel import Channels, MeetingChannel
from meeting_assistant.services.turns import attribute

logger = logging.getLogger(__name__)

STAGE = "speakers"
PIECE_SECONDS = 60


class SpeakerSettling:
    """Of all meetings."""

    def __init__(
        self,
        store: MeetingStore,
        audio: AudioStore | None,
        channels: Channels,
        diarization: DiarizationService,
        disk_threads: Executor,
        *,
        timeout_s: float,
    ) -> None:
        self._store = store
        self._audio = audio
        self._channels = channels
        self._diarization = diarization
        self._disk_threads = disk_threads
        self._timeout_s = timeout_s
        self._late: set[asyncio.Task[None]] = set()

    async def settle(self, meeting: Meeting, channel: MeetingChannel) -> None:
        """Raises nothing of an engine's: what fails is an entry of the meeting's errors, and the labels stay."""
        await self._store.clear_errors(meeting.id, STAGE)
        for trouble in self._diarization.troubles:
            await self._add_error(meeting.id, trouble)
        if self._diarization.has_final_pass:
            hearing = asyncio.create_task(self._hear_out(meeting, channel), name=f"speakers-{meeting.id}")
            self._late.add(hearing)
            hearing.add_done_callback(self._late.discard)
            await asyncio.wait([hearing], timeout=self._timeout_s)
            if not hearing.done():
                logger.info("Minutes do not wait for speakers.", extra=obs.log_fields(meeting=meeting.id))
        said = await self._store.transcript(meeting.id)
        left: dict[int, str | None] = {u.utterance: None for u in said.utterances if u.speaker == PROVISIONAL}
        await self._relabel(channel, left)

    async def close(self) -> None:
        """What is being heard out is dropped; its labels stay as they are."""
        for task in list(self._late):
            task.cancel()
        await asyncio.gather(*self._late, return_exceptions=True)

    async def _hear_out(self, meeting: Meeting, channel: MeetingChannel) -> None:
        def tell(share: float) -> None:
            channel.show(StatusChanged(status="Identifying speakers", progress=min(1.0, max(0.0, share))))

        tell(0.0)
        try:
            samples = await self._sound(meeting)
            turns = await self._diarization.diarize(samples, tell)
            await self._apply(meeting, channel, turns)
        except NotFoundError:
            return  # deleted meanwhile
        except MeetingAssistantError as error:
            logger.warning(
                "Speakers stay as they were heard live.",
                extra=obs.log_fields(meeting=meeting.id, code=error.code),
            )
            await self._add_error(meeting.id, error)

    async def _apply(self, meeting: Meeting, channel: MeetingChannel, turns: list[SpeakerTurn]) -> None:
        present = await self._store.get(meeting.id)
        said = (await self._store.transcript(meeting.id)).utterances
        other = [u for u in said if meeting.channels == 1 or u.speaker != YOU]
        result = await self._diarization.compute(
            partial(
                attribute,
                other,
                turns,
                next_utterance=max((u.utterance for u in said), default=0) + 1,
                # Minutes that are written cite whole utterances.
                may_split=not present.state.is_over,
            )
        )
        await self._relabel(channel, result.speakers)
        if result.parts:

            async def split() -> list[StoredEvent]:
                return await self._store.split_utterances(meeting.id, result.parts)

            await channel.publish_all(split)

    async def _relabel(self, channel: MeetingChannel, speakers: dict[int, str | None]) -> None:
        if not speakers:
            return

        async def store() -> list[StoredEvent]:
            event = await self._store.relabel(channel.meeting_id, speakers)
            return [] if event is None else [event]

        await channel.publish_all(store)

    async def _sound(self, meeting: Meeting) -> Samples:
        """All of it; with two channels the second one."""
        if self._audio is None:
            raise EngineError(
                "Speaker labels: no sound is stored to hear again (AUDIO_STORAGE=memory).",
                "Use AUDIO_STORAGE=journal for labels by this engine; those heard live were kept.",
                code="no_sound",
            )
        return await asyncio.get_running_loop().run_in_executor(
            self._disk_threads, self._read, self._audio, meeting
        )

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

    async def _add_error(self, meeting_id: str, error: MeetingAssistantError) -> None:
        await self._store.add_error(
            meeting_id, StageError(stage=STAGE, code=error.code, message=error.message, remedy=error.remedy)
        )
