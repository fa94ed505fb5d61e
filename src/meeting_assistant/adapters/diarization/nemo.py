"""Diarization by NVIDIA NeMo's streaming Sortformer (Medennikov et al. 2025), run over the whole recording.

The package is the extra `meeting-assistant[nemo]`. The model distinguishes at most four speakers; meetings with more
need pyannote or the embedded engine.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

from meeting_assistant.domain.audio import Samples, to_waveform
from meeting_assistant.domain.errors import EngineError
from meeting_assistant.domain.ports import SpeakerTurn

MODEL = "nvidia/diar_streaming_sortformer_4spk-v2.1"
THRESHOLD = 0.5
FRAME_MS = 80
"""Length of one row of probabilities: the hop of the encoder."""
MIN_TURN_MS = 240


class NemoDiarizer:
    """Runs Sortformer, on the GPU when there is one."""

    name = "nemo"
    max_speakers: int | None = 4
    """The number of columns in the output of Sortformer."""

    def __init__(self, model: str = MODEL) -> None:
        """`model`: an id on the model hub, or a `.nemo` file."""
        self._id = model
        self._model: Any = None

    def load(self) -> None:
        """Load the model. Raises EngineError whose remedy names what to install."""
        if self._model is not None:
            return
        if importlib.util.find_spec("nemo") is None:
            raise EngineError(
                "Speaker labels: the NeMo toolkit is not installed.",
                "Install it with `pip install 'meeting-assistant[nemo]'`, or set NEMO_DIARIZATION_ENABLED=false.",
                code="diarization_not_installed",
            )
        try:
            import torch
            from nemo.collections.asr.models import SortformerEncLabelModel

            device = "cuda" if torch.cuda.is_available() else "cpu"
            if self._id.endswith(".nemo"):
                model = SortformerEncLabelModel.restore_from(self._id, map_location=device)
            else:
                model = SortformerEncLabelModel.from_pretrained(self._id, map_location=device)
            model.eval()
        except Exception as error:
            raise _engine_error(error, self._id) from error
        self._model = model

    def diarize(self, samples: Samples, progress: Callable[[float], None]) -> list[SpeakerTurn]:
        """Return the speaker turns, which may overlap. Raises EngineError."""
        self.load()
        progress(0.0)
        try:
            _, probabilities = self._model.diarize(
                audio=[to_waveform(samples)],
                sample_rate=16_000,
                batch_size=1,
                include_tensor_outputs=True,
                verbose=False,
            )
            frames = probabilities[0].float().cpu().numpy()
        except Exception as error:
            raise _engine_error(error, self._id) from error
        progress(1.0)
        return turns_of(frames.reshape(-1, frames.shape[-1]))

    def close(self) -> None:
        """Release the model; idempotent."""
        self._model = None


def turns_of(probabilities: Any) -> list[SpeakerTurn]:
    """Turn probabilities of shape `(frames, speakers)` into speaker turns in the order of time."""
    turns: list[SpeakerTurn] = []
    for speaker in range(probabilities.shape[1]):
        start: int | None = None
        for frame, value in enumerate([*probabilities[:, speaker].tolist(), 0.0]):
            if value >= THRESHOLD and start is None:
                start = frame
            elif value < THRESHOLD and start is not None:
                if (frame - start) * FRAME_MS >= MIN_TURN_MS:
                    turns.append(SpeakerTurn(start * FRAME_MS, frame * FRAME_MS, speaker))
                start = None
    return sorted(turns, key=lambda turn: (turn.start_ms, turn.speaker))


def _engine_error(error: Exception, model: str) -> EngineError:
    if type(error).__name__ == "OutOfMemoryError" or "out of memory" in str(error).casefold():
        return EngineError(
            "Speaker labels: the GPU has too little memory for NeMo.",
            "Give it a GPU of its own, or set NEMO_DIARIZATION_ENABLED=false.",
            code="gpu_memory",
        )
    return EngineError(
        f"Speaker labels: NeMo could not use {model} ({type(error).__name__}).",
        "Check the network, or the `.nemo` file; the log of the server has more.",
        code="diarization_failed",
    )
