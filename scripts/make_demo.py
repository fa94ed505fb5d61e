"""Makes the sample meeting: `python scripts/make_demo.py` writes it, `--check` listens to it with the embedded engine.

Needs espeak-ng. The script below was written for this project; text and sound are under the project's licence.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.int16]

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "src/meeting_assistant/demo"
RATE = 16_000
ESPEAK_RATE = 22_050


class Voice(NamedTuple):
    """A speaker. espeak-ng's voices share one throat; `size` stretches it, which sets them apart."""

    name: str
    espeak: str
    pitch: int
    size: float
    """Length of the vocal tract against espeak-ng's own: the sound is played that much slower."""
    words_per_minute: int = 142


VOICES = {
    "S1": Voice("Maria", "en-us+f5", pitch=45, size=0.85),
    "S2": Voice("David", "en-us", pitch=38, size=1.16),
    "S3": Voice("Peter", "en-us+m1", pitch=34, size=1.0),
}

SCRIPT: list[tuple[str, float, str]] = [
    ("S1", 0.8, "Hello everyone. Thank you for joining the planning meeting."),
    ("S2", 0.7, "Hi Maria. It was a lovely weekend."),
    ("S3", 0.7, "Yes it was. I spent the whole day in the garden."),
    ("S1", 0.9, "Thank you. Let us talk about the new shop."),
    ("S2", 0.8, "The new home page is finished, and the first customers like it very much."),
    ("S3", 0.8, "The search is too slow, so I tested two different solutions last week."),
    ("S1", 0.8, "Which one do you like best?"),
    ("S3", 0.7, "The second one is faster and much easier to maintain."),
    ("S1", 0.9, "Very good. We decided to use the second solution for the search."),
    ("S2", 0.8, "I will update the documentation by Friday."),
    ("S1", 0.8, "Thank you David. What about the release date?"),
    ("S3", 0.8, "There is a risk that the payment provider is not ready before the end of the month."),
    (
        "S1",
        0.9,
        "So we have agreed to launch the website in December.",
    ),
    ("S2", 0.8, "Okay. I will send the new plan to all customers by tomorrow."),
    ("S1", 0.9, "Peter, can you call the payment provider on Monday?"),
    ("S3", 0.7, "Yes, I will call the payment provider on Monday."),
    ("S2", 0.9, "Maybe we should update the pricing page some time."),
    ("S1", 0.8, "Maybe next year."),
    ("S3", 0.8, "One more thing. Who will pay for the new servers?"),
    ("S1", 0.8, "We do not know that yet. That is still an open question."),
    ("S2", 0.8, "I can ask, but I need the numbers first."),
    ("S1", 0.8, "I will prepare the budget for the servers by Wednesday."),
    ("S3", 0.8, "Let us go with weekly meetings until the release."),
    ("S2", 0.7, "Yes, weekly meetings will help us."),
    ("S1", 0.8, "Thank you all for your time. Have a nice day."),
]
"""Speaker, seconds of pause before, words."""

EXPECTED = {
    "decisions": [
        {"text": "The second solution is used for the search.", "keywords": ["second solution", "search"]},
        {"text": "The website is launched in December.", "keywords": ["launch", "December"]},
        {"text": "There are weekly meetings until the release.", "keywords": ["weekly meetings", "release"]},
    ],
    "action_items": [
        {"text": "Update the documentation", "keywords": ["documentation"], "owner": "S2", "due_phrase": "by Friday"},
        {"text": "Send the new plan to all customers", "keywords": ["plan", "customers"], "owner": "S2",
         "due_phrase": "by tomorrow"},
        {"text": "Call the payment provider", "keywords": ["payment provider", "Monday"], "owner": "S3",
         "due_phrase": "on Monday"},
        {"text": "Prepare the budget for the servers", "keywords": ["budget", "servers"], "owner": "S1",
         "due_phrase": "by Wednesday"},
    ],
    "open_questions": [{"text": "Who pays for the new servers?", "keywords": ["servers"]}],
    "risks": [{"text": "The payment provider may not be ready in time.", "keywords": ["payment provider", "ready"]}],
    "not_action_items": [
        {"text": "Update the pricing page", "keywords": ["pricing page"]},
        {"text": "Ask who pays for the servers", "keywords": ["numbers first"]},
    ],
}  # fmt: skip

HELLO = "The next meeting is on Monday. I will call the customers."


def speak(text: str, voice: Voice) -> Samples:
    """16 kHz mono, silence at both ends cut off."""
    speed = str(int(voice.words_per_minute * voice.size))
    command = ["espeak-ng", "-v", voice.espeak, "-s", speed, "-p", str(voice.pitch), "--stdout", text]
    wav = subprocess.run(command, capture_output=True, check=True).stdout
    spoken = resample(np.frombuffer(wav[44:], dtype="<i2"), int(ESPEAK_RATE / voice.size))
    loud = np.flatnonzero(np.abs(spoken) > 100)
    return spoken[loud[0] : loud[-1] + 1]


def resample(samples: Samples, rate: int) -> Samples:
    """To 16 kHz."""
    resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
    frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="mono")
    frame.sample_rate = rate
    frames = [*resampler.resample(frame), *resampler.resample(None)]
    resampled: Samples = np.concatenate([piece.to_ndarray()[0] for piece in frames])
    return resampled


def level(samples: Samples, rms: float = 2200.0) -> Samples:
    """The same loudness for all voices."""
    factor = rms / max(1.0, float(np.sqrt(np.mean(samples.astype(float) ** 2))))
    levelled: Samples = np.clip(samples * factor, -30_000, 30_000).astype(np.int16)
    return levelled


def make_meeting() -> tuple[Samples, list[dict[str, object]]]:
    """The sound of the meeting, and its utterances with their times."""
    rng = np.random.default_rng(7)
    pieces: list[Samples] = []
    utterances: list[dict[str, object]] = []
    position = 0
    for label, pause, text in SCRIPT:
        voice = VOICES[label]
        silence = np.zeros(int(pause * RATE), dtype=np.int16)
        spoken = level(speak(text, voice))
        start = position + len(silence)
        position = start + len(spoken)
        pieces += [silence, spoken]
        utterances.append(
            {
                "speaker": label,
                "name": voice.name,
                "start_ms": start * 1000 // RATE,
                "end_ms": position * 1000 // RATE,
                "text": text,
            }
        )
    pieces.append(np.zeros(RATE, dtype=np.int16))
    sound = np.concatenate(pieces)
    # A room is never digitally silent: a noise floor of about -90 dBFS.
    room = rng.normal(0, 1, len(sound))
    return np.clip(sound + room, -32_768, 32_767).astype(np.int16), utterances


def write_flac(path: Path, samples: Samples) -> None:
    """16-bit FLAC."""
    with av.open(str(path), "w", format="flac") as container:
        stream = container.add_stream("flac", rate=RATE, layout="mono", options={"compression_level": "12"})
        stream.format = "s16"
        for start in range(0, len(samples), 4096):
            frame = av.AudioFrame.from_ndarray(samples[start : start + 4096].reshape(1, -1), "s16", "mono")
            frame.sample_rate = RATE
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def write() -> None:
    """All files of the sample meeting and of `doctor`."""
    sound, utterances = make_meeting()
    write_flac(TARGET / "planning.flac", sound)
    reference = {
        "title": "Website planning",
        "language": "en",
        "date": "2026-11-16",
        "attendees": [voice.name for voice in VOICES.values()],
        "duration_ms": len(sound) * 1000 // RATE,
        "utterances": utterances,
        "expected": EXPECTED,
    }
    (TARGET / "planning.json").write_text(json.dumps(reference, indent=1) + "\n", encoding="utf-8")
    silence = np.zeros(RATE // 2, dtype=np.int16)
    write_flac(TARGET / "hello.flac", np.concatenate([silence, level(speak(HELLO, VOICES["S3"])), silence]))
    (TARGET / "hello.txt").write_text(HELLO + "\n", encoding="utf-8")
    print(f"{len(sound) / RATE:.1f} s, {len(utterances)} utterances")


def main() -> int:
    """Write, and listen when asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="transcribe it and print what was heard")
    is_check = parser.parse_args().check
    write()
    if is_check:
        return subprocess.run(
            [sys.executable, "-m", "meeting_assistant", "demo", "--fast"], check=False
        ).returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())
