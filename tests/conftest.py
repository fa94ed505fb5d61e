"""Shared by all tests: categories by folder, tools that tests need, a clean environment."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
CATEGORIES = {"unit", "contract", "integration", "fault", "browser", "docs", "architecture"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The folder is the category."""
    for item in items:
        folder = item.path.relative_to(TESTS).parts[0]
        if folder in CATEGORIES:
            item.add_marker(getattr(pytest.mark, folder))


def pytest_configure(config: pytest.Config) -> None:
    """Our own settings in a developer's environment must not decide a test."""
    for name in list(os.environ):
        if name.startswith(
            ("HTTP_HOST", "HTTP_PORT", "DATA_DIR", "ASR_", "AUDIO_", "LLM_", "VLLM_", "MEETING_")
        ):
            del os.environ[name]


def need(tool: str, why: str) -> str:
    """Path of a system program. Missing: skipped with the reason, but a failure in CI, where it must be there."""
    path = shutil.which(tool)
    if path is None:
        message = f"{tool} is not installed ({why}); `make test` installs it on Debian when run as root"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return path


@pytest.fixture(scope="session")
def espeak() -> str:
    """Path of espeak-ng."""
    return need("espeak-ng", "tests make their own speech with it")


@pytest.fixture(scope="session")
def ffmpeg() -> str:
    """Path of ffmpeg."""
    return need("ffmpeg", "tests make files of many formats with it")


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of Chromium."""
    return need("chromium", "the web app is tested in a real browser")


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """An empty data directory."""
    return tmp_path / "data"
