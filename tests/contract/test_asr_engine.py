"""The contract of every speech engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from meeting_assistant.adapters.asr.moonshine import MoonshineEngine
from meeting_assistant.adapters.asr.openai_transcriptions import OpenAiTranscriptions
from meeting_assistant.adapters.asr.whisper import WhisperEngine, WhisperOptions
from meeting_assistant.adapters.audio.trusted import read_pcm
from meeting_assistant.demo import demo_audio_path, load_demo
from meeting_assistant.domain.audio import Waveform, pcm_to_samples, to_waveform
from meeting_assistant.domain.ports import AsrEngine, AsrRequest, DecodeKind
from meeting_assistant.testing.doubles.fake_speech import DigitEngine, spoken
from meeting_assistant.testing.doubles.transcription_server import TranscriptionServer, transcribed_by


@pytest.fixture(scope="module", params=["moonshine", "whisper", "openai", "numbers"])
def engine(request: pytest.FixtureRequest) -> Iterator[AsrEngine]:
    engine: AsrEngine
    if request.param == "moonshine":
        engine = MoonshineEngine()
    elif request.param == "numbers":
        engine = DigitEngine(decode_s=0)
    elif request.param == "openai":
        server: TranscriptionServer = request.getfixturevalue("digit_server")
        engine = OpenAiTranscriptions(server.url, "numbers")
    else:
        folder = request.getfixturevalue("tiny_whisper")
        engine = WhisperEngine(WhisperOptions(str(folder), device="cpu", compute_type="float32"))
    engine.load()
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def digit_server() -> Iterator[TranscriptionServer]:
    """A server that recognises numbers."""
    server = TranscriptionServer()
    server.answer = transcribed_by(DigitEngine(decode_s=0))
    yield server
    server.close()


@pytest.fixture(scope="module")
def windows(engine: AsrEngine, request: pytest.FixtureRequest) -> list[Waveform]:
    """Eight sentences that the engine knows."""
    if engine.info.name == "moonshine":
        sound = to_waveform(pcm_to_samples(read_pcm(demo_audio_path())))
        return [sound[u.start_ms * 16 : u.end_ms * 16] for u in load_demo().utterances[4:12]]
    if engine.info.name in ("numbers", "openai"):
        return [to_waveform(spoken([number])) for number in range(8)]
    speak = request.getfixturevalue("speak")
    known = ["The next meeting is on Monday.", "Please send me the report.", "Who can test the new version?"]
    return [speak(known[n % 3], speed=135 + 5 * n) for n in range(8)]


def ask(engine: AsrEngine, *windows: Waveform, kind: DecodeKind = "final", prefix: str = "") -> list[str]:
    requests = [AsrRequest(f"s{n}", kind, window, prefix=prefix) for n, window in enumerate(windows)]
    return [result.text for result in engine.transcribe(requests)]


@pytest.mark.parametrize("kind", ["final", "partial"])
def test_a_batch_gives_the_same_texts_as_single_windows(
    engine: AsrEngine, windows: list[Waveform], kind: DecodeKind
) -> None:
    together = ask(engine, *windows, kind=kind)
    assert all(together)
    assert together == [ask(engine, window, kind=kind)[0] for window in windows]


def test_a_garbage_window_does_not_affect_the_others(engine: AsrEngine, windows: list[Waveform]) -> None:
    alone = ask(engine, windows[0], kind="partial")[0]
    garbage = np.random.default_rng(3).uniform(-1, 1, len(windows[0])).astype(np.float32)
    clipped = np.sign(garbage)
    assert ask(engine, garbage, windows[0], clipped, kind="partial")[1] == alone


def test_a_window_too_short_for_a_word_gives_none(engine: AsrEngine) -> None:
    assert ask(engine, np.zeros(0, np.float32), np.zeros(100, np.float32)) == ["", ""]


def test_a_session_that_was_never_opened_can_be_closed(engine: AsrEngine) -> None:
    engine.close_session("unknown")


def test_each_word_has_a_probability(engine: AsrEngine, windows: list[Waveform]) -> None:
    for window in windows:
        (result,) = engine.transcribe([AsrRequest("s", "partial", window)])
        if result.word_probabilities is not None:
            assert len(result.word_probabilities) == len(result.text.split())
            assert all(0.0 <= p <= 1.0 for p in result.word_probabilities)


def test_a_partial_continues_from_its_prefix(engine: AsrEngine, windows: list[Waveform]) -> None:
    half = windows[1][: len(windows[1]) // 2]
    (first,) = ask(engine, half, kind="partial")
    prefix = " ".join(first.split()[:2])
    (grown,) = ask(engine, windows[1], kind="partial", prefix=prefix)
    assert grown.startswith(prefix)
    assert len(grown.split()) >= len(first.split())


def test_loading_again_changes_nothing(engine: AsrEngine, windows: list[Waveform]) -> None:
    before = engine.info, ask(engine, windows[0])
    engine.load()
    assert (engine.info, ask(engine, windows[0])) == before


@pytest.mark.parametrize(
    "kind",
    [
        MoonshineEngine,
        lambda: DigitEngine(decode_s=0),
        lambda: OpenAiTranscriptions("http://127.0.0.1:1", "numbers"),
    ],
)
def test_closing_twice_has_no_effect(kind: Callable[[], AsrEngine]) -> None:
    engine = kind()
    engine.load()
    engine.close()
    engine.close()
