"""The first half of a session: audio in, utterances out in the order of time."""

from __future__ import annotations

import base64
from collections import deque
from collections.abc import Sequence
from itertools import zip_longest

from meeting_assistant import observability as obs
from meeting_assistant.domain.audio import SAMPLE_RATE_HZ, Samples
from meeting_assistant.domain.meeting import ResumePoint
from meeting_assistant.domain.ports import VAD_FRAME_SAMPLES
from meeting_assistant.net.blocking import run_blocking
from meeting_assistant.services.asr.channel_speech import RecentProbabilities
from meeting_assistant.services.asr.endpointing import (
    Endpointer,
    EndpointEvent,
    SpeechEnded,
    SpeechStarted,
)
from meeting_assistant.services.asr.hallucination_filters import reject_audio
from meeting_assistant.services.asr.multichannel_vad import MultichannelVad
from meeting_assistant.services.recording.rolling_audio import RollingAudio
from meeting_assistant.services.transcription.echo_detection import CONTEXT_SAMPLES
from meeting_assistant.services.transcription.ordered_commit import NoWords, OrderedCommit, Silence
from meeting_assistant.services.transcription.partials import OpenUtterance, PartialCaptions
from meeting_assistant.services.transcription.session_types import (
    CommitPoint,
    SessionSink,
    SessionSpec,
    SpeechServices,
    UtteranceSound,
)

SILENCE_STEP_SAMPLES = 5 * SAMPLE_RATE_HZ
"""Silence is reported in steps of this length."""


class SpeechIntake:
    """Voice activity, endpointing and rolling audio of one session; all methods on the event loop."""

    def __init__(
        self,
        spec: SessionSpec,
        services: SpeechServices,
        sink: SessionSink,
        captions: PartialCaptions,
        audio: RollingAudio,
        commits: OrderedCommit,
    ) -> None:
        """Utterances and silence are handed to `commits`; `audio` is shared with `captions`."""
        self._spec = spec
        self._services = services
        self._sink = sink
        self._captions = captions
        self._audio = audio
        self._commits = commits
        begin = spec.resume
        self._vad = MultichannelVad(services.vad, spec.channels, base64.b64decode(begin.vad_state))
        # Frames lie on the grid of the session that was interrupted.
        self._warm_up_frames = (begin.resume_sample - begin.start_sample) // VAD_FRAME_SAMPLES
        """Frames that only restore the state of the detector."""
        first_frame = begin.start_sample + self._warm_up_frames * VAD_FRAME_SAMPLES
        self._endpointer = Endpointer(spec.endpointing, start_sample=first_frame, floor=begin.resume_sample)
        self._probabilities = RecentProbabilities(first_frame, spec.channels)
        self._context_samples = CONTEXT_SAMPLES if spec.channels > 1 else 0
        """Audio before an utterance that its decode reads."""
        self._resume_sample = begin.resume_sample
        self._vad_states = deque([(begin.start_sample, self._vad.state())])
        """States of the detector by sample, from the newest one on that is early enough to resume with."""
        self._open: OpenUtterance | None = None
        self._reported_sample = spec.committed_sample
        """End of the last utterance or silence that was handed on."""

    async def process_chunk(self, samples: Samples) -> None:
        """Take the next audio of the session. `samples`, shape `(n,)` or `(n, channels)`."""
        self._audio.append(samples)
        probabilities = await run_blocking(self._services.vad_threads, self._vad.feed, samples)
        warm_up = min(self._warm_up_frames, len(probabilities))
        self._warm_up_frames -= warm_up
        self._probabilities.append(probabilities[warm_up:])
        # There is speech when a channel has speech.
        await self._handle(self._endpointer.push(probabilities[warm_up:].max(axis=1).tolist()))
        if self._warm_up_frames == 0:
            self._vad_states.append((self._endpointer.position, self._vad.state()))
        needed = self._endpointer.decided_until - VAD_FRAME_SAMPLES
        self._audio.evict_before(needed - self._context_samples)
        self._probabilities.evict_before(needed)
        if self._open is not None and self._spec.is_live:
            self._captions.renew(self._endpointer.voiced_ms)
        await self.report_silence()

    def complete_caption(self) -> None:
        """Show all words of the open utterance, because no audio arrives for now.

        The utterance stays open: a server or a network that stands still must not decide where it ends.
        """
        if self._open is not None and self._spec.is_live:
            self._captions.renew(self._endpointer.voiced_ms, is_idle=True)

    async def finish(self) -> None:
        """Close the open utterance and hand on the rest, because the audio is over."""
        await self._handle(self._endpointer.flush(self._audio.end_sample))
        await self.report_silence(is_over=True)

    async def report_silence(self, *, is_over: bool = False) -> None:
        """Hand on silence from time to time, and all that is left when the session is over."""
        if self._endpointer.is_open and not is_over:
            return
        end = self._audio.end_sample if is_over else self._endpointer.decided_until
        if end - self._reported_sample >= (1 if is_over else SILENCE_STEP_SAMPLES):
            self._reported_sample = self._resume_sample = end
            await self._commits.put(Silence(self._commit_point(end)))

    async def _handle(self, events: Sequence[EndpointEvent]) -> None:
        committed = self._spec.committed_sample
        for event, following in zip_longest(events, events[1:]):
            if isinstance(event, SpeechStarted):
                if event.start_sample >= committed:
                    self._open_utterance(event.start_sample)
                continue
            if not isinstance(following, SpeechStarted) or following.start_sample != event.end_sample:
                # Speech does not go on here: a session that continues this one can begin here.
                self._resume_sample = event.end_sample
            if event.end_sample > committed:
                ended = event.after(committed)
                await self._end_utterance(self._open or self._open_utterance(ended.start_sample), ended)
            self._open = None

    def _open_utterance(self, start_sample: int) -> OpenUtterance:
        self._open = OpenUtterance(self._commits.next_number(), start_sample)
        self._captions.open(self._open)
        return self._open

    async def _end_utterance(self, utterance: OpenUtterance, ended: SpeechEnded) -> None:
        self._captions.close()
        self._reported_sample = ended.end_sample
        sound = UtteranceSound(
            self._audio.read(ended.start_sample, ended.end_sample),
            self._audio.read(ended.start_sample - self._context_samples, ended.start_sample),
            self._probabilities.read(ended.start_sample, ended.end_sample),
        )
        commit_point = self._commit_point(ended.end_sample)
        reason = reject_audio(sound.samples)
        if reason is None:
            await self._commits.put(self._commits.start_decode(commit_point, utterance, ended, sound))
        else:
            obs.suppressed_hypotheses_total.labels(reason).inc()
            await self._commits.put(NoWords(commit_point, utterance, reason))

    def _commit_point(self, committed_sample: int) -> CommitPoint:
        latest = self._resume_sample - self._context_samples
        while len(self._vad_states) > 1 and self._vad_states[1][0] <= latest:
            self._vad_states.popleft()
        start, state = self._vad_states[0]
        resume = ResumePoint(
            start_sample=start,
            resume_sample=self._resume_sample,
            vad_state=base64.b64encode(state).decode(),
        )
        return CommitPoint(committed_sample, resume)
