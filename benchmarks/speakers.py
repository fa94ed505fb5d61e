"""Who spoke when, and who said which words: diarization error, number of speakers, speaker-attributed word errors.

    .venv/bin/pip install '.[bench]'
    python benchmarks/speakers.py                      meetings made here, and ../shared/audio when it is there
    python benchmarks/speakers.py --engine pyannote    the same, diarized by that engine at the end (needs its extra)

Meetings run through the product's own `process_audio_session`. `live` is what was told when an utterance was finished,
`final` what stands when the meeting is over. Nothing is forgiven: no collar, overlapping speech counts. Those turns of
one speaker in a row that have less than two seconds between them are one turn, in the reference as in what was heard.
Errors are told apart into missed speech, false alarms (nobody spoke) and confusion (somebody else did). cpWER pairs
speakers so that the words fit best (Watanabe et al. 2020). Writes `benchmarks/results/speakers-<date>.json`.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime
import io
import json
import re
import shutil
import subprocess
import time
import wave
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import meeteval.wer
import numpy as np
from pyannote.core import Annotation, Segment, Timeline
from pyannote.metrics.diarization import DiarizationErrorRate

from meeting_assistant.adapters.asr.moonshine import MoonshineEngine
from meeting_assistant.adapters.audio.trusted import read_pcm
from meeting_assistant.adapters.diarization.embedded import EmbeddedVoices
from meeting_assistant.adapters.diarization.nemo import NemoDiarizer
from meeting_assistant.adapters.diarization.pyannote import PyannoteDiarizer
from meeting_assistant.adapters.vad.silero import SileroVad
from meeting_assistant.config import load_settings
from meeting_assistant.demo import demo_audio_path, load_demo
from meeting_assistant.domain.audio import Samples, Waveform, pcm_to_samples
from meeting_assistant.domain.events import PartialTranscript
from meeting_assistant.domain.ports import Diarizer, VoiceVector
from meeting_assistant.domain.transcript import PROVISIONAL, Gap, Utterance
from meeting_assistant.services.asr.asr_service import AsrService
from meeting_assistant.services.diarization.attribution import attribute
from meeting_assistant.services.diarization.diarization_service import DiarizationService
from meeting_assistant.services.transcription.audio_session import process_audio_session
from meeting_assistant.services.transcription.session_types import CommitPoint, SessionSpec, SpeechServices

RESULTS = Path(__file__).parent / "results"
SHARED = Path(__file__).resolve().parents[2] / "shared" / "audio"
JOINED_S = 2.0
VOICES = (
    ("en-us+m1", 35, 1.25),
    ("en-us+f5", 35, 0.8),
    ("en-gb", 55, 0.9),
    ("en-us+f5", 55, 1.25),
    ("en-us+Andrea", 55, 1.0),
    ("en-us+steph3", 55, 1.0),
)
"""Name, pitch, and length of the vocal tract against espeak-ng's own, which sets its voices apart most."""


@dataclass(frozen=True, slots=True)
class Turn:
    start_s: float
    end_s: float
    speaker: str
    words: str = ""


@dataclass(frozen=True, slots=True)
class Spoken:
    name: str
    sound: Samples
    turns: Sequence[Turn]


class TimedVoices(EmbeddedVoices):
    """Counts the processor time that it takes."""

    cpu_s = 0.0

    def embed(self, samples: Waveform) -> VoiceVector:
        began = time.thread_time()
        try:
            return super().embed(samples)
        finally:
            self.cpu_s += time.thread_time() - began


@dataclass
class Record:
    """A sink that remembers what was told first, and what stands."""

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


# --- meetings


def made(speakers: int, *, seed: int, noise: float = 0.0) -> Spoken:
    """Lines of our script, spoken by as many synthetic voices, some without a pause between two of them."""
    draw = np.random.default_rng(seed)
    pieces: list[Samples] = [np.zeros(8000, np.int16)]
    turns: list[Turn] = []
    for number, line in enumerate(load_demo().utterances[: 8 * speakers]):
        who = number % speakers if number < speakers else int(draw.integers(speakers))
        speech = speak(line.text, who)
        start = sum(map(len, pieces)) / 16_000
        turns.append(Turn(start, start + len(speech) / 16_000, f"voice {who}", line.text))
        pieces += [speech, np.zeros(int(draw.choice([800, 4000, 12_000, 24_000])), np.int16)]
    sound = np.concatenate(pieces)
    if noise:
        sound = np.clip(sound + draw.normal(0, noise, len(sound)), -32768, 32767).astype(np.int16)
    kind = "noisy" if noise else "clean"
    return Spoken(f"made: {speakers} speakers, {kind}", sound, turns)


def speak(text: str, who: int) -> Samples:
    """By espeak-ng, without silence at either end."""
    name, pitch, size = VOICES[who]
    command = ["espeak-ng", "-v", name, "-p", str(pitch), "-s", str(int(165 * size)), "--stdout", text]
    data = subprocess.run(command, check=True, capture_output=True).stdout
    with wave.open(io.BytesIO(data)) as file:
        rate, raw = file.getframerate(), np.frombuffer(file.readframes(1 << 30), np.int16)
    positions = np.arange(0, len(raw), rate / 16_000 / size)
    sound = np.interp(positions, np.arange(len(raw)), raw).astype(np.int16)
    loud = np.flatnonzero(np.abs(sound) > 200)
    return sound[loud[0] : loud[-1] + 1]


def meetings() -> list[Spoken]:
    """Ours, and the real ones where they lie beside the checkout."""
    demo = load_demo()
    found = [
        Spoken(
            "sample meeting: 3 speakers",
            pcm_to_samples(read_pcm(demo_audio_path())),
            [Turn(u.start_ms / 1000, u.end_ms / 1000, u.speaker, u.text) for u in demo.utterances],
        )
    ]
    if shutil.which("espeak-ng"):
        found += [made(2, seed=1), made(4, seed=2), made(3, seed=3, noise=300), made(6, seed=4)]
    for file in sorted(SHARED.glob("constructed/constructed/*.flac")):
        lines = json.loads(file.with_suffix(".seglst.json").read_text())
        turns = [Turn(x["start_time"], x["end_time"], x["speaker"], x["words"]) for x in lines]
        found.append(Spoken(f"shared: {file.stem}", pcm_to_samples(read_pcm(file)), turns))
    return found


# --- running and scoring


async def process(spoken: Spoken, final: Diarizer | None) -> tuple[Record, float, float]:
    """What was told, with the processor time of telling voices apart and the time of the final pass, in seconds."""
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


def score(spoken: Spoken, labelled: Mapping[int, Utterance]) -> dict[str, float | int]:
    """DER with its parts, in percent of the spoken time, and cpWER in percent."""
    reference = annotated((turn.start_s, turn.end_s, turn.speaker) for turn in spoken.turns)
    heard = annotated(
        (u.start_ms / 1000, u.end_ms / 1000, u.speaker or f"nobody {u.utterance}") for u in labelled.values()
    )
    whole = Timeline([Segment(0, len(spoken.sound) / 16_000)])
    parts = DiarizationErrorRate(collar=0.0, skip_overlap=False)(reference, heard, uem=whole, detailed=True)
    named = {u.speaker for u in labelled.values() if u.speaker not in (None, PROVISIONAL)}
    words: dict[str, list[str]] = defaultdict(list)
    for turn in spoken.turns:
        words[turn.speaker].append(plain(turn.words))
    words_of: dict[str, list[str]] = defaultdict(list)
    for utterance in sorted(labelled.values(), key=lambda u: u.start_ms):
        words_of[utterance.speaker or "nobody"].append(plain(utterance.text))
    rate = meeteval.wer.cp_word_error_rate(
        {k: " ".join(v) for k, v in words.items()}, {k: " ".join(v) for k, v in words_of.items()}
    )
    return {
        "der": round(100 * parts["diarization error rate"], 1),
        "missed": round(100 * parts["missed detection"] / parts["total"], 1),
        "false_alarm": round(100 * parts["false alarm"] / parts["total"], 1),
        "confusion": round(100 * parts["confusion"] / parts["total"], 1),
        "speaker_count_error": len(named) - len(reference.labels()),
        "cpwer": round(100 * rate.error_rate, 1),
    }


def annotated(turns: Iterable[tuple[float, float, str]]) -> Annotation:
    """Turns of one speaker in a row with less than two seconds between them are one turn."""
    joined: list[tuple[float, float, str]] = []
    for start_s, end_s, speaker in sorted(turns):
        if joined and joined[-1][2] == speaker and start_s - joined[-1][1] < JOINED_S:
            joined[-1] = (joined[-1][0], max(end_s, joined[-1][1]), speaker)
        else:
            joined.append((start_s, end_s, speaker))
    found = Annotation()
    for at, (start_s, end_s, speaker) in enumerate(joined):
        found[Segment(start_s, end_s), at] = speaker
    return found


def plain(text: str) -> str:
    return " ".join(re.findall(r"[a-z0-9']+", text.casefold().replace("’", "'")))  # noqa: RUF001 - as it is written


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
