"""The library of the embedded weights by itself, on the same sound: its streaming interface, and whole files.

    python benchmarks/baseline_moonshine.py [sound/*.flac] [--seconds 90] [--sessions 1]

Feeds sound at the pace of speech with an update twice a second, and prints processor time per second of sound, when
lines were complete, and word errors; then the same sound as a whole.
"""

from __future__ import annotations

import argparse
import json
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from moonshine_voice import get_assets_path
from moonshine_voice.moonshine_api import ModelArch
from moonshine_voice.transcriber import Transcriber, TranscriptEventListener

from meeting_assistant.bench.clips import demo_clip, part, read_clip
from meeting_assistant.bench.load import percentiles
from meeting_assistant.bench.timeline import Clip
from meeting_assistant.bench.words import align, normalise
from meeting_assistant.domain.audio import pcm_to_samples, to_waveform

INTERVAL_S = 0.5
CHUNK = 1600


class Listener(TranscriptEventListener):  # type: ignore[misc]
    """Notes when a line first had words and when it was complete."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.first: dict[int, float] = {}
        self.done: dict[int, tuple[float, str, float]] = {}

    def on_line_text_changed(self, event: Any) -> None:
        if event.line.text.strip():
            self.first.setdefault(event.line.line_id, time.monotonic() - self.began)

    def on_line_completed(self, event: Any) -> None:
        end = event.line.start_time + event.line.duration
        self.done[event.line.line_id] = (time.monotonic() - self.began, event.line.text, end)


def new_transcriber() -> Transcriber:
    """As a user would make it."""
    return Transcriber(
        str(Path(get_assets_path()) / "tiny-en"),
        ModelArch.TINY,
        update_interval=INTERVAL_S,
        options={"identify_speakers": "true", "return_audio_data": "false"},
    )


def stream(clip: Clip, listener: Listener) -> None:
    """One meeting at the pace of speech."""
    sound = to_waveform(pcm_to_samples(clip.pcm))
    transcriber = new_transcriber()
    transcriber.add_listener(listener)
    transcriber.start()
    listener.began = time.monotonic()
    for start in range(0, len(sound), CHUNK):
        piece = sound[start : start + CHUNK]
        time.sleep(max(0.0, listener.began + (start + len(piece)) / 16_000 - time.monotonic()))
        transcriber.add_audio(piece.tolist(), 16_000)
    transcriber.stop()
    transcriber.close()


def word_errors(clips: Sequence[Clip], texts: Sequence[str]) -> float:
    """Share of the words that were said."""
    spoken = [[word.text for word in clip.words] for clip in clips]
    errors = sum(align(words, normalise(text)).errors for words, text in zip(spoken, texts, strict=True))
    return round(errors / sum(map(len, spoken)), 4)


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sound", nargs="*", type=Path)
    parser.add_argument("--seconds", type=float, default=90.0)
    parser.add_argument("--sessions", type=int, default=1)
    options = parser.parse_args()
    base = [read_clip(path) for path in options.sound] or [demo_clip()]
    clips = [
        part(base[n % len(base)], offset_s=n * 23.0, seconds=options.seconds) for n in range(options.sessions)
    ]

    listeners = [Listener() for _ in clips]
    cpu = time.process_time()
    threads = [threading.Thread(target=stream, args=pair) for pair in zip(clips, listeners, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    cpu = time.process_time() - cpu
    audio_s = sum(clip.seconds for clip in clips)
    streamed = [" ".join(text for _, (_, text, _) in sorted(one.done.items())) for one in listeners]

    transcriber = new_transcriber()
    whole_cpu, whole = time.process_time(), []
    for clip in clips:
        sound = to_waveform(pcm_to_samples(clip.pcm))
        result = transcriber.transcribe_without_streaming(np.asarray(sound).tolist(), 16_000)
        whole.append(" ".join(line.text for line in result.lines))
    whole_cpu = time.process_time() - whole_cpu
    print(
        json.dumps(
            {
                "sessions": len(clips),
                "cpu_seconds_per_audio_second": round(cpu / audio_s, 3),
                "line_complete": percentiles(
                    [at - end for one in listeners for at, _, end in one.done.values()]
                ),
                "wer_streaming": word_errors(clips, streamed),
                "offline_cpu_seconds_per_audio_second": round(whole_cpu / audio_s, 3),
                "wer_offline": word_errors(clips, whole),
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
