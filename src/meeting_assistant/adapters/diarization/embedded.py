"""The speaker embedding model that ships inside the `moonshine-voice` library.

The library uses it only together with a decode that costs three times the processor time of ours
(`adapters/asr/moonshine_decoder.py`) and with a copy of everything per meeting. The weights are one block of its shared
library, the same on every platform; they are found by their signature and used only when their digest is the known one.

They are `pyannote/embedding`, an x-vector network (Snyder et al. 2018) on SincNet features (Ravanelli and Bengio 2018).
"""

from __future__ import annotations

import hashlib
import importlib.util
import mmap
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from meeting_assistant.domain.audio import Waveform
from meeting_assistant.domain.errors import EngineError
from meeting_assistant.domain.ports import VoiceVector

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

MODEL_BYTES = 17_639_174
MODEL_SHA256 = "22c29180ce01c7763d03a9d1b1f10ffb2e9e18900bf9da0ed6bad8e6c4c56ccf"
SIGNATURE = b"ORTM"
SIGNATURE_OFFSET = 4
LIBRARIES = ("libmoonshine.so", "libmoonshine.dylib", "moonshine.dll", "libmoonshine.dll")


class EmbeddedVoices:
    """Computes unit-length speaker embeddings."""

    name = "embedded"

    def __init__(self) -> None:
        self._model: InferenceSession | None = None

    def load(self) -> None:
        """Load the weights. Raises EngineError when the installed wheel does not contain them."""
        if self._model is not None:
            return
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._model = onnxruntime.InferenceSession(
            read_weights(package_dir()), options, providers=["CPUExecutionProvider"]
        )

    def embed(self, samples: Waveform) -> VoiceVector:
        """Return an embedding of shape `(512,)`; it is reliable from about 2 s of speech on."""
        self.load()
        assert self._model is not None
        (vectors,) = self._model.run(["embeddings"], {"waveform": np.asarray(samples, np.float32)[None]})
        vector = np.asarray(vectors[0], np.float32)
        return vector / np.float32(max(float(np.linalg.norm(vector)), 1e-9))


def package_dir() -> Path:
    """Return the folder of the installed wheel, without importing it. Raises EngineError."""
    spec = importlib.util.find_spec("moonshine_voice")
    if spec is None or spec.origin is None:
        raise EngineError("moonshine-voice is not installed.", "Run `make setup` again.")
    return Path(spec.origin).parent


def read_weights(directory: Path) -> bytes:
    """Return the weights from the shared library in that folder. Raises EngineError."""
    for name in LIBRARIES:
        path = directory / name
        if path.is_file():
            weights = _find(path)
            if weights is not None:
                return weights
    raise EngineError(
        "The voice model was not found in moonshine-voice.",
        "Install the version that requirements.txt names: `make setup`.",
    )


def _find(path: Path) -> bytes | None:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as library:
        position = library.find(SIGNATURE)
        while position >= 0:
            start = position - SIGNATURE_OFFSET
            block = library[start : start + MODEL_BYTES]
            if hashlib.sha256(block).hexdigest() == MODEL_SHA256:
                return block
            position = library.find(SIGNATURE, position + 1)
    return None
