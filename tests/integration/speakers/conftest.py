"""Meetings that were stopped and are about to be finished; fake packages of diarizers."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from meeting_assistant.domain.ports import Diarizer
from meeting_assistant.testing.harness.finished_meeting import FinishedMeeting


@pytest.fixture
async def finished_meeting(tmp_path: Path) -> AsyncIterator[Callable[..., FinishedMeeting]]:
    """Make meetings with the engines and options that a test gives."""
    made: list[FinishedMeeting] = []

    def make(*engines: Diarizer, **options: Any) -> FinishedMeeting:
        made.append(FinishedMeeting(tmp_path, *engines, **options))
        return made[-1]

    yield make
    for one in made:
        await one.close()


@pytest.fixture
def fake_pyannote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Install a package `pyannote.audio` whose `from_pretrained` has the body that the test gives.

    `make test-diarization` tries the real one.
    """

    def make(from_pretrained: str) -> None:
        package = tmp_path / "packages"
        (package / "pyannote" / "audio").mkdir(parents=True)
        (package / "pyannote" / "audio" / "telemetry.py").write_text(
            "def set_telemetry_metrics(on): assert not on\n"
        )
        (package / "pyannote" / "audio" / "__init__.py").write_text(
            "class Pipeline:\n    @staticmethod\n    def from_pretrained(model, token=None):\n"
            f"        {from_pretrained}\n"
        )
        (package / "torch.py").write_text(
            "class OutOfMemoryError(RuntimeError): pass\nclass cuda:\n    is_available = staticmethod(lambda: False)\n"
        )
        unload("pyannote", "torch")
        monkeypatch.syspath_prepend(str(package))

    yield make
    unload("pyannote", "torch")


@pytest.fixture
def fake_nemo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Install a package of NeMo whose `from_pretrained` has the body that the test gives."""

    def make(from_pretrained: str) -> None:
        package = tmp_path / "packages"
        models = package / "nemo" / "collections" / "asr"
        models.mkdir(parents=True)
        for folder in (models, models.parent, models.parent.parent):
            (folder / "__init__.py").write_text("")
        (models / "models.py").write_text(
            "class SortformerEncLabelModel:\n    @staticmethod\n"
            f"    def from_pretrained(model, map_location=None):\n        {from_pretrained}\n"
        )
        (package / "torch.py").write_text(
            "class OutOfMemoryError(RuntimeError): pass\nclass cuda:\n    is_available = staticmethod(lambda: False)\n"
        )
        unload("nemo", "torch")
        monkeypatch.syspath_prepend(str(package))

    yield make
    unload("nemo", "torch")


def unload(*packages: str) -> None:
    """Forget imported packages, so that the next import looks for them again."""
    for name in [m for m in sys.modules if m.split(".")[0] in packages]:
        del sys.modules[name]
