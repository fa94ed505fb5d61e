"""Who spoke when, and who said which words: diarization error, number of speakers, speaker-attributed word errors.

    .venv/bin/pip install '.[bench]'
    python benchmarks/speakers.py                      meetings made here, and ../shared/audio when it is there
    python benchmarks/speakers.py --engine pyannote    the same, diarized by that engine at the end (needs its extra)

Meetings run through the product's own `process_audio_session`. `live` scores the labels of utterances when they are
committed, `final` those at the end of the meeting. `speakers_data.py` makes the meetings, `speakers_score.py` has the
measures. Writes `benchmarks/results/speakers-<date>.json`.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime
import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from meeting_assistant.adapters.asr.moonshine import MoonshineEngine
from meeting_assistant.adapters.diarization.embedded import EmbeddedVoices
from meeting_assistant.adapters.diarization.nemo import NemoDiarizer
from meeting_assistant.adapters.diarization.pyannote import PyannoteDiarizer
from meeting_assistant.adapters.vad.silero import SileroVad
from meeting_assistant.config import load_settings
from meeting_assistant.domain.audio import Waveform
from meeting_assistant.domain.events import PartialTranscript
from meeting_assistant.domain.ports import Diarizer, VoiceVector
from meeting_assistant.domain.transcript import Gap, Utterance
from meeting_assistant.services.asr.asr_service import AsrService
from meeting_assistant.services.diarization.attribution import attribute
from meeting_assistant.services.diarization.diarization_service import DiarizationService
from meeting_assistant.services.transcription.audio_session import process_audio_session
from meeting_assistant.services.transcription.session_types import CommitPoint, SessionSpec, SpeechServices
from speakers_data import Spoken, meetings
from speakers_score import score

RESULTS = Path(__file__).parent / "results"


class TimedVoices(EmbeddedVoices):
    """An embedder that counts its processor time."""

    cpu_s = 0.0

    def embed(self, samples: Waveform) -> VoiceVector:
        began = time.thread_time()
        try:
            return super().embed(samples)
        finally:
            self.cpu_s += time.thread_time() - began


@dataclass
class Record:
    """A sink that keeps the first and the final version of each utterance."""

    live: dict[int, Utterance] = field(default_factory=dict)
    final: dict[int, Utterance] = field(default_factory=dict)
    has_viewers: bool = False
    has_client: bool = True

    def received_sample(self) -> int:
        return 0

    def send_partial(self, partial: PartialTranscript) -> None:
        pass

    async def commit_utterances(
        self, utterances: Sequence[Utterance], commit_point: CommitPoint, *, takes_back: bool
    ) -> None:
        for utterance in utterances:
            self.live[utterance.utterance] = self.final[utterance.utterance] = utterance

    async def relabel(self, speakers: Mapping[int, str | None]) -> None:
        for number, speaker in speakers.items():
            self.final[number] = self.final[number].model_copy(update={"speaker": speaker})

    async def name_speaker(self, label: str, name: str) -> None:
        pass

    async def commit_silence(self, commit_point: CommitPoint) -> None:
        pass

    async def record_gap(self, gap: Gap, commit_point: CommitPoint) -> None:
        pass


async def process(spoken: Spoken, final: Diarizer | None) -> tuple[Record, float, float]:
    """Return the labels, the processor time of the embeddings and the time of the final pass, in seconds."""
    asr, vad, voices = AsrService(MoonshineEngine()), SileroVad(), TimedVoices()
    await asr.start()
    vad.load()
    diarization = DiarizationService(voices, [final] if final else [])
    await diarization.start()
    if diarization.load_errors:
        raise SystemExit(f"{diarization.load_errors[0]} {diarization.load_errors[0].remedy}")

    async def pieces() -> AsyncIterator[bytes]:
        pcm = spoken.sound.tobytes()
        for start in range(0, len(pcm), 16_000):
            yield pcm[start : start + 16_000]

    record, final_s = Record(), 0.0
    with ThreadPoolExecutor(1) as threads:
        tools = SpeechServices(asr=asr, vad=vad, vad_threads=threads, diarization=diarization)
        await process_audio_session(SessionSpec("bench", is_live=False), pieces(), record, tools)
    if diarization.recordings.is_available:
        began = time.perf_counter()
        turns = await diarization.recordings.diarize_recording(spoken.name, spoken.sound, lambda share: None)
        final_s = time.perf_counter() - began
        apply(record, turns)
    diarization.close()
    await asr.close()
    return record, voices.cpu_s, final_s


def apply(record: Record, turns: Sequence[Any]) -> None:
    utterances = sorted(record.final.values(), key=lambda u: u.start_ms)
    result = attribute(utterances, turns, next_utterance=max(record.final, default=0) + 1, may_split=True)
    for number, speaker in result.speakers.items():
        record.final[number] = record.final[number].model_copy(update={"speaker": speaker})
    for parts in result.splits.values():
        record.final.update({part.utterance: part for part in parts})


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--engine", choices=["embedded", "pyannote", "nemo"], default="embedded")
    engine: str = parser.parse_args().engine
    settings = load_settings()
    token = settings.hf_token.get_secret_value() if settings.hf_token else None
    finals: dict[str, Diarizer] = {
        "pyannote": PyannoteDiarizer(settings.diarization_model_id, token),
        "nemo": NemoDiarizer(),
    }
    rows: list[dict[str, Any]] = []
    for spoken in meetings():
        record, cpu_s, final_s = asyncio.run(process(spoken, finals.get(engine)))
        seconds = len(spoken.sound) / 16_000
        row = {
            "meeting": spoken.name,
            "seconds": round(seconds, 1),
            "live": score(spoken, record.live),
            "final": score(spoken, record.final),
            "cpu_s_per_audio_s": round(cpu_s / seconds, 4),
            "final_pass_s_per_audio_s": round(final_s / seconds, 4),
        }
        rows.append(row)
        print(json.dumps(row))
    path = RESULTS / f"speakers-{datetime.datetime.now(tz=datetime.UTC):%Y-%m-%d}.json"
    results = json.loads(path.read_text()) if path.exists() else {"engines": {}}
    results["engines"][engine] = rows
    path.write_text(json.dumps(results, indent=1) + "\n")
    print(path)


if __name__ == "__main__":
    main()
