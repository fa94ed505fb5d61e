"""Build a real language model's server for tests: llama.cpp's, with a tiny model of random weights.

    python scripts/make_llm_server.py FOLDER

Takes about a quarter of an hour and needs cmake, ninja and a C++ compiler; what is there already is not made again.
The sources come from the source package of llama-cpp-python, which carries llama.cpp, by pip. The model knows nothing:
it shows that answers are held to a schema by the decoder, that limits are told and that streams end.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

VERSION = "0.3.36"
SHA256 = "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e"
FLAGS = (
    "-DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=OFF -DGGML_NATIVE=OFF -DGGML_OPENMP=OFF -DLLAMA_BUILD_TESTS=OFF "
    "-DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_APP=OFF -DLLAMA_BUILD_UI=OFF -DLLAMA_USE_PREBUILT_UI=OFF "
    "-DLLAMA_OPENSSL=OFF"
).split()
"""Nothing that is downloaded while building, nothing that only this machine's processor knows."""
CONTEXT_TOKENS = 16_384
_EMBEDDING, _HEADS, _FEED_FORWARD = 32, 2, 64


def main() -> None:
    """Make what is missing."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    sources = fetch(folder)
    server = folder / "llama-server"
    if not server.exists():
        build(sources, folder / "build", server)
    model = folder / "tiny.gguf"
    if not model.exists():
        write_model(sources / "gguf-py", model)
    print(server, model)


def fetch(folder: Path) -> Path:
    """The sources of llama.cpp."""
    unpacked = folder / f"llama_cpp_python-{VERSION}" / "vendor" / "llama.cpp"
    if unpacked.is_dir():
        return unpacked
    wanted = ("--no-deps", "--no-binary", "llama-cpp-python", f"llama-cpp-python=={VERSION}")
    subprocess.run([sys.executable, "-m", "pip", "download", "-q", *wanted, "-d", str(folder)], check=False)
    archive = folder / f"llama_cpp_python-{VERSION}.tar.gz"
    if not archive.exists():
        sys.exit("The source package of llama-cpp-python could not be fetched: see what pip said.")
    if hashlib.sha256(archive.read_bytes()).hexdigest() != SHA256:
        sys.exit(f"{archive.name} is not the package that was checked.")
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    return unpacked


def build(sources: Path, folder: Path, server: Path) -> None:
    """With every core, and politely."""
    for tool in ("cmake", "ninja"):
        if shutil.which(tool) is None:
            sys.exit(f"{tool} is needed to build llama.cpp; on Debian: apt install cmake ninja-build g++")
    os.nice(15)
    subprocess.run(["cmake", "-S", str(sources), "-B", str(folder), "-G", "Ninja", *FLAGS], check=True)
    subprocess.run(["cmake", "--build", str(folder), "--target", "llama-server"], check=True)
    shutil.copy2(folder / "bin" / "llama-server", server)


def write_model(gguf_package: Path, path: Path) -> None:
    """One layer of random weights over bytes. Some letters are likelier than others, so that answers come to an end."""
    import numpy as np

    sys.path.insert(0, str(gguf_package))
    import gguf  # type: ignore[import-not-found]

    dice = np.random.default_rng(7)

    def noise(*shape: int, scale: float = 0.06) -> Any:
        return (dice.standard_normal(shape) * scale).astype(np.float32)

    tokens = [b"<unk>", b"<s>", b"</s>", *(f"<0x{byte:02X}>".encode() for byte in range(256))]
    kinds = [gguf.TokenType.UNKNOWN, gguf.TokenType.CONTROL, gguf.TokenType.CONTROL]
    kinds += [gguf.TokenType.BYTE] * 256
    embedding = noise(len(tokens), _EMBEDDING, scale=0.3)
    embedding[:, 0] = 4.0  # the same for all: it carries how likely each byte is
    output = noise(len(tokens), _EMBEDDING, scale=0.25)
    likely = {
        "]": 2.2,
        "{": 2.0,
        "[": 1.5,
        '"': 3.0,
        "}": 2.0,
        ",": 1.9,
        ":": 1.5,
        "t": 1.4,
        "e": 1.4,
        "1": 1.5,
    }
    for byte in range(256):
        output[3 + byte, 0] = likely.get(chr(byte), 1.0 if chr(byte).isalnum() and byte < 128 else -3.0)
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_name("tiny-random")
    writer.add_context_length(CONTEXT_TOKENS)
    writer.add_embedding_length(_EMBEDDING)
    writer.add_block_count(1)
    writer.add_feed_forward_length(_FEED_FORWARD)
    writer.add_head_count(_HEADS)
    writer.add_head_count_kv(_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(_EMBEDDING // _HEADS)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * len(tokens))
    writer.add_token_types(kinds)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_chat_template(
        "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant: "
    )
    writer.add_tensor("token_embd.weight", embedding)
    for name in ("attn_norm", "ffn_norm"):
        writer.add_tensor(f"blk.0.{name}.weight", np.ones(_EMBEDDING, np.float32))
    for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
        writer.add_tensor(f"blk.0.{name}.weight", noise(_EMBEDDING, _EMBEDDING))
    for name in ("ffn_gate", "ffn_up"):
        writer.add_tensor(f"blk.0.{name}.weight", noise(_FEED_FORWARD, _EMBEDDING))
    writer.add_tensor("blk.0.ffn_down.weight", noise(_EMBEDDING, _FEED_FORWARD))
    writer.add_tensor("output_norm.weight", np.ones(_EMBEDDING, np.float32))
    writer.add_tensor("output.weight", output)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
