"""Shared by all tests: categories by folder, tools that tests need, a clean environment."""

from __future__ import annotations

import contextlib
import io
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import wave
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import numpy as np
import pytest

from meeting_assistant.config import Settings
from meeting_assistant.domain.audio import Waveform
from meeting_assistant.launcher import ServerProcess, inherited_environment
from meeting_assistant.testing.harness.database import migrate, sqlite_url
from meeting_assistant.testing.harness.fork_server import IS_SUPPORTED, ForkClient, ForkServer, start_process
from meeting_assistant.testing.servers.postgres import PostgresServer, find_postgres

if TYPE_CHECKING:
    from meeting_assistant.testing.servers.s3 import S3Server

# How long an example takes says nothing here: time belongs in benchmarks/.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

Speak = Callable[..., Waveform]

TESTS = Path(__file__).parent
FORK_SERVER = pytest.StashKey[Path]()
FORK_SERVER_PATH = "fork_server"
CATEGORIES = ["distributed", "browser", "fault", "integration", "docs", "contract", "architecture", "unit"]
"""In the order in which they run."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The folder is the category; what takes longest starts first, so that no process is left with it at the end."""
    for item in items:
        folder = item.path.relative_to(TESTS).parts[0]
        if folder in CATEGORIES:
            item.add_marker(getattr(pytest.mark, folder))
    items.sort(key=lambda item: _order(item.path.relative_to(TESTS).parts[0]))


def _order(folder: str) -> int:
    return CATEGORIES.index(folder) if folder in CATEGORIES else len(CATEGORIES)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One more than there are processors: many tests wait for a server, a deadline or a page."""
    return (os.cpu_count() or 1) + 1


def clear_settings() -> None:
    """Remove every variable that is one of our settings: a developer's environment must not decide a test."""
    for name in list(os.environ):
        if is_setting(name):
            del os.environ[name]


def pytest_configure(config: pytest.Config) -> None:
    """Clear the environment and start the fork server, or take over where it is."""
    clear_settings()
    if hasattr(config, "workerinput"):
        if config.workerinput[FORK_SERVER_PATH] is not None:
            config.stash[FORK_SERVER] = Path(config.workerinput[FORK_SERVER_PATH])
    elif IS_SUPPORTED and not config.option.collectonly:
        start_fork_server(config)


def start_fork_server(config: pytest.Config) -> None:
    """Start the process from which all tests of this run fork theirs."""
    folder = Path(tempfile.mkdtemp(prefix="fork-server-"))
    server = ForkServer(folder / "socket", inherited_environment())
    server.__enter__()
    config.stash[FORK_SERVER] = server.path
    config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
    config.add_cleanup(lambda: server.__exit__())


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a process of pytest-xdist where the fork server is."""
    path = node.config.stash.get(FORK_SERVER, None)
    node.workerinput[FORK_SERVER_PATH] = None if path is None else str(path)


def is_setting(name: str) -> bool:
    """True for the environment variable of a setting, or of a field inside one (`FLEET__…`)."""
    return name.upper().partition("__")[0].lower() in Settings.model_fields


@pytest.fixture(scope="session", autouse=True)
def folder_without_dotenv(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Run in an empty folder: settings are read from `.env` of the working directory, too."""
    with contextlib.chdir(tmp_path_factory.mktemp("working-directory")):
        yield


@pytest.fixture(scope="session", autouse=True)
def fork_server(pytestconfig: pytest.Config) -> Iterator[None]:
    """Fork servers, workers and commands from one process that has imported everything, except in tests with `cold`."""
    path = pytestconfig.stash.get(FORK_SERVER, None)
    if path is None:
        yield
        return
    client = ForkClient(path)
    with pytest.MonkeyPatch.context() as patch, contextlib.closing(client):
        patch.setattr(ServerProcess, "start_process", staticmethod(start_process))
        patch.setattr(ForkClient, "shared", client)
        yield


@pytest.fixture
def cold(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each process is started as users start it."""
    monkeypatch.setattr(ForkClient, "shared", None)


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
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server; each test makes its own database in it."""
    programs = find_postgres()
    if programs is None:
        need("initdb", "tests of meetings in PostgreSQL")
    assert programs is not None
    with PostgresServer(programs) as server:
        yield server


@pytest.fixture(scope="session")
def migrated_postgres(postgres: PostgresServer) -> str:
    """Name of a database at the newest version of the schema, to copy."""
    migrate(with_driver(postgres.create("migrated")))
    return "migrated"


@pytest.fixture
def new_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], str]:
    """Make a database without meetings, of the kind `sqlite` or `postgresql`, and return its URL."""

    def make(kind: str) -> str:
        if kind == "sqlite":
            return sqlite_url(tmp_path)
        server: PostgresServer = request.getfixturevalue("postgres")
        template: str = request.getfixturevalue("migrated_postgres")
        return with_driver(server.create(f"t{secrets.token_hex(8)}", template=template))

    return make


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, new_database_url: Callable[[str], str]) -> str:
    """URL of a database without meetings, of each kind."""
    return new_database_url(request.param)


def with_driver(url: str) -> str:
    """The URL as `DATABASE_URL` becomes for SQLAlchemy."""
    return url.replace("postgresql://", "postgresql+asyncpg://")


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """A server that implements S3; each test uses its own prefix in the bucket."""
    from meeting_assistant.testing.servers.s3 import S3Server

    with S3Server() as server:
        yield server


@pytest.fixture(scope="session")
def redis_server() -> str:
    """Path of redis-server."""
    return need("redis-server", "tests of a fleet")


@pytest.fixture(scope="session")
def espeak() -> str:
    """Path of espeak-ng."""
    return need("espeak-ng", "tests make their own speech with it")


@pytest.fixture(scope="session")
def ffmpeg() -> str:
    """Path of ffmpeg."""
    return need("ffmpeg", "tests make files of many formats with it")


@pytest.fixture(scope="session")
def promtool() -> str:
    """Path of promtool, which `make test` unpacks beside the interpreter."""
    beside = Path(sys.executable).with_name("promtool")
    return str(beside) if beside.exists() else need("promtool", "checks of the alert rules")


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of Chromium."""
    return need("chromium", "the web app is tested in a real browser")


@pytest.fixture(scope="session")
def speak(espeak: str) -> Speak:
    """`speak("The budget is approved.")`: that sentence as sound, 16 kHz, -1 to 1."""

    def say(text: str, voice: str = "en-us", *, speed: int = 145, pitch: int = 50) -> Waveform:
        spoken = subprocess.run(
            [espeak, "-v", voice, "-s", str(speed), "-p", str(pitch), "--stdout", text],
            check=True,
            capture_output=True,
        ).stdout
        with wave.open(io.BytesIO(spoken)) as sound:
            rate = sound.getframerate()
            samples = np.frombuffer(sound.readframes(sound.getnframes()), np.int16) / 32768
        at = np.arange(0, len(samples), rate / 16_000)
        padded = np.interp(at, np.arange(len(samples)), samples)
        return np.pad(padded, (4800, 4800)).astype(np.float32)

    return say


@pytest.fixture(scope="session")
def tiny_whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Whisper model that knows a dozen sentences (`scripts/make_tiny_whisper.py`)."""
    folder = tmp_path_factory.mktemp("tiny-whisper")
    with zipfile.ZipFile(TESTS / "fixtures/tiny-whisper.zip") as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture(scope="session")
def excerpt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """23 s of the sample meeting as a WAV file: three voices, two decisions and an action item."""
    from meeting_assistant.adapters.audio.trusted import read_pcm
    from meeting_assistant.demo import demo_audio_path

    path = tmp_path_factory.mktemp("excerpt") / "Planning.wav"
    with wave.open(str(path), "wb") as sound:
        sound.setparams((1, 2, 16_000, 0, "NONE", ""))
        sound.writeframes(read_pcm(demo_audio_path())[int(35.4 * 16_000) * 2 : int(58.2 * 16_000) * 2])
    return path


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """An empty data directory."""
    return tmp_path / "data"


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """`meeting-assistant serve` on a free port, with the embedded engines loaded."""
    env = {"MAX_UPLOAD_BYTES": "5000000", "MAX_SESSIONS": "50", "SHUTDOWN_GRACE_SECONDS": "4"}
    with ServerProcess(tmp_path_factory.mktemp("server") / "data", env) as running:
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
