"""Diarization by `pyannote.audio` 4 and its pipeline community-1 (Bredin 2023; clustering: Landini et al. 2022).

The package is the extra `meeting-assistant[pyannote]`. A download of the weights requires accepted terms and a token
(`HF_TOKEN`); a folder that contains them requires neither.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

from meeting_assistant.domain.audio import SAMPLE_RATE_HZ, Samples, to_waveform
from meeting_assistant.domain.errors import EngineError
from meeting_assistant.domain.ports import SpeakerTurn

SHARES = {"segmentation": (0.0, 0.5), "speaker_counting": (0.5, 0.5), "embeddings": (0.5, 0.95)}
"""Where each step of the pipeline begins and ends, as a share of the whole time."""


class PyannoteDiarizer:
    """Runs the pipeline, on the GPU when there is one."""

    name = "pyannote"
    max_speakers: int | None = None

    def __init__(self, model: str, token: str | None) -> None:
        """`model`: an id on the model hub, or a folder with `config.yaml`."""
        self._model = model
        self._token = token
        self._pipeline: Any = None

    def load(self) -> None:
        """Load the pipeline. Raises EngineError whose remedy names what to install, to set or to accept."""
        if self._pipeline is not None:
            return
        if importlib.util.find_spec("pyannote") is None or importlib.util.find_spec("pyannote.audio") is None:
            raise EngineError(
                "Speaker labels: pyannote.audio is not installed.",
                "Install it with `pip install 'meeting-assistant[pyannote]'`.",
                code="diarization_not_installed",
            )
        if self._token is None and not Path(self._model).exists():
            raise EngineError(
                "Speaker labels: pyannote needs HF_TOKEN to fetch its model.",
                f"Accept the terms on the page of {self._model}, make a token there and set HF_TOKEN; or set "
                "DIARIZATION_MODEL_ID to a folder that holds the model.",
                code="hf_token_missing",
            )
        try:
            import torch
            from pyannote.audio import Pipeline
            from pyannote.audio.telemetry import set_telemetry_metrics

            # By default it reports every use to its makers.
            set_telemetry_metrics(False)

            pipeline = Pipeline.from_pretrained(self._model, token=self._token)
            if pipeline is not None and torch.cuda.is_available():
                pipeline.to(torch.device("cuda"))
        except Exception as error:
            raise _engine_error(error, self._model) from error
        if pipeline is None:
            raise EngineError(
                f"Speaker labels: {self._model} could not be fetched with this HF_TOKEN.",
                "Accept the terms on its page with the account of the token.",
                code="hf_token_refused",
            )
        self._pipeline = pipeline

    def diarize(self, samples: Samples, progress: Callable[[float], None]) -> list[SpeakerTurn]:
        """Return the speaker turns, which may overlap. Raises EngineError."""
        self.load()

        shares = [0.0]

        def hook(
            step: str, *_: object, total: int | None = None, completed: int | None = None, **__: object
        ) -> None:
            start, end = SHARES.get(step, (0.95, 1.0))
            # The last call of a step has no count, and progress never goes back.
            shares[0] = max(
                shares[0], start + (end - start) * (float(completed / total) if total and completed else 0.0)
            )
            progress(shares[0])

        import torch

        try:
            sound = torch.from_numpy(to_waveform(samples)[None])
            output = self._pipeline({"waveform": sound, "sample_rate": SAMPLE_RATE_HZ}, hook=hook)
        except Exception as error:
            raise _engine_error(error, self._model) from error
        numbers: dict[str, int] = {}
        return [
            SpeakerTurn(
                start_ms=round(turn.start * 1000),
                end_ms=round(turn.end * 1000),
                speaker=numbers.setdefault(str(label), len(numbers)),
            )
            for turn, _, label in output.speaker_diarization.itertracks(yield_label=True)
        ]

    def close(self) -> None:
        """Release the pipeline; idempotent."""
        self._pipeline = None


def _engine_error(error: Exception, model: str) -> EngineError:
    """Return the error with a remedy; the message contains only the type of the cause."""
    if type(error).__name__ == "OutOfMemoryError" or "out of memory" in str(error).casefold():
        return EngineError(
            "Speaker labels: the GPU has too little memory for pyannote.",
            "Give it a GPU of its own, a smaller ASR_MODEL_ID beside it, or hide the GPU from it.",
            code="gpu_memory",
        )
    return EngineError(
        f"Speaker labels: pyannote could not use {model} ({type(error).__name__}).",
        "Check HF_TOKEN, the network and DIARIZATION_MODEL_ID; the log of the server has more.",
        code="diarization_failed",
    )
