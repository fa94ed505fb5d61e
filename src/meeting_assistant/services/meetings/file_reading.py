"""Reading of an uploaded file into the buffer of its meeting, no faster than the recogniser and the disk take it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from meeting_assistant import observability as obs
from meeting_assistant.domain.audio import BYTES_PER_SAMPLE, BYTES_PER_SECOND, samples_to_ms
from meeting_assistant.domain.errors import InputError, StorageError
from meeting_assistant.domain.events import StatusChanged
from meeting_assistant.domain.ports import DecodeLimits, MediaDecoder
from meeting_assistant.domain.transcript import NOTHING_LOST, Gap
from meeting_assistant.services.events.meeting_channel import MeetingChannel
from meeting_assistant.services.recording.audio_buffer import SecureAudioBuffer

logger = logging.getLogger(__name__)

WAIT_EVERY_BYTES = 1 << 20
"""How often the decoder, which is faster than the disk and the recogniser, waits for them."""
SPACE_INTERVAL_S = 5.0
MAX_SPACE_INTERVALS = 120
"""How often space on the disk is looked for before reading is given up: ten minutes."""
NO_SPACE = "no_space"
FILE_IS_KEPT = "The file that was sent is kept until this meeting or its audio is deleted."
RETRY_WITH_KEPT_FILE = "Then retry the meeting: the file that was sent is kept."


@dataclass(frozen=True, slots=True)
class FileContent:
    """What was found in a file besides its audio."""

    gaps: Sequence[Gap]
    fault: InputError | None
    """Why reading ended before the end of the file; None when it did not."""

    @property
    def is_complete(self) -> bool:
        """True when all that the file holds, and says that it holds, was read."""
        return self.fault is None and all(gap.reason in NOTHING_LOST for gap in self.gaps)

    def error(self) -> InputError | None:
        """Return what the user has to know about a file that is not complete."""
        lost = [gap for gap in self.gaps if gap.reason not in NOTHING_LOST]
        if self.fault is not None:
            return InputError(self.fault.message, f"{self.fault.remedy} {FILE_IS_KEPT}", code=self.fault.code)
        if not lost:
            return None
        seconds = sum(gap.end_ms - gap.start_ms for gap in lost) / 1000
        stretches = "One stretch" if len(lost) == 1 else f"{len(lost)} stretches"
        return InputError(
            f"{stretches} of the file, {seconds:.1f} s in all, could not be read; the transcript marks where.",
            f"If there is a better copy of the recording, send that. {FILE_IS_KEPT}",
            code="file_incomplete",
        )


class FileReader:
    """Decodes files into buffers."""

    def __init__(
        self, decoder: MediaDecoder, limits: DecodeLimits, check_space: Callable[[int], None] | None
    ) -> None:
        """`check_space` raises StorageError when so many more bytes do not fit on the disk; None when audio is kept in
        memory only."""
        self._decoder = decoder
        self._limits = limits
        self._check_space = check_space

    def check_room_for(self, duration_s: float | None) -> None:
        """Raise StorageError when the audio of a file of this duration does not fit on the disk."""
        if self._check_space is not None:
            seconds = min(duration_s or 0.0, self._limits.max_duration_s)
            self._check_space(int(seconds * BYTES_PER_SECOND))

    async def read(
        self, file: Path, duration_s: float | None, buffer: SecureAudioBuffer, channel: MeetingChannel
    ) -> FileContent:
        """Decode the file and seal the buffer; what precedes a fault of the file is kept.

        `duration_s` is what the file says of itself. Raises StorageError when the disk stays full for ten minutes.
        """
        waited = 0
        gaps: list[Gap] = []
        fault: InputError | None = None
        try:
            async for piece in self._decoder.decode(file, self._limits):
                if isinstance(piece, Gap):
                    gaps.append(piece)
                    continue
                buffer.append(piece)
                if buffer.received_bytes - waited >= WAIT_EVERY_BYTES:
                    await buffer.drain()
                    await self._wait_for_space(channel)
                    waited = buffer.received_bytes
        except InputError as error:
            fault = error
            read_ms = samples_to_ms(buffer.received_bytes // BYTES_PER_SAMPLE)
            end_ms = max(read_ms, round((duration_s or 0.0) * 1000))
            gaps.append(Gap(start_ms=read_ms, end_ms=end_ms, reason=error.code))
        await buffer.seal()
        return FileContent(gaps, fault)

    async def _wait_for_space(self, channel: MeetingChannel) -> None:
        """Return when the disk has the space that live meetings need; running ones come first."""
        if self._check_space is None:
            return
        for waits in range(MAX_SPACE_INTERVALS):
            try:
                await asyncio.to_thread(self._check_space, 0)
            except StorageError as error:
                refusal = error
            else:
                return
            if waits == 0:
                logger.warning(
                    "Reading an uploaded file waits for space on the disk.",
                    extra=obs.log_fields(meeting=channel.meeting_id, code=refusal.code),
                )
            channel.broadcast(
                StatusChanged(
                    status="Processing audio", detail=f"Waiting for space on the disk. {refusal.remedy}"
                )
            )
            await asyncio.sleep(SPACE_INTERVAL_S)
        raise StorageError(
            "There is no space on the disk for the audio of this file; what was read of it was removed.",
            f"{refusal.remedy} {RETRY_WITH_KEPT_FILE}",
            code=NO_SPACE,
        )
