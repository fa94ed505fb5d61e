"""The meetings of `speakers.py`: the sample meeting, synthetic voices, and real recordings where there are some."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import wave
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from meeting_assistant.adapters.audio.trusted import read_pcm
from meeting_assistant.demo import demo_audio_path, load_demo
from meeting_assistant.domain.audio import Samples, pcm_to_samples

SHARED = Path(__file__).resolve().parents[2] / "shared" / "audio"

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
    """One speaker talks."""

    start_s: float
    end_s: float
    speaker: str
    words: str = ""


@dataclass(frozen=True, slots=True)
class Spoken:
    """A meeting whose speakers are known."""

    name: str
    sound: Samples
    turns: Sequence[Turn]


def made(speakers: int, *, seed: int, noise: float = 0.0) -> Spoken:
    """Return lines of the sample script, read by so many synthetic voices, some without a pause in between."""
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
    """Return a sentence read by espeak-ng, without silence at either end."""
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
    """Return the sample meeting, synthetic ones, and real ones if they exist beside the checkout."""
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
