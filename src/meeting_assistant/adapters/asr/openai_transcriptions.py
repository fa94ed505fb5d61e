"""Recognition by a server with `POST /v1/audio/transcriptions`: vLLM, speaches, a cloud.

The request is OpenAI's, as documented in its API reference (audio, create transcription). Options that a server rejects
are left out from then on: word times first, then `verbose_json`.
"""

from __future__ import annotations

import io
import wave
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from meeting_assistant.domain.audio import SAMPLE_RATE_HZ, Waveform
from meeting_assistant.domain.errors import EngineError
from meeting_assistant.domain.ports import AsrRequest, AsrResult, EngineInfo
from meeting_assistant.domain.transcript import Word
from meeting_assistant.net.http import BlockingHttpClient, HttpFailure, HttpResponse

MIN_SAMPLES = SAMPLE_RATE_HZ // 10
MAX_CONCURRENCY = 4
"""Requests at the same time; the server forms batches itself."""
MAX_PROMPT_CHARS = 800
_FORMS: tuple[Mapping[str, str], ...] = (
    {"response_format": "verbose_json", "timestamp_granularities[]": "word"},
    {"response_format": "verbose_json"},
    {"response_format": "json"},
)


class OpenAiTranscriptions:
    """An engine that sends each window to a server."""

    def __init__(
        self, base_url: str, model: str, *, api_key: str | None = None, timeout_s: float = 30.0
    ) -> None:
        """`base_url`: with or without `/v1`."""
        root = base_url.rstrip("/").removesuffix("/v1")
        self._url = f"{root}/v1/audio/transcriptions"
        self._model = model
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._client = BlockingHttpClient(
            {failure: partial(_no_answer, failure) for failure in HttpFailure},
            timeout_s=timeout_s,
            headers=headers,
        )
        self._form = 0
        """Index of the form that the server accepts."""

    @property
    def info(self) -> EngineInfo:
        """Description of the engine; any language is passed on to the server."""
        return EngineInfo(
            name="openai",
            model=f"{self._model} at a server",
            languages=(),
            max_window_s=30.0,
            max_concurrency=MAX_CONCURRENCY,
        )

    def load(self) -> None:
        """Do nothing: an unreachable server fails the first window, and meetings go on when it is back."""

    def transcribe(self, batch: Sequence[AsrRequest]) -> list[AsrResult]:
        """Send one request per window. Raises EngineError."""
        return [self._transcribe_one(request) for request in batch]

    def close_session(self, session: str) -> None:
        """Do nothing: no state is kept for a session."""

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _transcribe_one(self, request: AsrRequest) -> AsrResult:
        if len(request.samples) < MIN_SAMPLES:
            return AsrResult(text="")
        sound = _wav(request.samples)
        while True:
            response = self._post(request, sound, _FORMS[self._form])
            if response.status in (400, 422) and self._form + 1 < len(_FORMS):
                self._form += 1
                continue
            return self._read(response, request)

    def _post(self, request: AsrRequest, sound: bytes, form: Mapping[str, str]) -> HttpResponse:
        fields = {"model": self._model, "temperature": "0", **form}
        language = request.language or request.detected_language
        if language:
            fields["language"] = language.partition("-")[0].lower()
        if request.hotwords:
            fields["prompt"] = ", ".join(request.hotwords)[:MAX_PROMPT_CHARS]
        return self._client.post_form(self._url, fields, {"file": ("window.wav", sound, "audio/wav")})

    def _read(self, response: HttpResponse, request: AsrRequest) -> AsrResult:
        if response.status in (401, 403):
            raise EngineError("The transcription server refused the key.", "Check ASR_SERVER__API_KEY.")
        if not response.is_success:
            raise EngineError(
                f"The transcription server answered {response.status}.",
                "Check ASR_MODEL_ID and the server's log; the sound is kept.",
            )
        try:
            return _result(response.json(), len(request.samples) * 1000 // SAMPLE_RATE_HZ, request.language)
        except (ValueError, KeyError, TypeError) as error:
            raise EngineError(
                "The answer of the transcription server is not a transcription.",
                "Check that ASR_SERVER__BASE_URL names a server with /v1/audio/transcriptions.",
            ) from error


def _no_answer(failure: HttpFailure) -> EngineError:
    return EngineError(
        f"The transcription server did not answer: {failure.value}.",
        "Check ASR_SERVER__BASE_URL and that the server runs; the sound is kept.",
    )


def _result(document: Any, duration_ms: int, language: str | None) -> AsrResult:
    text = str(document["text"]).strip()
    words = None
    if document.get("words"):
        words = tuple(
            Word(
                text=str(word["word"]).strip(),
                start_ms=min(duration_ms, int(float(word["start"]) * 1000)),
                end_ms=min(duration_ms, int(float(word["end"]) * 1000)),
            )
            for word in document["words"]
            if str(word["word"]).strip()
        )
    segments = document.get("segments") or []
    logprobs = [float(s["avg_logprob"]) for s in segments if s.get("avg_logprob") is not None]
    silences = [float(s["no_speech_prob"]) for s in segments if s.get("no_speech_prob") is not None]
    return AsrResult(
        text=text,
        words=words,
        language=language,
        mean_logprob=float(np.mean(logprobs)) if logprobs else None,
        no_speech_probability=max(silences) if silences else None,
    )


def _wav(samples: Waveform) -> bytes:
    pcm = np.clip(samples * 32768.0, -32768, 32767).astype("<i2").tobytes()
    target = io.BytesIO()
    with wave.open(target, "wb") as sound:
        sound.setparams((1, 2, SAMPLE_RATE_HZ, 0, "NONE", ""))
        sound.writeframes(pcm)
    return target.getvalue()
