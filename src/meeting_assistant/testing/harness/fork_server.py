"""A fork server for tests: processes that have imported everything when they start, on Linux.

Importing takes most of the processor time of a start, and a run of the tests starts hundreds of servers, workers and
commands. One process imports once and forks for each that a test asks for; the child gets its environment, its folder
and its output, and runs the module as `python -m` does. Nothing lives in the process that forks: no thread, no event
loop. All processes of a parallel run share one fork server, found by the path of its socket.

python -m meeting_assistant.testing.harness.fork_server PATH      forks until its standard input ends
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import pkgutil
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar

from meeting_assistant import launcher
from meeting_assistant.launcher import Process

PRODUCT = ("meeting_assistant.app", "meeting_assistant.cli", "meeting_assistant.adapters")
LIBRARIES = ("av", "dateparser", "alembic.command", "sqlalchemy.dialects.sqlite.aiosqlite")
"""What a server imports while it starts; without onnxruntime, which starts a thread when it is imported and waits for
that thread at the end: a fork has no such thread, and aborts."""
IS_SUPPORTED = hasattr(os, "pidfd_open")
"""True on Linux."""
_MAX_BYTES = 100_000
_CONNECT_S = 60.0


class ForkServer:
    """The process that forks; a context manager of the process that runs the tests or distributes them."""

    def __init__(self, path: Path, env: Mapping[str, str]) -> None:
        """`path` becomes its socket; `env` is its environment."""
        self.path = path
        self._env = dict(env)
        self._exit = ExitStack()

    def __enter__(self) -> ForkServer:
        command = [sys.executable, "-m", __name__, str(self.path)]
        process = subprocess.Popen(command, env=self._env, stdin=subprocess.PIPE)
        self._exit.callback(process.wait)
        assert process.stdin is not None
        self._exit.callback(process.stdin.close)
        return self

    def __exit__(self, *_: object) -> None:
        self._exit.close()


class ForkClient:
    """A connection to the fork server. Safe to use from several threads."""

    shared: ClassVar[ForkClient | None] = None
    """The client that `start_process` uses; None starts each process without the fork server."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._socket: socket.socket | None = None
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the connection; processes that were started go on."""
        if self._socket is not None:
            self._socket.close()

    def start(
        self, module: str, arguments: Sequence[str], *, env: Mapping[str, str], cwd: Path, out: int, err: int
    ) -> ForkedProcess:
        """Start `python -m module` with these arguments; `out` and `err` are file descriptors."""
        request = {"module": module, "arguments": list(arguments), "env": dict(env), "cwd": str(cwd)}
        return ForkedProcess(self, self.ask(request, [out, err])["pid"])

    def ask(self, request: Mapping[str, Any], files: Sequence[int] = ()) -> Any:
        """Send one message and return the answer to it."""
        with self._lock:
            if self._socket is None:
                self._socket = self._connect()
            socket.send_fds(self._socket, [json.dumps(request).encode()], files)
            return json.loads(self._socket.recv(_MAX_BYTES))

    def _connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        deadline = time.monotonic() + _CONNECT_S
        while True:
            try:
                connection.connect(str(self._path))
            except (FileNotFoundError, ConnectionRefusedError):  # it is still importing
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
            else:
                return connection


class ForkedProcess:
    """A process of the fork server; as much of `subprocess.Popen` as tests use."""

    def __init__(self, client: ForkClient, pid: int) -> None:
        self._client = client
        self.pid = pid
        self.returncode: int | None = None
        self._pidfd = os.pidfd_open(pid)

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal; None while it runs."""
        if self.returncode is None:
            status = self._client.ask({"poll": self.pid})["status"]
            if status is not None:
                self.returncode = os.waitstatus_to_exitcode(status)
                os.close(self._pidfd)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end and return the exit code. Raises subprocess.TimeoutExpired."""
        if self.returncode is None and not select.select([self._pidfd], [], [], timeout)[0]:
            assert timeout is not None
            raise subprocess.TimeoutExpired("python -m", timeout)
        code = self.poll()
        assert code is not None
        return code

    def send_signal(self, sig: int, /) -> None:
        """Send a signal unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, sig)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)


def start_process(
    module: str, *arguments: str, env: Mapping[str, str], cwd: Path | None = None, out: int, err: int
) -> Process:
    """A `launcher.StartProcess`: forked where tests have prepared that, a new interpreter otherwise."""
    client = ForkClient.shared
    if client is not None and not env.get("PYTHONPATH"):  # which is read when Python starts
        return client.start(module, arguments, env=env, cwd=cwd or Path.cwd(), out=out, err=err)
    return launcher.start_process(module, *arguments, env=env, cwd=cwd, out=out, err=err)


# --- the process that forks -------------------------------------------------------------------------------


def main() -> None:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(sys.argv[1])
    listener.listen()
    if sys.stdin in select.select([sys.stdin, listener], [], [])[0]:
        return
    # Only now that a test needs it: a run of unit tests alone does not wait for the imports.
    for name in PRODUCT:
        _import_all(name)
    for name in LIBRARIES:
        importlib.import_module(name)
    gc.freeze()  # else the first collection in a child would copy every page
    ended: dict[int, int] = {}
    clients: list[socket.socket] = []
    while sys.stdin not in (ready := select.select([sys.stdin, listener, *clients], [], [])[0]):
        if listener in ready:
            clients.append(listener.accept()[0])
        for client in [client for client in clients if client in ready]:
            message, files, _, _ = socket.recv_fds(client, _MAX_BYTES, 2)
            if not message:
                clients.remove(client)
                client.close()
                continue
            request = json.loads(message)
            if "poll" in request:
                answer: dict[str, Any] = {"status": _status(request["poll"], ended)}
            else:
                pid = os.fork()
                if pid == 0:
                    for inherited in (listener, *clients):
                        inherited.close()
                    _become(request, files)
                    return
                for file in files:
                    os.close(file)
                answer = {"pid": pid}
            client.send(json.dumps(answer).encode())


def _import_all(name: str) -> None:
    module = importlib.import_module(name)
    for found in pkgutil.walk_packages(getattr(module, "__path__", []), f"{name}."):
        if "migrations.versions" not in found.name and not found.name.endswith((".env", ".decode_child")):
            importlib.import_module(found.name)


def _status(pid: int, ended: dict[int, int]) -> int | None:
    if pid not in ended:
        gone, status = os.waitpid(pid, os.WNOHANG)
        if gone == 0:
            return None
        ended[pid] = status
    return ended[pid]


def _become(request: dict[str, Any], files: Sequence[int]) -> None:
    """Run the module in the child, from here to the end of the process."""
    nowhere = os.open(os.devnull, os.O_RDONLY)
    for old, new in ((nowhere, 0), (files[0], 1), (files[1], 2)):
        os.dup2(old, new)
        os.close(old)
    os.environ.clear()
    os.environ.update(request["env"])
    time.tzset()
    os.chdir(request["cwd"])
    module, arguments = request["module"], request["arguments"]
    if module == "-c":
        sys.argv = ["-c", *arguments[1:]]
        exec(compile(arguments[0], "<string>", "exec"), {"__name__": "__main__"})
    else:
        sys.argv = [module, *arguments]
        runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
