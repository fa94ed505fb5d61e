"""Sound with references to measure on: the sample meeting, or files of one's own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from meeting_assistant.adapters.audio.trusted import read_pcm
from meeting_assistant.adapters.vad.silero import SileroVad
from meeting_assistant.bench.timeline import Clip, SpokenWord
from meeting_assistant.bench.words import normalise
from meeting_assistant.demo import demo_audio_path, load_demo
from meeting_assistant.domain.audio import pcm_to_samples
from meeting_assistant.domain.errors import InputError
from meeting_assistant.services.asr.endpointing import FRAME_MS
from meeting_assistant.services.asr.word_timing import estimate_word_times

PAUSE_S = 0.4
"""A turn begins anew when nobody spoke for so long."""
VOICED = 0.5
SHORTEST_S = 0.01
Turn = tuple[float, float, str]
"""Start and end in seconds, text."""


def demo_clip() -> Clip:
    """The sample meeting."""
    turns = [(u.start_ms / 1000, u.end_ms / 1000, u.text) for u in load_demo().utterances]
    return make_clip("sample meeting", read_pcm(demo_audio_path()), turns)


def read_clip(audio: Path) -> Clip:
    """A sound file with its turns beside it (`NAME.turns.json`: `{"turns": [{"start", "end", "text"}]}`, seconds).

    Raises InputError.
    """
    turns_path = audio.with_suffix(".turns.json")
    try:
        document: dict[str, Any] = json.loads(turns_path.read_text(encoding="utf-8"))
        turns = [(float(t["start"]), float(t["end"]), str(t["text"])) for t in document["turns"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{turns_path.name} cannot be read: {type(error).__name__}.",
            'It holds {"turns": [{"start": 1.0, "end": 2.5, "text": "…"}]} with seconds.',
        ) from error
    return make_clip(audio.stem, read_pcm(audio), turns)


def make_clip(name: str, pcm: bytes, turns: Sequence[Turn]) -> Clip:
    """Word times are estimated inside the voiced part of each turn, in proportion to the length of the words."""
    voiced = [p >= VOICED for p in _probabilities(pcm)]
    words: list[SpokenWord] = []
    starts: list[float] = []
    last_end = -PAUSE_S
    for start_s, end_s, text in sorted(turns):
        first = int(start_s * 1000) // FRAME_MS
        frames = tuple(voiced[first : int(end_s * 1000) // FRAME_MS + 1])
        begins = first + next((i for i, is_voiced in enumerate(frames) if is_voiced), 0)
        if start_s - last_end >= PAUSE_S:
            starts.append(begins * FRAME_MS / 1000)
        last_end = max(last_end, end_s)
        timed = estimate_word_times(
            normalise(text), start_ms=int(start_s * 1000), end_ms=int(end_s * 1000), voiced=frames
        )
        words += [SpokenWord(word.text, word.start_ms / 1000, word.end_ms / 1000) for word in timed]
    words.sort(key=lambda word: word.start_s)
    return Clip(name, pcm, tuple(words), tuple(starts))


def part(clip: Clip, *, offset_s: float = 0.0, seconds: float) -> Clip:
    """A stretch of a clip that is repeated without end, begun where a turn begins at or after the offset.

    Meetings of a benchmark begin at different places, because people in different rooms do not speak and pause at the
    same moments.
    """
    offset_s %= clip.seconds
    begin = next((start for start in clip.speech_starts_s if start >= offset_s), 0.0)
    begin = max(0.0, begin - PAUSE_S / 2)
    pcm, words, starts, at = b"", [], [], 0.0
    while seconds - at > SHORTEST_S:
        end = min(clip.seconds, begin + seconds - at)
        pcm += clip.pcm[_byte(begin) : _byte(end)]
        shift = at - begin
        words += [
            SpokenWord(word.text, word.start_s + shift, word.end_s + shift)
            for word in clip.words
            if word.start_s >= begin and word.end_s <= end
        ]
        starts += [start + shift for start in clip.speech_starts_s if begin <= start < end]
        at, begin = len(pcm) / 32_000, 0.0
    return Clip(clip.name, pcm, tuple(words), tuple(starts))


def _byte(seconds: float) -> int:
    return int(seconds * 16_000) * 2


def _probabilities(pcm: bytes) -> list[float]:
    vad = SileroVad()
    vad.load()
    probabilities: list[float] = vad.open().feed(pcm_to_samples(pcm)).tolist()
    return probabilities
