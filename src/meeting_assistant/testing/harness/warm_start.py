"""Processes for tests that have imported everything when they start, on systems that can fork.

Importing takes most of the processor time of a start, and a run of the tests starts hundreds of servers, workers and
commands. A process of its own imports once and forks for each that is asked for: the child gets its environment, its
folder, its output, and runs the module as `python -m` does. Nothing lives in the process that forks: no thread, no
event loop.

python -m meeting_assistant.testing.harness.warm_start NUMBER      forks; NUMBER is its end of a socket
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
from pathlib import Path
from typing import Any, ClassVar

from meeting_assistant import launcher
from meeting_assistant.launcher import Process

FIRST = ("meeting_assistant.app", "meeting_assistant.cli", "meeting_assistant.adapters")
LATER = ("av", "dateparser", "alembic.command", "sqlalchemy.dialects.sqlite.aiosqlite")
"""What a server imports while it starts; without onnxruntime, which starts a thread when it is imported and waits for
that thread at the end: a fork has no such thread, and aborts."""
CAN_WARM = hasattr(os, "pidfd_open")
"""On Linux."""
_MOST_BYTES = 100_000


class WarmStart:
    """Starts processes; a context manager. The process that forks is there from the first one on."""

    shared: ClassVar[WarmStart | None] = None
    """Set by tests that start many; without it, `start_process` starts each anew."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = dict(env)
        self._parent: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._one_question = threading.Lock()

    def __enter__(self) -> WarmStart:
        return self

    def __exit__(self, *_: object) -> None:
        if self._parent is not None:
            assert self._socket is not None
            self._socket.close()
            self._parent.wait()

    def start(
        self, module: str, arguments: Sequence[str], *, env: Mapping[str, str], cwd: Path, out: int, err: int
    ) -> WarmChild:
        """`python -m module` with these arguments, its output and errors to these file descriptors."""
        request = {"module": module, "arguments": list(arguments), "env": dict(env), "cwd": str(cwd)}
        return WarmChild(self, self.ask(request, [out, err])["pid"])

    def ask(self, request: Mapping[str, Any], files: Sequence[int] = ()) -> Any:
        """One message there, one back."""
        with self._one_question:
            if self._socket is None:
                self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                with theirs:
                    command = [sys.executable, "-m", __name__, str(theirs.fileno())]
                    self._parent = subprocess.Popen(command, env=self._env, pass_fds=[theirs.fileno()])
            socket.send_fds(self._socket, [json.dumps(request).encode()], files)
            return json.loads(self._socket.recv(_MOST_BYTES))


class WarmChild:
    """One process; as much of `subprocess.Popen` as tests use."""

    def __init__(self, warm: WarmStart, pid: int) -> None:
        self._warm = warm
        self.pid = pid
        self.returncode: int | None = None
        self._end = os.pidfd_open(pid)

    def poll(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""
        if self.returncode is None:
            status = self._warm.ask({"poll": self.pid})["status"]
            if status is not None:
                self.returncode = os.waitstatus_to_exitcode(status)
                os.close(self._end)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Raises subprocess.TimeoutExpired."""
        if self.returncode is None and not select.select([self._end], [], [], timeout)[0]:
            assert timeout is not None
            raise subprocess.TimeoutExpired("python -m", timeout)
        code = self.poll()
        assert code is not None
        return code

    def send_signal(self, sig: int, /) -> None:
        """Unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, sig)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)


def start_process(
    module: str, *arguments: str, env: Mapping[str, str], cwd: Path | None = None, out: int, err: int
) -> Process:
    """A `launcher.StartProcess`: warm where tests have prepared that, cold otherwise."""
    warm = WarmStart.shared
    if warm is not None and not env.get("PYTHONPATH"):  # which is read when Python starts
        return warm.start(module, arguments, env=env, cwd=cwd or Path.cwd(), out=out, err=err)
    return launcher.start_process(module, *arguments, env=env, cwd=cwd, out=out, err=err)


# --- the process that forks -------------------------------------------------------------------------------


def main() -> None:
    for name in FIRST:
        _import_all(name)
    for name in LATER:
        importlib.import_module(name)
    gc.freeze()  # else the first collection in a child would copy every page
    ended: dict[int, int] = {}
    asked = socket.socket(fileno=int(sys.argv[1]))
    while True:
        line, files, _, _ = socket.recv_fds(asked, _MOST_BYTES, 2)
        if not line:
            return
        request = json.loads(line)
        if "poll" in request:
            answer: dict[str, Any] = {"status": _status(request["poll"], ended)}
        else:
            pid = os.fork()
            if pid == 0:
                asked.close()
                _become(request, files)
                return
            for file in files:
                os.close(file)
            answer = {"pid": pid}
        asked.send(json.dumps(answer).encode())


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
    """In the child: the module, from here to the end of the process."""
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
