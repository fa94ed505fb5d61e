"""`meeting-assistant` as a command, in an environment of its own."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from meeting_assistant.launcher import inherited_environment
from meeting_assistant.testing.harness.fork_server import start_process

TIMEOUT_S = 100.0


def run_cli(*arguments: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run it to its end in `cwd`, with data below it and nothing of a developer's own settings."""
    env = {"PATH": os.defpath, "HOME": str(cwd), "DATA_DIR": str(cwd / "data"), **env}
    return _run("meeting_assistant", *arguments, cwd=cwd, env=env)


def run_code(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A small program of a test's own, to its end."""
    return _run("-c", code, *arguments, cwd=None, env=inherited_environment())


def _run(
    module: str, *arguments: str, cwd: Path | None, env: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = start_process(module, *arguments, env=env, cwd=cwd, out=out.fileno(), err=err.fileno())
        try:
            code = process.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        return subprocess.CompletedProcess(arguments, code, _text(out), _text(err))


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()
