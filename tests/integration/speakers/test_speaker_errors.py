"""Speaker errors on synthetic meetings must not get worse.

Voice activity and voices are real; the words do not matter, so an engine that always returns the same text replaces
the recogniser. `benchmarks/speakers.py` measures the same and more, on more meetings.
"""

from __future__ import annotations

import io
import subprocess
import wave
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import permutations

import numpy as np
import pytest

from meeting_assistant.adapters.asr.moonshine import MoonshineEngine
from meeting_assistant.adapters.audio.trusted import read_pcm
from meeting_assistant.adapters.diarization.embedded import EmbeddedVoices
from meeting_assistant.adapters.vad.silero import SileroVad
from meeting_assistant.demo import demo_audio_path, load_demo
from meeting_assistant.domain.audio import Samples, pcm_to_samples
from meeting_assistant.domain.events import PartialTranscript
from meeting_assistant.domain.ports import AsrEngine, AsrRequest, AsrResult, EngineInfo
from meeting_assistant.domain.transcript import Gap, Utterance
from meeting_assistant.services.asr.asr_service import AsrService
from meeting_assistant.services.diarization.diarization_service import DiarizationService
from meeting_assistant.services.transcription.audio_session import process_audio_session
from meeting_assistant.services.transcription.session_types import CommitPoint, SessionSpec, SpeechServices

VOICES = (
    ("en-us+m1", 35, 1.25),
    ("en-us+f5", 35, 0.8),
    ("en-gb", 55, 0.9),
    ("en-us+f5", 55, 1.25),
    ("en-us+Andrea", 55, 1.0),
    ("en-us+steph3", 55, 1.0),
)
"""Name, pitch, and length of the vocal tract against espeak-ng's own, which sets its voices apart most."""
FRAME = 160
NOBODY = -1


class SameWords:
    """An engine that always returns the same text."""

    info = EngineInfo("same", "same", ("en",), max_window_s=30)

    def load(self) -> None:
        """Nothing to load."""

    def transcribe(self, batch: Sequence[AsrRequest]) -> list[AsrResult]:
        return [AsrResult(text="Something was said.") for _ in batch]

    def close_session(self, session: str) -> None:
        """Nothing is kept."""

    def close(self) -> None:
        """Nothing to give back."""


class Record:
    """A sink that keeps the final transcript."""

    has_viewers = False

    def __init__(self) -> None:
        self.utterances: dict[int, Utterance] = {}

    def received_sample(self) -> int:
        return 0

    def send_partial(self, partial: PartialTranscript) -> None:
        """Do nothing: there are no viewers."""

    async def commit_utterances(
        self, utterances: Sequence[Utterance], commit_point: CommitPoint, *, takes_back: bool
    ) -> None:
        self.utterances |= {utterance.utterance: utterance for utterance in utterances}

    async def relabel(self, speakers: Mapping[int, str | None]) -> None:
        for number, speaker in speakers.items():
            self.utterances[number] = self.utterances[number].model_copy(update={"speaker": speaker})

    async def name_speaker(self, label: str, name: str) -> None:
        """Do nothing: no speaker is enrolled here."""

    async def commit_silence(self, commit_point: CommitPoint) -> None:
        """Nothing to remember."""

    async def record_gap(self, gap: Gap, commit_point: CommitPoint) -> None:
        raise AssertionError("nothing fails here")


def speak(espeak: str, text: str, who: int) -> Samples:
    """Without silence at either end."""
    name, pitch, size = VOICES[who]
    command = [espeak, "-v", name, "-p", str(pitch), "-s", str(int(165 * size)), "--stdout", text]
    data = subprocess.run(command, check=True, capture_output=True).stdout
    with wave.open(io.BytesIO(data)) as file:
        rate, raw = file.getframerate(), np.frombuffer(file.readframes(1 << 30), np.int16)
    at = np.arange(0, len(raw), rate / 16_000 / size)
    sound = np.interp(at, np.arange(len(raw)), raw).astype(np.int16)
    loud = np.flatnonzero(np.abs(sound) > 200)
    return sound[loud[0] : loud[-1] + 1]


def meeting(espeak: str, speakers: int, seed: int) -> tuple[Samples, np.ndarray]:
    """Return audio, and the speakers of each 10 ms. Some turns follow one another without a pause."""
    draw = np.random.default_rng(seed)
    sound: list[Samples] = [np.zeros(8000, np.int16)]
    who: list[int] = [NOBODY] * (8000 // FRAME)
    for number, line in enumerate(load_demo().utterances[: 5 * speakers]):
        speaker = number % speakers if number < speakers else int(draw.integers(speakers))
        speech = speak(espeak, line.text, speaker)
        speech = speech[: len(speech) // FRAME * FRAME]
        pause = int(draw.choice([800, 4000, 12_000, 24_000]))
        sound += [speech, np.zeros(pause, np.int16)]
        who += [speaker] * (len(speech) // FRAME) + [NOBODY] * (pause // FRAME)
    return np.concatenate(sound), np.array(who)


async def transcribe(sound: Samples, engine: AsrEngine | None = None) -> Record:
    """`sound`, shape `(n,)` or `(n, 2)`."""
    asr, vad, diarization = (
        AsrService(engine or SameWords()),
        SileroVad(),
        DiarizationService(EmbeddedVoices()),
    )
    await asr.start()
    vad.load()
    await diarization.start()

    async def pieces() -> AsyncIterator[bytes]:
        pcm = sound.tobytes()
        for start in range(0, len(pcm), 16_000):
            yield pcm[start : start + 16_000]

    channels = 1 if sound.ndim == 1 else sound.shape[1]
    spec = SessionSpec("made", is_live=False, channels=channels, taken_labels=("S1",) if channels > 1 else ())
    record = Record()
    with ThreadPoolExecutor(1) as threads:
        tools = SpeechServices(asr=asr, vad=vad, vad_threads=threads, diarization=diarization)
        await process_audio_session(spec, pieces(), record, tools)
    diarization.close()
    await asr.close()
    return record


def wrong_share(record: Record, who: np.ndarray) -> float:
    """Return the share of the spoken time with no or a wrong label, under the best mapping of labels."""
    labels = sorted({u.speaker for u in record.utterances.values() if u.speaker is not None})
    heard = np.full(len(who), NOBODY)
    for utterance in record.utterances.values():
        if utterance.speaker is not None:
            heard[utterance.start_ms // 10 : utterance.end_ms // 10] = labels.index(utterance.speaker)
    spoken = who != NOBODY
    people = max(int(who.max()) + 1, len(labels))
    right = [
        sum(int(((who == person) & (heard == label)).sum()) for label, person in enumerate(order))
        for order in permutations(range(people), len(labels))
    ]
    return 1 - max(right) / int(spoken.sum())


@pytest.mark.parametrize(("speakers", "seed"), [(2, 1), (4, 2), (6, 4)])
async def test_speaker_errors_on_synthetic_meetings_stay_low(espeak: str, speakers: int, seed: int) -> None:
    sound, who = meeting(espeak, speakers, seed)
    record = await transcribe(sound)
    labels = {u.speaker for u in record.utterances.values()} - {None}
    assert len(labels) == speakers
    assert wrong_share(record, who) <= 0.02


# --- a loudspeaker that the microphone records


async def test_the_echo_of_two_voices_within_your_speech_is_removed() -> None:
    """The sample meeting without its pauses, so that your speech and the echo are contiguous."""
    talk = pcm_to_samples(read_pcm(demo_audio_path()))
    pause, delay = 4000, 1600
    pieces: list[Samples] = [np.zeros((8000, 2), np.int16)]
    turns: list[tuple[int, int, bool]] = []
    for line in load_demo().utterances[:6]:
        speech = talk[line.start_ms * 16 : line.end_ms * 16]
        both = np.zeros((len(speech) + pause, 2), np.int16)
        both[: len(speech), 0 if line.speaker == "S1" else 1] = speech
        start_ms = sum(map(len, pieces)) // 16
        turns.append((start_ms, start_ms + len(speech) // 16, line.speaker == "S1"))
        pieces.append(both)
    sound = np.concatenate([*pieces, np.zeros((16_000, 2), np.int16)])
    assert sum(not is_you for _, _, is_you in turns) >= 3
    sound[delay:, 0] += (sound[:-delay, 1] * 0.5).astype(np.int16)
    record = await transcribe(sound, MoonshineEngine())
    for utterance in record.utterances.values():
        middle = (utterance.start_ms + utterance.end_ms) // 2
        said_by_you = min(turns, key=lambda turn: max(turn[0] - middle, middle - turn[1]))[2]
        assert (utterance.speaker == "S1") == said_by_you, utterance.text
        assert bool(utterance.echo) != said_by_you, "what was removed can be looked up"
        assert not utterance.overlap, "there was no overlap"
    words = " ".join(u.text for u in record.utterances.values()).casefold()
    for word in ("planning", "lovely", "garden", "shop", "customers", "solutions"):
        assert words.count(word) == 1, f"{word} is there, and once"
