"""A session that is interrupted anywhere and resumed has the transcript of an undisturbed one, word for word."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

from meeting_assistant.adapters.asr.moonshine import MoonshineEngine
from meeting_assistant.adapters.audio.trusted import read_pcm
from meeting_assistant.adapters.diarization.embedded import EmbeddedVoices
from meeting_assistant.adapters.vad.silero import SileroVad
from meeting_assistant.demo import demo_audio_path
from meeting_assistant.domain.events import PartialTranscript
from meeting_assistant.domain.meeting import Meeting, MeetingState, ResumePoint
from meeting_assistant.domain.transcript import PROVISIONAL, Gap, Speaker, Transcript, Utterance
from meeting_assistant.services.asr.asr_service import AsrService
from meeting_assistant.services.asr.endpointing import EndpointOptions
from meeting_assistant.services.diarization.diarization_service import DiarizationService
from meeting_assistant.services.diarization.live_labels import reembed_known_speakers
from meeting_assistant.services.live.session_plan import LiveOptions, session_spec
from meeting_assistant.services.transcription.audio_session import process_audio_session
from meeting_assistant.services.transcription.session_types import CommitPoint, SessionSpec, SpeechServices

SECONDS = 36
OPTIONS = LiveOptions(endpointing=EndpointOptions(max_utterance_ms=4000))
"""Short utterances: many are cut in the middle of speech, which is the hard case."""


@dataclass
class Record:
    """A sink that holds what a store would; `history` has it after every commit."""

    utterances: list[Utterance] = field(default_factory=list)
    history: list[tuple[list[Utterance], CommitPoint]] = field(default_factory=list)
    has_viewers: bool = False

    def received_sample(self) -> int:
        return 0

    def send_partial(self, partial: PartialTranscript) -> None:
        pass

    async def commit_utterances(
        self, utterances: Sequence[Utterance], commit_point: CommitPoint, *, takes_back: bool
    ) -> None:
        self.utterances.extend(utterances)
        self.history.append((list(self.utterances), commit_point))

    async def relabel(self, speakers: Mapping[int, str | None]) -> None:
        self.utterances = [
            u.model_copy(update={"speaker": speakers.get(u.utterance, u.speaker)}) for u in self.utterances
        ]

    async def name_speaker(self, label: str, name: str) -> None:
        raise AssertionError("no speaker is enrolled")

    async def commit_silence(self, commit_point: CommitPoint) -> None:
        self.history.append((list(self.utterances), commit_point))

    async def record_gap(self, gap: Gap, commit_point: CommitPoint) -> None:
        raise AssertionError("the engine failed")

    def lines(self) -> list[tuple[int, int, str | None, str]]:
        """Return the transcript with speakers numbered by appearance: a label that was withdrawn is not used again."""
        order: dict[str | None, str | None] = {None: None}
        for utterance in self.utterances:
            order.setdefault(utterance.speaker, f"speaker {len(order)}")
        return [(u.start_ms, u.end_ms, order[u.speaker], u.text) for u in self.utterances]


@pytest.fixture
async def tools() -> AsyncIterator[SpeechServices]:
    asr, vad = AsrService(MoonshineEngine()), SileroVad()
    await asr.start()
    vad.load()
    diarization = DiarizationService(EmbeddedVoices())
    await diarization.start()
    with ThreadPoolExecutor(2) as threads:
        yield SpeechServices(asr=asr, vad=vad, vad_threads=threads, diarization=diarization)
        diarization.close()
        await asr.close()


async def run(tools: SpeechServices, spec: SessionSpec, audio: bytes, record: Record) -> Record:
    async def pieces() -> AsyncIterator[bytes]:
        for start in range(spec.resume.start_sample * 2, len(audio), 16_000):
            yield audio[start : start + 16_000]

    await process_audio_session(spec, pieces(), record, tools)
    return record


@pytest.mark.parametrize("keeps_audio", [True, False], ids=["journal", "memory"])
async def test_a_session_resumed_after_any_commit_has_the_same_transcript(
    tools: SpeechServices, keeps_audio: bool
) -> None:
    audio = read_pcm(demo_audio_path())[: SECONDS * 32_000]
    meeting = Meeting(id="m", title="", state=MeetingState.RECORDING, source="live", created_at_ms=0)
    first = session_spec(meeting, Transcript(), ResumePoint(), OPTIONS, is_live=False)
    undisturbed = await run(tools, first, audio, Record())
    assert len(undisturbed.utterances) > 10
    assert any(
        commit_point.resume.resume_sample < commit_point.committed_sample
        for _, commit_point in undisturbed.history
    )

    async def read(offset: int, length: int) -> bytes:
        return audio[offset : offset + length]

    for before, commit_point in undisturbed.history[1::4]:
        labels = sorted({u.speaker for u in before if u.speaker and u.speaker != PROVISIONAL})
        transcript = Transcript(utterances=before, speakers=[Speaker(label=label) for label in labels])
        stored = meeting.model_copy(update={"committed_sample": commit_point.committed_sample})
        known = await reembed_known_speakers(transcript, read, tools.diarization.live) if keeps_audio else []
        spec = session_spec(
            stored, transcript, commit_point.resume, OPTIONS, is_live=False, known_voices=known
        )
        resumed = await run(tools, spec, audio, Record(utterances=list(before)))
        if keeps_audio:
            assert resumed.lines() == undisturbed.lines(), f"resumed at {commit_point}"
        else:  # without the audio, speakers are numbered again
            assert [line[:2] + line[3:] for line in resumed.lines()] == [
                line[:2] + line[3:] for line in undisturbed.lines()
            ], f"resumed at {commit_point}"
