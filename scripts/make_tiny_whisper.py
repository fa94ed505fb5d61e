"""Trains the tiny Whisper model of the tests, from nothing, on speech that espeak-ng speaks.

Whisper's architecture, layout of the vocabulary and file formats, with two small layers and a dozen sentences in
two languages; converted by CTranslate2's own converter. The tests run every path of the engine on it.

Needs espeak-ng, and in an environment of its own: torch, transformers, ctranslate2, faster-whisper.
`python scripts/make_tiny_whisper.py` writes `tests/fixtures/tiny-whisper.zip`; about 15 minutes on two cores.
"""

# mypy: ignore-errors

from __future__ import annotations

import argparse
import copy
import io
import json
import random
import subprocess
import tempfile
import wave
import zipfile
from pathlib import Path

import numpy as np
import torch
from ctranslate2.converters import TransformersConverter
from faster_whisper.feature_extractor import FeatureExtractor
from faster_whisper.tokenizer import _LANGUAGE_CODES
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    GenerationConfig,
    PreTrainedTokenizerFast,
    WhisperConfig,
    WhisperForConditionalGeneration,
)

TARGET = Path(__file__).parents[1] / "tests/fixtures/tiny-whisper.zip"
SENTENCES = {
    "en": [
        "The next meeting is on Monday.",
        "I will call the customers.",
        "We decided to start in March.",
        "Please send me the report.",
        "Who can test the new version?",
        "The budget is approved.",
        "Thank you very much.",
    ],
    "de": [
        "Das Treffen beginnt um neun Uhr.",
        "Wir haben den Plan beschlossen.",
        "Wer schreibt das Protokoll?",
        "Vielen Dank und bis morgen.",
    ],
}
VOICES = {
    "en": ["en-us", "en-us+f3", "en-us+m3", "en-gb", "en-us+f5", "en-gb+m7"],
    "de": ["de", "de+f3", "de+m3", "de+f5"],
}
SPEEDS = (135, 145, 160)
PITCHES = (35, 50, 65)

# The layout of the multilingual model: text, end, start, 99 languages, tasks, timestamps.
TEXT_TOKENS, EOT, SOT, FIRST_LANGUAGE = 50257, 50257, 50258, 50259
LANGUAGES = [code for code in _LANGUAGE_CODES if code != "yue"]
TRANSLATE = FIRST_LANGUAGE + len(LANGUAGES)
TRANSCRIBE, START_OF_LM, START_OF_PREV, NO_SPEECH, NO_TIMESTAMPS = range(TRANSLATE + 1, TRANSLATE + 6)
VOCABULARY = NO_TIMESTAMPS + 1 + 1501

WIDTH, HEADS, LAYERS, FEED_FORWARD = 64, 4, 2, 192
BATCH = 16


def speak(text: str, voice: str, speed: int, pitch: int) -> np.ndarray:
    """16 kHz float samples."""
    raw = subprocess.run(
        ["espeak-ng", "-v", voice, "-s", str(speed), "-p", str(pitch), "--stdout", text],
        check=True,
        capture_output=True,
    ).stdout
    with wave.open(io.BytesIO(raw)) as sound:
        rate = sound.getframerate()
        samples = np.frombuffer(sound.readframes(sound.getnframes()), np.int16).astype(np.float32) / 32768
    at = np.arange(0, len(samples), rate / 16_000)
    return np.interp(at, np.arange(len(samples)), samples).astype(np.float32)


def make_tokenizer() -> Tokenizer:
    """Byte-level pieces of our own sentences; the special tokens stand where Whisper has them."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator([f" {text}" for texts in SENTENCES.values() for text in texts], trainer)
    document = json.loads(tokenizer.to_str())
    specials = {EOT: "<|endoftext|>", SOT: "<|startoftranscript|>"}
    specials |= {FIRST_LANGUAGE + n: f"<|{code}|>" for n, code in enumerate(LANGUAGES)}
    specials |= {
        TRANSLATE: "<|translate|>",
        TRANSCRIBE: "<|transcribe|>",
        START_OF_LM: "<|startoflm|>",
        START_OF_PREV: "<|startofprev|>",
        NO_SPEECH: "<|nospeech|>",
        NO_TIMESTAMPS: "<|notimestamps|>",
    }
    known = len(document["model"]["vocab"])
    document["model"]["vocab"] |= {f"<unused{n}>": n for n in range(known, TEXT_TOKENS - 1)}
    # By the empty token CTranslate2 knows a multilingual model.
    document["model"]["vocab"][""] = TEXT_TOKENS - 1
    document["added_tokens"] = [
        {
            "id": n,
            "content": text,
            "special": True,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
        }
        for n, text in sorted(specials.items())
    ]
    return Tokenizer.from_str(json.dumps(document))


class Examples:
    """Spoken sentences and beginnings of sentences, and stretches without speech."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.features = FeatureExtractor()
        self.clips: list[tuple[np.ndarray, list[int], str]] = []
        for language, texts in SENTENCES.items():
            for text in texts:
                words = text.split()
                for voice in VOICES[language]:
                    for speed in SPEEDS:
                        pitch = random.choice(PITCHES)
                        self._add(tokenizer, text, language, voice, speed, pitch)
                    for end in range(2, len(words)):
                        beginning = " ".join(words[:end])
                        self._add(
                            tokenizer,
                            beginning,
                            language,
                            voice,
                            random.choice(SPEEDS),
                            random.choice(PITCHES),
                        )

    def _add(self, tokenizer, text, language, voice, speed, pitch) -> None:
        tokens = tokenizer.encode(f" {text}", add_special_tokens=False).ids
        self.clips.append((speak(text, voice, speed, pitch), tokens, language))

    def batch(
        self, frames: int, size: int
    ) -> tuple[torch.Tensor, list[tuple[list[int], str | None]], list[tuple[int, int]]]:
        """Features `(size, 80, frames)`, (tokens, language), span of the speech in encoder steps."""
        mels, labels, spans = [], [], []
        for _ in range(size):
            noise = 10 ** random.uniform(-5, -2.2)
            if random.random() < 0.1:
                sound = np.random.randn(random.randint(8000, 96_000)).astype(np.float32) * noise
                tokens, language, span = [], None, (0, 1)
            else:
                clip, tokens, language = random.choice(self.clips)
                lead, tail = random.randint(0, 9600), random.randint(0, 9600)
                sound = np.pad(clip * random.uniform(0.2, 1.0), (lead, tail))
                sound += np.random.randn(len(sound)).astype(np.float32) * noise
                span = (lead // 320, (lead + len(clip)) // 320)
            mel = self.features(sound)[:, : frames + 1][:, :-1]
            padded = np.zeros((80, frames), np.float32)
            padded[:, : mel.shape[1]] = mel
            mels.append(padded)
            labels.append((tokens, language))
            spans.append(span)
        return torch.from_numpy(np.stack(mels)), labels, spans


def encode(encoder: torch.nn.Module, mel: torch.Tensor) -> torch.Tensor:
    """Like the encoder itself, for inputs of any length."""
    hidden = torch.nn.functional.gelu(encoder.conv1(mel))
    hidden = torch.nn.functional.gelu(encoder.conv2(hidden)).permute(0, 2, 1)
    hidden = hidden + encoder.embed_positions.weight[: hidden.shape[1]]
    for layer in encoder.layers:
        out = layer(hidden, None)
        hidden = out[0] if isinstance(out, tuple) else out
    return encoder.layer_norm(hidden)


def train(examples: Examples, used: list[int], steps: int) -> WhisperForConditionalGeneration:
    """On a small vocabulary: the tokens in use, and one that stands for all others."""
    other = len(used)
    local = {token: n for n, token in enumerate(used)}
    config = WhisperConfig(
        vocab_size=other + 1, num_mel_bins=80, d_model=WIDTH, encoder_layers=LAYERS, decoder_layers=LAYERS,
        encoder_attention_heads=HEADS, decoder_attention_heads=HEADS, encoder_ffn_dim=FEED_FORWARD,
        decoder_ffn_dim=FEED_FORWARD, pad_token_id=local[EOT], bos_token_id=local[EOT], eos_token_id=local[EOT],
        decoder_start_token_id=local[SOT], dropout=0.0, attn_implementation="eager",
    )  # fmt: skip
    model = WhisperForConditionalGeneration(config)
    fast = copy.deepcopy(config)
    fast._attn_implementation = "sdpa"  # only the decoder has to show its attention
    for layer in model.model.encoder.layers:
        layer.self_attn.config = fast
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=steps, pct_start=0.1)
    bias = torch.zeros(other + 1)
    bias[other] = float(np.log(VOCABULARY - other))
    for step in range(steps):
        frames, size = (3000, BATCH // 4) if step % 6 == 5 else (1000, BATCH)
        mel, labels, spans = examples.batch(frames, size)
        rows = []
        for tokens, language in labels:
            prompt = [SOT, FIRST_LANGUAGE + LANGUAGES.index(language or "en"), TRANSCRIBE, NO_TIMESTAMPS]
            if random.random() < 0.3:  # a vocabulary before it, as the engine sends one
                word = random.choice(examples.clips)[1]
                prompt = [START_OF_PREV, *(word * 24)[:47], *prompt]
            rows.append((prompt, [*tokens, EOT], language))
        longest = max(len(prompt) + len(tokens) for prompt, tokens, _ in rows)
        inputs = torch.full((size, longest), local[EOT])
        targets = torch.full((size, longest), -100)
        for row, (prompt, tokens, language) in enumerate(rows):
            ids = [local[token] for token in prompt + tokens]
            inputs[row, : len(ids)] = torch.tensor(ids)
            start = len(prompt) - 1
            targets[row, start : start + len(tokens)] = torch.tensor(ids[len(prompt) :])
            sot = len(prompt) - 4
            targets[row, sot] = local[NO_SPEECH] if language is None else ids[sot + 1]
        hidden = encode(model.model.encoder, mel)
        out = model.model.decoder(input_ids=inputs, encoder_hidden_states=hidden, output_attentions=True)
        logits = model.proj_out(out.last_hidden_state) + bias
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-100)
        guide = guidance(out.cross_attentions[-1], rows, spans)
        (loss + guide).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        optimiser.zero_grad()
        if step % 50 == 0:
            print(f"step {step}: loss {loss.item():.3f}, attention {guide.item():.3f}", flush=True)
    return model


def guidance(attention: torch.Tensor, rows, spans) -> torch.Tensor:
    """The last layer looks along the speech as the words go on (guided attention, Tachibana et al. 2017)."""
    weights = torch.zeros_like(attention[:, 0])
    for row, ((prompt, tokens, language), (begin, end)) in enumerate(zip(rows, spans, strict=True)):
        if language is None:
            continue
        start, count = len(prompt) - 1, len(tokens)
        at = begin + (torch.arange(count) + 0.5) / count * (end - begin)
        distance = (torch.arange(attention.shape[-1])[None] - at[:, None]) / max(1, end - begin)
        weights[row, start : start + count] = 1 - torch.exp(-(distance**2) / (2 * 0.12**2))
    return (attention * weights[:, None]).sum() / max(
        1.0, float((weights.amax(-1) > 0).sum()) * attention.shape[1]
    )


def save(model, tokenizer: Tokenizer, used: list[int], folder: Path) -> None:
    """As a model of full vocabulary: what is not in use shares one row."""
    config = WhisperConfig(**{**model.config.to_dict(), "vocab_size": VOCABULARY, "eos_token_id": EOT,
                              "bos_token_id": EOT, "pad_token_id": EOT, "decoder_start_token_id": SOT})  # fmt: skip
    full = WhisperForConditionalGeneration(config)
    state = model.state_dict()
    rows = state["model.decoder.embed_tokens.weight"]
    # A shared logit of the unused is learned with their number on top of it; each of them has it without.
    embedding = rows[len(used)][None].repeat(VOCABULARY, 1)
    embedding[used] = rows[: len(used)]
    state["model.decoder.embed_tokens.weight"] = state["proj_out.weight"] = embedding
    full.load_state_dict(state)
    full.generation_config = GenerationConfig(
        suppress_tokens=[SOT, START_OF_LM, START_OF_PREV, TRANSLATE, TRANSCRIBE, NO_SPEECH, NO_TIMESTAMPS],
        begin_suppress_tokens=[EOT],
        alignment_heads=[[LAYERS - 1, head] for head in range(HEADS)],
        lang_to_id={f"<|{code}|>": FIRST_LANGUAGE + n for n, code in enumerate(LANGUAGES)},
    )
    source = folder / "hf"
    full.save_pretrained(source)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(source)
    (source / "preprocessor_config.json").write_text(json.dumps({"feature_size": 80}))
    (source / "tokenizer.json").write_text(tokenizer.to_str())
    TransformersConverter(str(source), copy_files=["tokenizer.json", "preprocessor_config.json"]).convert(
        str(folder / "ct2"), quantization="int8", force=True
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1500)
    steps = parser.parse_args().steps
    random.seed(7), np.random.seed(7), torch.manual_seed(7)
    tokenizer = make_tokenizer()
    examples = Examples(tokenizer)
    text = sorted({token for _, tokens, _ in examples.clips for token in tokens})
    languages = [FIRST_LANGUAGE + LANGUAGES.index(code) for code in SENTENCES]
    used = [*text, EOT, SOT, *languages, TRANSCRIBE, START_OF_PREV, NO_SPEECH, NO_TIMESTAMPS]
    print(f"{len(examples.clips)} clips, {len(used)} tokens")
    model = train(examples, used, steps).eval()
    with tempfile.TemporaryDirectory() as folder:
        save(model, tokenizer, used, Path(folder))
        TARGET.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(TARGET, "w", zipfile.ZIP_LZMA) as archive:
            for path in sorted((Path(folder) / "ct2").iterdir()):
                archive.write(path, path.name)
    print(f"wrote {TARGET} ({TARGET.stat().st_size / 1e6:.2f} MB)")


if __name__ == "__main__":
    main()
