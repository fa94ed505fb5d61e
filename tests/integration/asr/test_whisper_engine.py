"""Whisper on CTranslate2, every path for real, with a tiny model that knows a dozen sentences."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from meeting_assistant.adapters.asr.whisper import PROMPT_SLOTS, WhisperEngine, WhisperOptions
from meeting_assistant.domain.audio import Waveform
from meeting_assistant.domain.errors import EngineError
from meeting_assistant.domain.ports import AsrRequest, DecodeKind

Speak = Callable[..., Waveform]

ENGLISH = ["The next meeting is on Monday.", "I will call the customers.", "We decided to start in March."]
GERMAN = ["Wir haben den Plan beschlossen.", "Vielen Dank und bis morgen."]


@pytest.fixture(scope="module")
def engine(tiny_whisper: Path) -> Iterator[WhisperEngine]:
    engine = WhisperEngine(WhisperOptions(str(tiny_whisper), device="cpu", compute_type="float32"))
    engine.load()
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def windows(speak: Speak) -> list[AsrRequest]:
    """Eight windows: two languages, with and without vocabulary, with and without a chosen language."""
    sentences = [(text, "en-us") for text in ENGLISH] + [(text, "de") for text in GERMAN]
    requests = []
    for number in range(8):
        text, voice = sentences[number % len(sentences)]
        requests.append(
            AsrRequest(
                session=f"s{number}",
                kind="final",
                samples=speak(text, voice),
                language=("de" if voice == "de" else "en") if number % 2 else None,
                hotwords=("Monday", "Protokoll") if number % 3 == 0 else (),
            )
        )
    return requests


def test_the_tiny_model_transcribes_both_languages(engine: WhisperEngine, speak: Speak) -> None:
    for text, voice in [(text, "en-us") for text in ENGLISH] + [(text, "de") for text in GERMAN]:
        (result,) = engine.transcribe([AsrRequest("s", "final", speak(text, voice))])
        assert result.text == text
        assert result.language == voice[:2]
        assert result.language_probability is not None
        assert result.language_probability > 0.5
        assert result.mean_logprob is not None
        assert result.mean_logprob > -1.0


@pytest.mark.parametrize("kind", ["final", "partial"])
def test_a_batch_of_eight_gives_the_same_texts_as_eight_batches_of_one(
    engine: WhisperEngine, windows: list[AsrRequest], kind: DecodeKind
) -> None:
    partials = [replace(request, kind=kind) for request in windows]
    together = [result.text for result in engine.transcribe(partials)]
    assert all(together)
    assert together == [engine.transcribe([request])[0].text for request in partials]


def test_a_partial_is_decoded_on_a_shorter_input_with_the_same_text(
    engine: WhisperEngine, speak: Speak
) -> None:
    assert engine.info.partial_buckets_s[0] < 10 < engine.info.final_buckets_s[0]
    sound = speak(ENGLISH[0])
    kinds: tuple[DecodeKind, ...] = ("partial", "final")
    caption, finished = (engine.transcribe([AsrRequest("s", kind, sound)])[0] for kind in kinds)
    assert caption.text == finished.text == ENGLISH[0]
    assert caption.words is None


def test_the_beginning_of_a_sentence_gives_its_first_words(engine: WhisperEngine, speak: Speak) -> None:
    (result,) = engine.transcribe([AsrRequest("s", "partial", speak("The next meeting"))])
    assert result.text.startswith("The next")
    assert len(result.text.split()) < len(ENGLISH[0].split())


def test_word_times_lie_within_the_audio_and_never_decrease(engine: WhisperEngine, speak: Speak) -> None:
    for text, voice in [(ENGLISH[0], "en-us"), (GERMAN[0], "de")]:
        sound = speak(text, voice)
        (result,) = engine.transcribe([AsrRequest("s", "final", sound)])
        words = result.words
        assert words is not None
        assert " ".join(word.text for word in words) == text
        duration_ms = len(sound) // 16
        moments = [moment for word in words for moment in (word.start_ms, word.end_ms)]
        assert moments == sorted(moments)
        assert 0 <= moments[0] < duration_ms / 3
        assert duration_ms / 2 < moments[-1] <= duration_ms
        assert all(word.confidence is not None and 0 <= word.confidence <= 1 for word in words)


def test_an_unconfident_detection_does_not_change_the_language(
    engine: WhisperEngine, speak: Speak, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meeting_assistant.adapters.asr.whisper.SURE_OF_LANGUAGE", 1.1)
    german = AsrRequest("s", "final", speak(GERMAN[0], "de"), detected_language="en")
    (result,) = engine.transcribe([german])
    assert result.language == "en"
    monkeypatch.undo()
    (result,) = engine.transcribe([german])
    assert result.language == "de"


def test_vocabulary_is_padded_so_that_prompts_can_be_batched(engine: WhisperEngine) -> None:
    request = AsrRequest("s", "final", np.zeros(16_000, np.float32))
    for hotwords in ((), ("Monday",), ("Monday", "the customers", "Protokoll"), ("beschlossen " * 99,)):
        assert len(engine._vocabulary(replace(request, hotwords=hotwords))) in PROMPT_SLOTS


def test_silence_and_noise_have_a_high_no_speech_probability(engine: WhisperEngine, speak: Speak) -> None:
    noise = (np.random.default_rng(5).standard_normal(48_000) * 0.003).astype(np.float32)
    heard = engine.transcribe([AsrRequest("s", "final", sound) for sound in (noise, speak(ENGLISH[1]))])
    probabilities = [result.no_speech_probability or 0.0 for result in heard]
    assert probabilities[0] > 0.6 > probabilities[1]


def test_above_temperature_zero_the_engine_samples(engine: WhisperEngine, speak: Speak) -> None:
    request = AsrRequest("s", "final", speak(ENGLISH[2]), temperature=0.4)
    results = [engine.transcribe([request])[0] for _ in range(3)]
    assert all(result.mean_logprob is not None and result.mean_logprob <= 0 for result in results)


def test_the_languages_of_the_engine_are_those_of_the_model(engine: WhisperEngine) -> None:
    assert {"en", "de", "fr"} <= set(engine.info.languages)
    assert "tlh" not in engine.info.languages


def test_a_missing_model_is_named_with_a_remedy(tmp_path: Path) -> None:
    engine = WhisperEngine(WhisperOptions(str(tmp_path / "nothing"), device="cpu", can_download=False))
    with pytest.raises(EngineError, match="cannot be loaded") as caught:
        engine.load()
    assert "ASR_MODEL_ID" in caught.value.remedy
