"""Sends the results of a session from a worker back to its gateway."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence

from meeting_assistant.domain.errors import BrokerError
from meeting_assistant.domain.events import PartialTranscript
from meeting_assistant.domain.jobs import FLEET_PROTOCOL_VERSION, InferenceJob, version_mismatch
from meeting_assistant.domain.ports import AudioFrame, WorkerLink
from meeting_assistant.domain.transcript import Gap, Utterance
from meeting_assistant.services.fleet.messages import (
    Audio,
    Begin,
    End,
    Hello,
    NameSpeaker,
    NumberedBody,
    Progress,
    Relabel,
    Silence,
    TransientBody,
    Untranscribed,
    Utterances,
    WorkerMessage,
    decode_gateway_message,
    encode,
)
from meeting_assistant.services.transcription.session_types import CommitPoint

RETRY_SECONDS = 0.2


class AudioGapError(Exception):
    """The broker lost some of the audio; the attempt that follows is sent it again."""


class RemoteSink:
    """One attempt at a job: receives its audio, sends its results. Implements `SessionSink`."""

    def __init__(self, link: WorkerLink, job: InferenceJob) -> None:
        self.job = job
        self.has_viewers = False
        self._link = link
        self._attempt = secrets.token_hex(8)
        self._number = 0
        self._sequence = 0
        self._order = asyncio.Lock()
        self._newest_transient: TransientBody | None = None
        self._sending: asyncio.Task[None] | None = None
        self._received_sample = 0

    def received_sample(self) -> int:
        """Return the newest sample that the gateway had received when it sent the newest audio."""
        return self._received_sample

    # --- from the gateway

    async def send_hello(self, hello: Hello) -> None:
        """Claim the job for this attempt; waits until the message is delivered."""
        async with self._order:
            await self._deliver(hello, 0)

    def frames(self) -> AsyncGenerator[AudioFrame, None]:
        """Yield what the gateway sends to this attempt: `begin` first."""
        return self._link.audio(self._attempt)

    @staticmethod
    def read_begin(frame: AudioFrame) -> Begin:
        """Return the answer to `hello`. Raises JobError with the code `version_mismatch`."""
        begin = decode_gateway_message(frame.message)
        if not isinstance(begin, Begin):
            raise version_mismatch("The gateway did not answer with `begin`.")
        if begin.protocol != FLEET_PROTOCOL_VERSION:
            raise version_mismatch(
                f"The gateway speaks version {begin.protocol} of the fleet protocol, this worker "
                f"{FLEET_PROTOCOL_VERSION}."
            )
        return begin

    async def follow(self, frames: AsyncIterator[AudioFrame]) -> AsyncIterator[bytes]:
        """Yield the audio up to `end`. Raises AudioGapError when some of it is missing, JobError for a message that
        this version cannot read."""
        received = 0
        async for frame in frames:
            message = decode_gateway_message(frame.message)
            if isinstance(message, Begin):
                continue  # sent twice by a gateway that could not know that it had arrived
            if message.offset > received:
                raise AudioGapError
            if isinstance(message, End):
                return
            self._note(message)
            # A frame may be sent twice, for the same reason.
            new = frame.pcm[received - message.offset :]
            if new:
                received += len(new)
                yield new
        raise AudioGapError

    def _note(self, message: Audio) -> None:
        self.has_viewers = message.has_viewers
        self._received_sample = message.received_sample

    # --- to the gateway

    async def commit_utterances(
        self, utterances: Sequence[Utterance], commit_point: CommitPoint, *, takes_back: bool
    ) -> None:
        """Send utterances, which the gateway commits in this order; whatever it has not committed is transcribed again
        by the attempt that follows."""
        await self.send(
            Utterances(utterances=list(utterances), commit_point=commit_point, takes_back=takes_back)
        )

    async def commit_silence(self, commit_point: CommitPoint) -> None:
        """Send that nothing is spoken up to here."""
        await self.send(Silence(commit_point=commit_point))

    async def record_gap(self, gap: Gap, commit_point: CommitPoint) -> None:
        """Send that a stretch could not be transcribed."""
        await self.send(Untranscribed(gap=gap, commit_point=commit_point))

    async def relabel(self, speakers: Mapping[int, str | None]) -> None:
        """Send new labels of utterances."""
        await self.send(Relabel(speakers=dict(speakers)))

    async def name_speaker(self, label: str, name: str) -> None:
        """Send the name of an identified voice."""
        await self.send(NameSpeaker(label=label, name=name))

    def send_partial(self, partial: PartialTranscript) -> None:
        """Send the newest partial as soon as the one before it has gone."""
        self._send_transient(partial)

    def send_progress(self, share: float) -> None:
        """Send the newest progress, like a partial."""
        self._send_transient(Progress(share=share))

    async def send(self, body: NumberedBody) -> None:
        """Send a result, in order; waits until it is delivered."""
        async with self._order:
            await self._deliver(body, self._number + 1)
            self._number += 1

    def _send_transient(self, body: TransientBody) -> None:
        self._newest_transient = body
        if self._sending is None or self._sending.done():
            self._sending = asyncio.create_task(self._send_newest())

    async def _send_newest(self) -> None:
        while self._newest_transient is not None:
            body, self._newest_transient = self._newest_transient, None
            with contextlib.suppress(BrokerError):
                async with self._order:
                    await self._send_once(body, 0)

    async def _deliver(self, body: TransientBody | NumberedBody, number: int) -> None:
        while True:
            try:
                await self._send_once(body, number)
            except BrokerError:
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return

    async def _send_once(self, body: TransientBody | NumberedBody, number: int) -> None:
        self._sequence += 1
        message = WorkerMessage(
            meeting_id=self.job.meeting_id,
            attempt=self._attempt,
            sequence=self._sequence,
            number=number,
            body=body,
        )
        await self._link.send(self.job, encode(message))
