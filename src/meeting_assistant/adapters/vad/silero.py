"""Silero voice activity detection on ONNX Runtime, with a state per session.

The model file ships in the faster-whisper wheel (silero-vad v6, MIT). The wrapper there resets the state at every call,
which suits files but not streams.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from meeting_assistant.domain.audio import Samples, to_waveform
from meeting_assistant.domain.errors import EngineError, EngineNotInstalledError
from meeting_assistant.domain.ports import VAD_FRAME_SAMPLES

if TYPE_CHECKING:
    import onnxruntime

CONTEXT_SAMPLES = 64
"""End of the frame before, which the model also reads: it was trained on 576 samples with a hop of 512."""
STATE_SHAPE = (1, 1, 128)
LSTM_VALUES = 128
STATE_VALUES = 2 * LSTM_VALUES + CONTEXT_SAMPLES
MODEL_FILE = "silero_vad_v6.onnx"


class SileroVad:
    """One ONNX session shared by all streams; `run` of ONNX Runtime is thread-safe and releases the GIL."""

    name = "silero-v6"

    def __init__(self) -> None:
        self._session: onnxruntime.InferenceSession | None = None

    def load(self) -> None:
        """Load the model. Raises EngineNotInstalledError when the wheel that carries it is missing."""
        if self._session is not None:
            return
        try:
            import onnxruntime
        except ImportError as error:
            raise EngineNotInstalledError("onnxruntime", "Run `make setup` again.") from error
        options = onnxruntime.SessionOptions()
        # One thread: a frame takes a fraction of a millisecond, so that waking others costs more than it gains.
        options.inter_op_num_threads = 1
        options.intra_op_num_threads = 1
        options.enable_cpu_mem_arena = False
        options.log_severity_level = 4
        self._session = onnxruntime.InferenceSession(
            str(model_path()), providers=["CPUExecutionProvider"], sess_options=options
        )

    def open(self, state: bytes = b"") -> SileroStream:
        """Return a stream with that state, or a fresh one when it is empty or of another model.

        Raises EngineError before `load`.
        """
        if self._session is None:
            raise EngineError("The voice activity model is not loaded.", "Call load() first.")
        return SileroStream(self._session, state)


class SileroStream:
    """The state of one session: two LSTM vectors, the end of the last frame, an unfinished frame."""

    def __init__(self, session: onnxruntime.InferenceSession, state: bytes = b"") -> None:
        self._session = session
        values: NDArray[np.float32] = np.zeros(STATE_VALUES, dtype=np.float32)
        if len(state) == values.nbytes:
            values = np.frombuffer(state, dtype="<f4").astype(np.float32)
        self._h: NDArray[np.float32] = values[:LSTM_VALUES].reshape(STATE_SHAPE)
        self._c: NDArray[np.float32] = values[LSTM_VALUES : 2 * LSTM_VALUES].reshape(STATE_SHAPE)
        self._context: NDArray[np.float32] = values[2 * LSTM_VALUES :]
        self._rest: NDArray[np.float32] = np.zeros(0, dtype=np.float32)

    def feed(self, samples: Samples) -> NDArray[np.float32]:
        """Return the speech probability of each completed frame, shape `(frames,)`."""
        pending = np.concatenate([self._rest, to_waveform(samples)])
        frames = len(pending) // VAD_FRAME_SAMPLES
        self._rest = pending[frames * VAD_FRAME_SAMPLES :]
        if frames == 0:
            return np.zeros(0, dtype=np.float32)
        hops = pending[: frames * VAD_FRAME_SAMPLES].reshape(frames, VAD_FRAME_SAMPLES)
        contexts = np.empty((frames, CONTEXT_SAMPLES), dtype=np.float32)
        contexts[0] = self._context
        contexts[1:] = hops[:-1, -CONTEXT_SAMPLES:]
        self._context = hops[-1, -CONTEXT_SAMPLES:].copy()
        outputs: list[Any] = self._session.run(
            None, {"input": np.concatenate([contexts, hops], axis=1), "h": self._h, "c": self._c}
        )
        probabilities, self._h, self._c = outputs
        return np.asarray(probabilities, dtype=np.float32).reshape(-1)

    def state(self) -> bytes:
        """Return both LSTM vectors and the context as little-endian float32."""
        parts = (self._h.reshape(-1), self._c.reshape(-1), self._context)
        return np.concatenate(parts).astype("<f4").tobytes()


def model_path() -> Path:
    """Return the path of the model, without importing faster-whisper, which would load CTranslate2."""
    spec = importlib.util.find_spec("faster_whisper")
    if spec is None or not spec.submodule_search_locations:
        raise EngineNotInstalledError(
            "faster-whisper", "Run `make setup` again: its wheel has the VAD model."
        )
    return Path(spec.submodule_search_locations[0]) / "assets" / MODEL_FILE
