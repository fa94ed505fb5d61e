"""Moonshine Tiny on ONNX Runtime: the embedded weights on one thread.

The library of the wheel decodes with two threads that wait for each other by spinning, which costs about four times the
processor time of one.

Windows are decoded one at a time: activations are quantised with one scale for all rows of a batch, so that a loud
neighbour would change the words of a quiet room, and a batch of four saves only a quarter of the time.

The model is that of Jeffries et al., *Moonshine: Speech Recognition for Live Transcription and Voice Commands* (2024):
an encoder over raw samples, and an autoregressive decoder with a cache of keys and values.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from meeting_assistant.domain.audio import SAMPLE_RATE_HZ, Waveform

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

START, END = 1, 2
TOKENS_PER_SECOND = 6.5
"""Upper limit of speech; more tokens are a decoder loop."""
HEADS, HEAD_SIZE = 8, 36

WORD_START = "\u2581"
Array = NDArray[np.float32]


class DecodedToken(NamedTuple):
    """A token and the probability with which it was decoded."""

    id: int
    probability: float


class MoonshineDecoder:
    """A greedy decoder. Blocks; used by one thread at a time."""

    def __init__(self, model_dir: Path) -> None:
        """`model_dir` holds `encoder_model.ort`, `decoder_model_merged.ort`, `tokenizer.bin`. Raises OSError."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3

        def session(name: str) -> InferenceSession:
            return onnxruntime.InferenceSession(
                str(model_dir / name), options, providers=["CPUExecutionProvider"]
            )

        self._encoder = session("encoder_model.ort")
        self._decoder = session("decoder_model_merged.ort")
        self._pieces = read_pieces((model_dir / "tokenizer.bin").read_bytes())
        self._past_names = [
            i.name for i in self._decoder.get_inputs() if i.name.startswith("past_key_values.")
        ]
        self._output_names = [output.name for output in self._decoder.get_outputs()]

    def decode(self, window: Waveform, prefix: Sequence[DecodedToken] = ()) -> list[DecodedToken]:
        """Return the tokens of a window of at least 0.1 s; they begin with `prefix`."""
        sound = np.asarray(window, np.float32)[None]
        # One value per sample: the graph reduces it itself.
        mask = np.ones(sound.shape, np.int64)
        encoded: Array = self._encoder.run(None, {"input_values": sound, "attention_mask": mask})[0]
        return self._generate(encoded, mask, list(prefix), max_tokens(window))

    def text(self, tokens: Sequence[DecodedToken]) -> str:
        """Return the text of the tokens."""
        joined = b"".join(self._pieces[token.id] for token in tokens)
        return joined.decode("utf-8", errors="ignore").replace(WORD_START, " ").strip()

    def word_probabilities(self, tokens: Sequence[DecodedToken]) -> tuple[float, ...]:
        """Return for each word of the text the lowest probability of its tokens."""
        words: list[float] = []
        for token in tokens:
            piece = self._pieces[token.id]
            if not words or piece.startswith(WORD_START.encode()):
                words.append(token.probability)
            else:
                words[-1] = min(words[-1], token.probability)
        return tuple(words)

    def _generate(
        self, encoded: Array, mask: NDArray[np.int64], tokens: list[DecodedToken], most: int
    ) -> list[DecodedToken]:
        past = {name: np.zeros((1, HEADS, 0, HEAD_SIZE), np.float32) for name in self._past_names}
        unread = [START, *(token.id for token in tokens)]
        for step in range(max(0, most - len(tokens))):
            inputs = {
                "input_ids": np.array([unread], np.int64),
                "encoder_hidden_states": encoded,
                "encoder_attention_mask": mask,
                "use_cache_branch": np.array([step > 0]),
                **past,
            }
            logits, *present = self._decoder.run(None, inputs)
            scores = logits[0, -1]
            newest = int(scores.argmax())
            if newest == END:
                break
            tokens.append(DecodedToken(newest, float(1.0 / np.exp(scores - scores[newest]).sum())))
            unread = [newest]
            for name, value in zip(self._output_names[1:], present, strict=True):
                # The keys of the encoder are computed in the first step and empty afterwards.
                if step == 0 or ".decoder." in name:
                    past[name.replace("present", "past_key_values")] = value
        return tokens


def max_tokens(window: Waveform) -> int:
    """Return how many tokens the text of a window has at most."""
    return int(len(window) / SAMPLE_RATE_HZ * TOKENS_PER_SECOND) + 1


def read_pieces(raw: bytes) -> list[bytes]:
    """Parse the vocabulary: for each token its length, in one byte or (from 128 on) two, then its bytes."""
    pieces: list[bytes] = []
    position = 0
    while position < len(raw):
        length = raw[position]
        position += 1
        if length >= 128:
            length += raw[position] * 128 - 128
            position += 1
        pieces.append(raw[position : position + length])
        position += length
    return pieces
