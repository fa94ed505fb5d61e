"""Recognition by a server with `POST /v1/audio/transcriptions`: vLLM, speaches, a cloud.

The request is OpenAI's, as documented in its API reference (audio, create transcription). What a server refuses is left
out, one thing at a time, and remembered for an hour: the times of words, `verbose_json`, the vocabulary, the language.
"""

from __future__ import annotations

import io
import re
import time
import wave
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from meeting_assistant.adapters.asr.transcription_answers import result_of
from meeting_assistant.domain.audio import SAMPLE_RATE_HZ, Waveform
from meeting_assistant.domain.errors import EngineError
from meeting_assistant.domain.ports import AsrRequest, AsrResult, EngineInfo
from meeting_assistant.net.failures import HttpProblem
from meeting_assistant.net.http import BlockingHttpClient
from meeting_assistant.net.optional_parameters import OptionalParameter, OptionalParameters, ParameterSearch
from meeting_assistant.net.responses import HttpResponse

MIN_SAMPLES = SAMPLE_RATE_HZ // 10
MAX_CONCURRENCY = 4
"""Requests at the same time; the server forms batches itself."""
MAX_PROMPT_CHARS = 800
_OPTIONAL = (
    OptionalParameter("response_format", ("timestamp_granularities[]", "verbose_json"), may_crash=True),
    OptionalParameter("temperature", ("temperature",)),
    OptionalParameter("prompt", ("prompt",)),
    OptionalParameter("language", ("language",)),
)
_NAMES = {
    "response_format": re.compile(r"timestamp_granularit|word timestamps|verbose_json|response_format"),
    "temperature": re.compile(r"temperature"),
    "prompt": re.compile(r"prompt"),
    "language": re.compile(r"language", re.IGNORECASE),
}
"""How refusals name the parameters."""
_REFUSED = frozenset({400, 422})


class OpenAiTranscriptions:
    """An engine that sends each window to a server."""

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        api_key: str | None = None,
        timeout_s: float = 30.0,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`base_url`: with or without `/v1`."""
        root = base_url.rstrip("/").removesuffix("/v1")
        self._url = f"{root}/v1/audio/transcriptions"
        self._model = model
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._client = BlockingHttpClient(_no_answer, timeout_s=timeout_s, headers=headers)
        self._parameters = OptionalParameters(now)

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
        fields = self._fields(request)
        offered = [
            parameter
            for parameter in _OPTIONAL
            if parameter.name in ("response_format", "temperature") or parameter.name in fields
        ]
        search = self._parameters.begin(self._model, offered)
        first: HttpResponse | None = None
        while True:
            response = self._client.post_form(
                self._url,
                _without(fields, search.left_out),
                {"file": ("window.wav", sound, "audio/wav")},
            )
            if response.is_success:
                search.accept()
                return self._read(response, request)
            first = first or response
            if not _can_leave_out(response, search):
                # When nothing helps, the reason of the first refusal is the one that counts.
                return self._read(first, request)

    def _fields(self, request: AsrRequest) -> dict[str, str]:
        fields = {"model": self._model, "temperature": "0"}
        language = request.language or request.detected_language
        if language:
            fields["language"] = language.partition("-")[0].lower()
        if request.hotwords:
            fields["prompt"] = ", ".join(request.hotwords)[:MAX_PROMPT_CHARS]
        return fields

    def _read(self, response: HttpResponse, request: AsrRequest) -> AsrResult:
        if response.status in (401, 403):
            raise EngineError("The transcription server refused the key.", "Check ASR_SERVER__API_KEY.")
        if not response.is_success:
            raise EngineError(
                f"The transcription server answered {response.status}.",
                "Check ASR_MODEL_ID and the server's log; the sound is kept.",
            )
        try:
            return result_of(response.json(), len(request.samples) * 1000 // SAMPLE_RATE_HZ, request.language)
        except (ValueError, TypeError) as error:
            raise EngineError(
                "The answer of the transcription server is not a transcription.",
                "Check that ASR_SERVER__BASE_URL names a server with /v1/audio/transcriptions.",
            ) from error


def _without(fields: Mapping[str, str], left_out: frozenset[str]) -> dict[str, str]:
    """Return the fields of the form, with the strongest form of answer that the server is not known to refuse."""
    form = {name: value for name, value in fields.items() if name not in left_out}
    is_verbose = "verbose_json" not in left_out
    form["response_format"] = "verbose_json" if is_verbose else "json"
    if is_verbose and "timestamp_granularities[]" not in left_out:
        form["timestamp_granularities[]"] = "word"
    return form


def _can_leave_out(response: HttpResponse, search: ParameterSearch) -> bool:
    """Leave out what the server refused; return True when asking again is worth it."""
    if response.status in _REFUSED:
        named = [name for name, words in _NAMES.items() if words.search(response.text)]
        return search.leave_out(named) if named else search.leave_out_next()
    # Some servers report a form of answer that they do not know as an internal error.
    return response.status == 500 and search.leave_out_next(is_internal_error=True)


def _no_answer(problem: HttpProblem) -> EngineError:
    if problem.cause:
        return EngineError(f"The transcription server {problem.cause}.", problem.remedy)
    return EngineError(
        f"The transcription server did not answer: {problem.failure.value}.",
        "Check ASR_SERVER__BASE_URL and that the server runs; the sound is kept.",
    )


def _wav(samples: Waveform) -> bytes:
    pcm = np.clip(samples * 32768.0, -32768, 32767).astype("<i2").tobytes()
    target = io.BytesIO()
    with wave.open(target, "wb") as sound:
        sound.setparams((1, 2, SAMPLE_RATE_HZ, 0, "NONE", ""))
        sound.writeframes(pcm)
    return target.getvalue()
