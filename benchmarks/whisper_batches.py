"""Throughput of Whisper in batches across meetings against one window after the other.

    python benchmarks/whisper_batches.py --model FOLDER          a converted model
    python benchmarks/whisper_batches.py --size medium           random weights of that size (needs torch, transformers)

Random weights take as long as trained ones for the same number of tokens, which is fixed here by forbidding the end of
text. Prints windows per second for batches of 1 to 32, captions (10 s of context) and finished utterances (30 s), and
writes `benchmarks/results/whisper-batches-NAME.json`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import ctranslate2
import numpy as np

RESULTS = Path(__file__).parent / "results"
BATCHES = (1, 4, 8, 16, 32)
ROUNDS = 5
TOKENS = 24
"""A caption of about six seconds."""
SIZES = {
    "tiny": (384, 4, 4, 6, 80),
    "medium": (1024, 24, 24, 16, 80),
    "large-v3-turbo": (1280, 32, 4, 20, 128),
}
"""Width, encoder layers, decoder layers, heads, mel bands."""
START, ENGLISH, TRANSCRIBE, NO_TIMESTAMPS, END = 50258, 50259, 50359, 50363, 50257


def make_random(size: str, folder: Path) -> Path:
    """A model of that size without knowledge, converted."""
    import torch
    from ctranslate2.converters import TransformersConverter
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast, WhisperConfig, WhisperForConditionalGeneration

    width, encoder, decoder, heads, mels = SIZES[size]
    config = WhisperConfig(
        vocab_size=51866 if mels == 128 else 51865, num_mel_bins=mels, d_model=width, encoder_layers=encoder,
        decoder_layers=decoder, encoder_attention_heads=heads, decoder_attention_heads=heads,
        encoder_ffn_dim=4 * width, decoder_ffn_dim=4 * width,
    )  # fmt: skip
    torch.manual_seed(7)
    WhisperForConditionalGeneration(config).half().save_pretrained(folder / "hf")
    names = {f"<token{n}>": n for n in range(50364)}
    for token, number in {
        "<|endoftext|>": END, "<|startoftranscript|>": START, "<|en|>": ENGLISH, "<|transcribe|>": TRANSCRIBE,
        "<|startofprev|>": 50361, "<|nospeech|>": 50362, "<|notimestamps|>": NO_TIMESTAMPS,
    }.items():  # fmt: skip
        del names[f"<token{number}>"]
        names[token] = number
    tokenizer = Tokenizer(models.WordLevel(names, unk_token="<token0>"))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(folder / "hf")
    TransformersConverter(str(folder / "hf")).convert(str(folder / "ct2"), quantization="float16", force=True)
    return folder / "ct2"


def measure(model: ctranslate2.models.Whisper, batch: int, frames: int, beam: int) -> float:
    """Windows per second, median of rounds."""
    features = np.random.default_rng(7).standard_normal((batch, model.n_mels, frames)).astype(np.float32)
    prompts = [[START, ENGLISH, TRANSCRIBE, NO_TIMESTAMPS]] * batch
    seconds = []
    for round_number in range(ROUNDS + 1):
        began = time.perf_counter()
        encoded = model.encode(ctranslate2.StorageView.from_array(features))
        model.generate(encoded, prompts, beam_size=beam, max_length=TOKENS + 4, suppress_tokens=[END])
        if round_number:  # the first one allocates
            seconds.append(time.perf_counter() - began)
    return batch / statistics.median(seconds)


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path)
    parser.add_argument("--size", choices=SIZES)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--compute-type", default="default")
    parser.add_argument("--hardware", default="", help="goes into the results")
    options = parser.parse_args()
    if (options.model is None) == (options.size is None):
        parser.error("give --model or --size")
    with tempfile.TemporaryDirectory() as folder:
        path = options.model or make_random(options.size, Path(folder))
        model = ctranslate2.models.Whisper(
            str(path), device=options.device, compute_type=options.compute_type
        )
        table: list[dict[str, Any]] = []
        for kind, frames, beam in (("caption", 1000, 1), ("finished", 3000, 5)):
            alone = None
            for batch in BATCHES:
                rate = measure(model, batch, frames, beam)
                alone = alone or rate
                table.append(
                    {
                        "kind": kind,
                        "batch": batch,
                        "windows_per_second": round(rate, 2),
                        "gain": round(rate / alone, 2),
                    }
                )
                print(table[-1], flush=True)
        report = {
            "model": options.size or str(options.model.name),
            "device": model.device,
            "compute_type": model.compute_type,
            "hardware": options.hardware,
            "ctranslate2": ctranslate2.__version__,
            "table": table,
        }
    RESULTS.mkdir(exist_ok=True)
    target = RESULTS / f"whisper-batches-{report['model']}-{report['device']}.json"
    target.write_text(json.dumps(report, indent=1) + "\n")
    print(f"wrote {target}")


if __name__ == "__main__":
    main()
