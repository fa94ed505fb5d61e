"""Whisper on CTranslate2, in batches across meetings.

faster-whisper finds, downloads and loads the model and provides its tokenizer. Decoding bypasses its `transcribe`,
which takes one recording at a time, and calls `ctranslate2.models.Whisper` directly. In a batch, all prompts must have
`<|startoftranscript|>` at the same place and all windows must be padded to one length.

The model is that of Radford et al., *Robust Speech Recognition via Large-Scale Weak Supervision* (2022).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from meeting_assistant.adapters.asr.whisper_words import WordAligner
from meeting_assistant.domain.audio import SAMPLE_RATE_HZ
from meeting_assistant.domain.errors import EngineError, EngineNotInstalledError
from meeting_assistant.domain.ports import SURE_OF_LANGUAGE, AsrRequest, AsrResult, EngineInfo

if TYPE_CHECKING:
    from faster_whisper import WhisperModel
    from faster_whisper.tokenizer import Tokenizer

MIN_SAMPLES = SAMPLE_RATE_HZ // 10
FRAMES_PER_SECOND = 100
FULL_FRAMES = 3000
"""30 s, as in the training of the model; finished utterances always use it."""
PARTIAL_FRAMES = (1000, 1500, FULL_FRAMES)
"""Shorter inputs make partials cheaper. None below 10 s, which would cost too much accuracy; none whose half is 80 or
128, because CTranslate2 mistakes features of that length for encoder output."""
MARGIN_S = 1.5
"""Silence at the end of a shortened input: without it the decoder repeats itself."""
PROMPT_SLOTS = (0, 48, 192)
"""Lengths to which prompts are padded, so that meetings with different vocabularies can share a batch."""
TEMPERATURES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
BEAM = 5
TOKENS_PER_SECOND = 10


@dataclass(frozen=True, slots=True)
class WhisperOptions:
    """The model and how it computes."""

    model: str
    """A size such as `medium`, an id on the model hub, or a folder."""
    device: str = "auto"
    compute_type: str = "default"
    max_batch: int = 8
    can_download: bool = True


class WhisperEngine:
    """About a hundred languages, word times, vocabulary; the weights are downloaded or given as a folder."""

    def __init__(self, options: WhisperOptions) -> None:
        self._options = options
        self._model: WhisperModel | None = None
        self._tokenizers: dict[str, Tokenizer] = {}
        self._languages: tuple[str, ...] = ("en",) if options.model.endswith(".en") else _all_languages()

    @property
    def info(self) -> EngineInfo:
        """Description of the engine; its languages are exact after `load`."""
        return EngineInfo(
            name="faster-whisper",
            model=f"whisper {Path(self._options.model).name}",
            languages=self._languages,
            max_window_s=FULL_FRAMES / FRAMES_PER_SECOND,
            max_batch=self._options.max_batch,
            partial_buckets_s=tuple(_room_s(frames) for frames in PARTIAL_FRAMES),
            final_buckets_s=(FULL_FRAMES / FRAMES_PER_SECOND,),
            temperatures=TEMPERATURES,
        )

    def load(self) -> None:
        """Load the weights. Raises EngineNotInstalledError, EngineError."""
        if self._model is not None:
            return
        try:
            from faster_whisper import WhisperModel
        except ImportError as error:
            raise EngineNotInstalledError("faster-whisper", "Run `make setup` again.") from error
        options = self._options
        try:
            model = WhisperModel(
                options.model,
                device=options.device,
                compute_type=options.compute_type,
                local_files_only=not options.can_download,
            )
        except Exception as error:
            raise EngineError(
                f"The Whisper model {options.model} cannot be loaded: {type(error).__name__}.",
                "Set ASR_MODEL_ID to a model folder, or let this machine reach the model hub once; "
                "ASR_COMPUTE_TYPE=default suits every device.",
            ) from error
        if not model.model.is_multilingual:
            self._languages = ("en",)
        else:
            known = model.hf_tokenizer.token_to_id
            self._languages = tuple(code for code in _all_languages() if known(f"<|{code}|>") is not None)
        self._model = model

    def transcribe(self, batch: Sequence[AsrRequest]) -> list[AsrResult]:
        """Decode windows of one shape together. Raises EngineError."""
        self.load()
        results = [AsrResult(text="")] * len(batch)
        groups: dict[tuple[object, ...], list[int]] = {}
        prompts = [self._vocabulary(request) for request in batch]
        for index, request in enumerate(batch):
            if len(request.samples) >= MIN_SAMPLES:
                shape = (request.kind, _frames(request), len(prompts[index]), request.temperature)
                groups.setdefault(shape, []).append(index)
        for members in groups.values():
            decoded = self._decode([batch[i] for i in members], [prompts[i] for i in members])
            for index, result in zip(members, decoded, strict=True):
                results[index] = result
        return results

    def close_session(self, session: str) -> None:
        """Do nothing: no state is kept for a session."""

    def close(self) -> None:
        """Free the native memory."""
        self._model = None
        self._tokenizers.clear()

    # --- windows of one shape

    def _decode(self, requests: Sequence[AsrRequest], vocabulary: Sequence[list[int]]) -> list[AsrResult]:
        from ctranslate2 import StorageView

        whisper = self._whisper.model
        frames = _frames(requests[0])
        features = np.stack([self._features(request, frames) for request in requests])
        encoded = whisper.encode(StorageView.from_array(features))
        languages = self._languages_of(requests, encoded)
        prompts = [
            [*before, *self._tokenizer(language).sot_sequence, self._tokenizer(language).no_timestamps]
            for before, (language, _) in zip(vocabulary, languages, strict=True)
        ]
        seconds = max(len(request.samples) for request in requests) / SAMPLE_RATE_HZ
        temperature, is_final = requests[0].temperature, requests[0].kind == "final"
        max_length = min(448, len(prompts[0]) + int(seconds * TOKENS_PER_SECOND) + 8)
        outputs = whisper.generate(
            encoded,
            prompts,
            beam_size=BEAM if is_final and not temperature else 1,
            max_length=max_length,
            sampling_temperature=temperature or 1.0,
            sampling_topk=0 if temperature else 1,
            return_scores=True,
            return_no_speech_prob=True,
        )
        results = [
            self._result(output, language, probability, max_tokens=max_length - len(prompts[0]))
            for output, (language, probability) in zip(outputs, languages, strict=True)
        ]
        if not is_final:
            return results
        aligner = WordAligner(whisper, self._tokenizer)
        return aligner.add_words(
            results, [_text_tokens(output, self._tokenizer("en")) for output in outputs], encoded, requests
        )

    def _result(self, output: Any, language: str, probability: float | None, *, max_tokens: int) -> AsrResult:
        tokenizer = self._tokenizer(language)
        tokens = output.sequences_ids[0]
        # The score is a mean over the tokens without the end of text, which Whisper's limits include.
        mean = output.scores[0] * len(tokens) / (len(tokens) + 1)
        return AsrResult(
            text=tokenizer.decode(tokens).strip(),
            language=language,
            language_probability=probability,
            mean_logprob=float(mean),
            no_speech_probability=float(output.no_speech_prob),
            is_truncated=len(tokens) >= max_tokens,
        )

    def _languages_of(self, requests: Sequence[AsrRequest], encoded: Any) -> list[tuple[str, float | None]]:
        """Return the language of each window, with its probability where the model detected it."""
        if len(self._languages) == 1:
            return [(self._languages[0], None)] * len(requests)
        requested = [_code(request.language) for request in requests]
        if all(requested):
            return [(code, None) for code in requested if code]
        languages: list[tuple[str, float | None]] = []
        guesses = self._whisper.model.detect_language(encoded)
        for request, code, guess in zip(requests, requested, guesses, strict=True):
            token, probability = guess[0]
            newest, before = token.strip("<|>"), _code(request.detected_language)
            if code:
                languages.append((code, None))
            elif before and newest != before and probability < SURE_OF_LANGUAGE:
                languages.append((before, None))
            else:
                languages.append((newest, float(probability)))
        return languages

    def _features(self, request: AsrRequest, frames: int) -> np.ndarray[Any, np.dtype[np.float32]]:
        mel = self._whisper.feature_extractor(request.samples.astype(np.float32))[:, :frames]
        # Zeros after the logarithm, as in the training; the last frame is an artefact of the transform.
        mel = mel[:, :-1]
        padded = np.zeros((mel.shape[0], frames), np.float32)
        padded[:, : mel.shape[1]] = mel
        return padded

    def _vocabulary(self, request: AsrRequest) -> list[int]:
        """Return the prompt of names and terms, as preceding text; repetition pads it to one of the slots."""
        words = ", ".join(request.hotwords)
        if not words.strip():
            return []
        tokenizer = self._tokenizer(self._languages[0])
        tokens = tokenizer.encode(f" {words}")
        slot = next((slot for slot in PROMPT_SLOTS if slot > len(tokens)), PROMPT_SLOTS[-1])
        repeated = (tokens * (slot // len(tokens) + 1))[: slot - 1]
        return [tokenizer.sot_prev, *repeated]

    def _tokenizer(self, language: str) -> Tokenizer:
        from faster_whisper.tokenizer import Tokenizer

        if language not in self._tokenizers:
            self._tokenizers[language] = Tokenizer(
                self._whisper.hf_tokenizer,
                self._whisper.model.is_multilingual,
                task="transcribe",
                language=language,
            )
        return self._tokenizers[language]

    @property
    def _whisper(self) -> WhisperModel:
        self.load()
        assert self._model is not None
        return self._model


def is_on_disk(model: str) -> bool:
    """Return whether the weights are available without a download."""
    from faster_whisper.utils import download_model

    if Path(model).is_dir():
        return True
    try:
        download_model(model, local_files_only=True)
    except Exception:  # noqa: BLE001 - an unknown size, no cache or a broken one: each means that they are not available
        return False
    return True


def has_cuda() -> bool:
    """Return whether CTranslate2 finds a CUDA device."""
    from ctranslate2 import get_cuda_device_count

    return bool(get_cuda_device_count() > 0)


def _all_languages() -> tuple[str, ...]:
    from faster_whisper.tokenizer import _LANGUAGE_CODES

    return tuple(_LANGUAGE_CODES)


def _code(language: str | None) -> str | None:
    """Return the code that the model knows: `de` for `de-CH`."""
    return language.partition("-")[0].lower() if language else None


def _frames(request: AsrRequest) -> int:
    if request.kind == "final":
        return FULL_FRAMES
    seconds = len(request.samples) / SAMPLE_RATE_HZ
    return next((frames for frames in PARTIAL_FRAMES if _room_s(frames) >= seconds), FULL_FRAMES)


def _room_s(frames: int) -> float:
    """Return the length of the longest audio for an input of so many frames."""
    seconds = frames / FRAMES_PER_SECOND
    return seconds if frames == FULL_FRAMES else seconds - MARGIN_S


def _text_tokens(output: Any, tokenizer: Tokenizer) -> list[int]:
    return [token for token in output.sequences_ids[0] if token < tokenizer.eot]
