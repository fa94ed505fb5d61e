"""Our adapters against the real packages, on tiny models of random weights that are made here.

Run by `make test-diarization`, which installs each extra into an environment of its own (several GB); skipped without
the package. The trained weights cannot be fetched without an account, so this shows that loading, calling, progress and
reading the answer fit the packages' interfaces, not how well they hear.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from meeting_assistant.adapters.diarization.nemo import NemoDiarizer
from meeting_assistant.adapters.diarization.pyannote import PyannoteDiarizer
from meeting_assistant.domain.audio import Samples
from meeting_assistant.domain.errors import EngineError
from meeting_assistant.domain.ports import Diarizer

pytestmark = pytest.mark.filterwarnings("default")  # the packages warn about much

SECONDS = 30


@pytest.fixture
def sound() -> Samples:
    return (np.random.default_rng(0).standard_normal(SECONDS * 16_000) * 3000).astype(np.int16)


def check(engine: Diarizer, sound: Samples) -> None:
    shares: list[float] = []
    engine.load()
    turns = engine.diarize(sound, shares.append)
    assert all(0 <= turn.start_ms < turn.end_ms <= SECONDS * 1000 + 100 for turn in turns)
    assert turns == sorted(turns, key=lambda turn: turn.start_ms)
    assert shares == sorted(shares)
    assert shares[0] >= 0
    assert shares[-1] <= 1
    engine.close()


def test_pyannote_diarizes_a_recording(tmp_path: Path, sound: Samples) -> None:
    pytest.importorskip(
        "pyannote.audio", reason="the extra `pyannote` is not installed (make test-diarization)"
    )
    check(PyannoteDiarizer(str(tiny_pyannote(tmp_path)), None), sound)


def test_a_folder_without_a_pyannote_pipeline_is_named(tmp_path: Path) -> None:
    pytest.importorskip(
        "pyannote.audio", reason="the extra `pyannote` is not installed (make test-diarization)"
    )
    with pytest.raises(EngineError, match="could not use"):
        PyannoteDiarizer(str(tmp_path), None).load()


def test_nemo_diarizes_a_recording(tmp_path: Path, sound: Samples) -> None:
    pytest.importorskip(
        "nemo.collections.asr", reason="the extra `nemo` is not installed (make test-diarization)"
    )
    check(NemoDiarizer(str(tiny_nemo(tmp_path))), sound)


def tiny_pyannote(folder: Path) -> Path:
    """Segmentation, embedding and PLDA as community-1 has them, with few and random weights."""
    import torch
    import yaml
    from pyannote.audio.core.task import Problem, Resolution, Specifications
    from pyannote.audio.models.embedding import XVectorSincNet
    from pyannote.audio.models.segmentation import PyanNet

    def save(model: Any, name: str, specifications: Any) -> str:
        model.specifications = specifications
        if hasattr(model, "build"):
            model.build()
        kind = type(model)
        checkpoint = {
            "state_dict": model.state_dict(),
            "hyper_parameters": dict(model.hparams),
            "pytorch-lightning_version": "2.6.0",
            "epoch": 0,
            "global_step": 0,
            "pyannote.audio": {
                "versions": {"torch": torch.__version__, "pyannote.audio": "4.0.0"},
                "architecture": {"module": kind.__module__, "class": kind.__name__},
                "specifications": specifications,
            },
        }
        torch.save(checkpoint, folder / name)
        return str(folder / name)

    torch.manual_seed(0)
    speakers = Specifications(
        problem=Problem.MONO_LABEL_CLASSIFICATION,
        resolution=Resolution.FRAME,
        duration=10.0,
        classes=["a", "b", "c"],
        powerset_max_classes=2,
        permutation_invariant=True,
    )
    voice = Specifications(
        problem=Problem.REPRESENTATION, resolution=Resolution.CHUNK, duration=5.0, classes=["x", "y"]
    )
    small = {"hidden_size": 16, "num_layers": 1}
    draw = np.random.default_rng(0)
    np.savez(
        folder / "xvec_transform.npz",
        mean1=np.zeros(32),
        mean2=np.zeros(16),
        lda=draw.standard_normal((32, 16)),
    )
    np.savez(
        folder / "plda.npz",
        mu=np.zeros(16),
        tr=np.eye(16) + 0.1 * draw.standard_normal((16, 16)),
        psi=np.linspace(2, 0.5, 16),
    )
    pipeline = {
        "dependencies": {"pyannote.audio": "4.0.0"},
        "pipeline": {
            "name": "pyannote.audio.pipelines.SpeakerDiarization",
            "params": {
                "segmentation": save(PyanNet(lstm=small, linear=small), "segmentation.bin", speakers),
                "embedding": save(XVectorSincNet(dimension=32), "embedding.bin", voice),
                "clustering": "VBxClustering",
                "plda": str(folder),
                "embedding_exclude_overlap": True,
            },
        },
        "params": {
            "clustering": {"threshold": 0.6, "Fa": 0.07, "Fb": 0.8},
            "segmentation": {"min_duration_off": 0.0},
        },
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(pipeline))
    return folder


def tiny_nemo(folder: Path) -> Path:
    """A streaming Sortformer of one layer."""
    from nemo.collections.asr.models import SortformerEncLabelModel
    from omegaconf import OmegaConf

    modules = "nemo.collections.asr.modules"
    config = {
        "sample_rate": 16000,
        "pil_weight": 0.5,
        "ats_weight": 0.5,
        "max_num_of_spks": 4,
        "streaming_mode": True,
        "model_defaults": {"fc_d_model": 32, "tf_d_model": 16},
        "preprocessor": {
            "_target_": f"{modules}.AudioToMelSpectrogramPreprocessor",
            "normalize": "NA",
            "sample_rate": 16000,
            "features": 80,
            "n_fft": 512,
        },
        "encoder": {
            "_target_": f"{modules}.ConformerEncoder",
            "feat_in": 80,
            "feat_out": -1,
            "n_layers": 1,
            "d_model": 32,
            "subsampling": "dw_striding",
            "subsampling_factor": 8,
            "subsampling_conv_channels": 16,
            "ff_expansion_factor": 2,
            "n_heads": 2,
            "conv_kernel_size": 9,
        },
        "transformer_encoder": {
            "_target_": f"{modules}.transformer.transformer_encoders.TransformerEncoder",
            "num_layers": 1,
            "hidden_size": 16,
            "inner_size": 32,
            "num_attention_heads": 2,
        },
        "sortformer_modules": {
            "_target_": f"{modules}.sortformer_modules.SortformerModules",
            "num_spks": 4,
            "fc_d_model": 32,
            "tf_d_model": 16,
        },
        "loss": {"_target_": "nemo.collections.asr.losses.bce_loss.BCELoss", "reduction": "mean"},
    }
    path = folder / "tiny.nemo"
    SortformerEncLabelModel(cfg=OmegaConf.create(config)).save_to(str(path))
    return path
