"""The examples run as they are, against a real server."""

from __future__ import annotations

import re
import subprocess
import sys
import wave
from collections.abc import Iterator
from pathlib import Path

import pytest

from meeting_assistant.adapters.audio.trusted import read_pcm
from meeting_assistant.demo import hello_clip
from meeting_assistant.domain.audio import SAMPLE_RATE_HZ
from meeting_assistant.launcher import ServerProcess, free_port

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"

pytestmark = pytest.mark.docs


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """A short recording in which one sentence is spoken, as a WAV file."""
    path = tmp_path / "hello.wav"
    with wave.open(str(path), "wb") as recording:
        recording.setparams((1, 2, SAMPLE_RATE_HZ, 0, "NONE", ""))
        recording.writeframes(read_pcm(hello_clip()[0]))
    return path


def stream(clip: Path, server: ServerProcess) -> str:
    """Run the live client, and return what it prints."""
    command = [sys.executable, str(EXAMPLES / "live_client.py"), str(clip), server.ws_url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_live_client_prints_captions_and_the_finished_utterance(clip: Path, tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data") as server:
        printed = stream(clip, server)
    (final,) = re.findall(r"^S.: (.*)$", printed, re.MULTILINE)
    assert re.search(r"^… \w", printed, re.MULTILINE)
    expected = set(re.findall(r"\w+", hello_clip()[1].lower()))
    assert expected & set(re.findall(r"\w+", final.lower()))


@pytest.fixture
def speech_server() -> Iterator[int]:
    """The speech server of the example on a free port."""
    port = free_port()
    server = subprocess.Popen([sys.executable, str(EXAMPLES / "speech_server.py"), str(port)])
    yield port
    server.terminate()
    server.wait(timeout=10)


def test_a_custom_speech_server_transcribes_a_meeting(clip: Path, tmp_path: Path, speech_server: int) -> None:
    env = {"ASR_ENGINE": "openai", "ASR_SERVER__BASE_URL": f"http://127.0.0.1:{speech_server}"}
    with ServerProcess(tmp_path / "data", env) as server:
        printed = stream(clip, server)
    assert re.search(r"^S.: I heard \d+ seconds\.$", printed, re.MULTILINE), printed


def test_the_integration_is_the_one_that_the_guide_explains() -> None:
    """`test_add_an_integration.py` installs that one and lets it deliver."""
    page = (ROOT / "docs/how-to/add-an-integration.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(.*?)```", page, re.DOTALL)
    assert code is not None
    assert (EXAMPLES / "diary.py").read_text(encoding="utf-8").endswith(code[1])


def test_the_live_client_has_thirty_lines() -> None:
    text = (EXAMPLES / "live_client.py").read_text(encoding="utf-8")
    code = [line for line in text.partition('"""\n\n')[2].splitlines() if line.strip()]
    assert len(code) <= 30
