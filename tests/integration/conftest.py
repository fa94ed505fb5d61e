"""One real server for the tests of a run; each test opens meetings of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from meeting_assistant.testing.server import ServerProcess


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """`meeting-assistant serve` on a free port, with the embedded engines loaded."""
    with ServerProcess(
        tmp_path_factory.mktemp("server") / "data", {"MAX_UPLOAD_BYTES": "5000000"}
    ) as running:
        yield running
    assert running.process is not None
    assert running.process.returncode == 0, "SIGTERM must end the server cleanly"


@pytest.fixture(scope="session")
def hello() -> bytes:
    """One spoken sentence and a second of silence, canonical PCM."""
    from meeting_assistant.adapters.audio.trusted import read_pcm
    from meeting_assistant.demo import hello_clip

    path, _ = hello_clip()
    return read_pcm(path) + bytes(32_000)
