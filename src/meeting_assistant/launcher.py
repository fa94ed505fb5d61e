"""`ServerProcess`: the server as a child process, for `demo`, `bench`, benchmarks and tests."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from http.client import HTTPResponse
from pathlib import Path
from typing import Any, ClassVar, Protocol

from meeting_assistant.net.routes import route_to

START_SECONDS = 60.0
"""How long a server may take to become ready."""


class Process(Protocol):
    """A running process: the part of `subprocess.Popen` that is used here."""

    @property
    def pid(self) -> int:
        """The process id."""
        ...

    @property
    def returncode(self) -> int | None:
        """The exit code, negative for a signal; None until `poll` or `wait` has seen the end."""
        ...

    def poll(self) -> int | None:
        """Return the exit code, or None while it runs."""
        ...

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end and return the exit code. Raises subprocess.TimeoutExpired."""
        ...

    def send_signal(self, sig: int, /) -> None:
        """Send a signal unless the process has ended."""
        ...

    def kill(self) -> None:
        """Send SIGKILL."""
        ...


class StartProcess(Protocol):
    """Starts `python -m module`, or `python -c` with code as the first argument, with empty standard input."""

    def __call__(
        self,
        module: str,
        *arguments: str,
        env: Mapping[str, str],
        cwd: Path | None = None,
        out: int,
        err: int,
    ) -> Process:
        """Start the process; `out` and `err` are file descriptors."""
        ...


def start_process(
    module: str, *arguments: str, env: Mapping[str, str], cwd: Path | None = None, out: int, err: int
) -> Process:
    """Start a new interpreter; implements `StartProcess`."""
    command = [sys.executable, *(["-c"] if module == "-c" else ["-m", module]), *arguments]
    return subprocess.Popen(  # noqa: S603 - our own interpreter and module
        command, env=dict(env), cwd=cwd, stdin=subprocess.DEVNULL, stdout=out, stderr=err
    )


class ServerProcess:
    """Runs `meeting-assistant serve` as a child process; a context manager.

    The system chooses the port unless one is given; the log goes to `log_path`.
    """

    start_process: ClassVar[StartProcess] = staticmethod(start_process)
    """How the process is started; the tests replace it by one that forks instead of importing everything again."""

    def __init__(self, data_dir: Path, env: Mapping[str, str] | None = None, *, port: int = 0) -> None:
        self.data_dir = data_dir
        self._env = dict(env or {})
        self._port = port
        self.log_path = data_dir.parent / f"{data_dir.name}.log"
        self.command: tuple[str, ...] = ("meeting_assistant", "serve")
        """Module and arguments, or `-c` and code, as `StartProcess` takes them; a benchmark may run another server."""
        self.process: Process | None = None
        self.url = ""

    @property
    def ws_url(self) -> str:
        """The address of the server for WebSockets."""
        return self.url.replace("http://", "ws://", 1)

    def __enter__(self) -> ServerProcess:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the server and wait until it is ready. Raises RuntimeError with the end of its log."""
        self.spawn()
        assert self.process is not None
        deadline = time.monotonic() + START_SECONDS
        while not is_ready(self.url):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"The server did not start:\n{self.log_path.read_text()[-4000:]}")
            time.sleep(0.05)

    def spawn(self) -> None:
        """Start the server without waiting."""
        port = self._port or free_port()
        env = {
            **inherited_environment(),
            "HTTP_PORT": str(port),
            "DATA_DIR": str(self.data_dir),
            **self._env,
        }
        self.url = f"http://127.0.0.1:{port}"
        self.data_dir.parent.mkdir(parents=True, exist_ok=True)
        folder = self.data_dir.parent
        with self.log_path.open("ab") as log:
            to = log.fileno()
            self.process = type(self).start_process(*self.command, env=env, cwd=folder, out=to, err=to)

    def stop(self, timeout_s: float = 40.0) -> int | None:
        """Send SIGTERM, wait, and return the exit code. Raises subprocess.TimeoutExpired after killing the server."""
        if self.process is None:
            return None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def kill(self) -> None:
        """Send SIGKILL, as a crash would."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def get(self, path: str) -> Any:
        """Return the JSON at a path."""
        return json.loads(self.get_text(path))

    def get_text(self, path: str) -> str:
        """Return the text at a path."""
        with open_url(self.url + path, timeout_s=30) as answer:
            return str(answer.read().decode())


_INHERITED = {"PATH", "HOME", "LANG", "SYSTEMROOT", "TEMP", "TMP", "TMPDIR", "LD_LIBRARY_PATH", "PYTHONPATH"}
"""Nothing else of the environment reaches the server: a developer's settings must not decide a test."""


def inherited_environment() -> dict[str, str]:
    """Return the part of the environment that a process started for a test sees."""
    return {name: value for name, value in os.environ.items() if name in _INHERITED}


def open_url(request: str | urllib.request.Request, *, timeout_s: float) -> HTTPResponse:
    """Send a request to a server of ours, by the same route as everything else. Raises OSError."""
    address = request if isinstance(request, str) else request.full_url
    is_direct = route_to(address).proxy is None
    opener = urllib.request.build_opener(*([urllib.request.ProxyHandler({})] if is_direct else []))
    answer: HTTPResponse = opener.open(request, timeout=timeout_s)
    return answer


def is_ready(url: str) -> bool:
    """Return True when the server at `url` accepts meetings."""
    try:
        with open_url(f"{url}/ready", timeout_s=5) as answer:
            return bool(json.load(answer)["ready"])
    except (OSError, ValueError, KeyError):
        return False


def free_port() -> int:
    """Return a port that is free now."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
