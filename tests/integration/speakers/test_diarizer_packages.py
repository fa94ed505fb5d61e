"""What pyannote and NeMo need: packages, a token, memory; each cause has its own message."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from meeting_assistant.adapters.diarization.nemo import NemoDiarizer
from meeting_assistant.adapters.diarization.pyannote import PyannoteDiarizer
from meeting_assistant.domain.errors import EngineError
from meeting_assistant.domain.ports import Diarizer


def load_error(engine: Diarizer) -> EngineError:
    with pytest.raises(EngineError) as caught:
        engine.load()
    return caught.value


def test_missing_packages_are_named_with_their_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("pyannote", "nemo"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "meeting-assistant[pyannote]" in load_error(PyannoteDiarizer("x/y", "token")).remedy
    assert "meeting-assistant[nemo]" in load_error(NemoDiarizer()).remedy


@pytest.mark.parametrize(
    ("from_pretrained", "token", "code", "remedy"),
    [
        ("raise AssertionError('not asked')", None, "hf_token_missing", "set HF_TOKEN"),
        ("return None", "hf_refused", "hf_token_refused", "Accept the terms"),
        (
            "import torch; raise torch.OutOfMemoryError('CUDA out of memory')",
            "hf_x",
            "gpu_memory",
            "GPU of its own",
        ),
        ("raise OSError('no network')", "hf_x", "diarization_failed", "Check HF_TOKEN, the network"),
    ],
)
def test_each_missing_piece_of_pyannote_is_named(
    fake_pyannote: Callable[[str], None], from_pretrained: str, token: str | None, code: str, remedy: str
) -> None:
    fake_pyannote(from_pretrained)
    error = load_error(PyannoteDiarizer("pyannote/speaker-diarization-community-1", token))
    assert error.code == code
    assert remedy in error.remedy
    assert "hf_" not in str(error).replace("HF_TOKEN", "")


@pytest.mark.parametrize(
    ("from_pretrained", "code"),
    [
        ("import torch; raise torch.OutOfMemoryError('CUDA out of memory')", "gpu_memory"),
        ("raise OSError('no network')", "diarization_failed"),
    ],
)
def test_each_missing_piece_of_nemo_is_named(
    fake_nemo: Callable[[str], None], from_pretrained: str, code: str
) -> None:
    fake_nemo(from_pretrained)
    error = load_error(NemoDiarizer())
    assert error.code == code
    assert "NeMo" in error.message
