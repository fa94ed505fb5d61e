"""`meeting-assistant` as a command, in an environment of its own."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path
from typing import IO

from meeting_assistant.testing.warm_start import start_process

TIMEOUT_S = 100.0


def run_cli(*arguments: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run it to its end in `cwd`, with data below it and nothing of a developer's own settings."""
    env = {"PATH": os.defpath, "HOME": str(cwd), "DATA_DIR": str(cwd / "data"), **env}
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = start_process(
            "meeting_assistant", *arguments, env=env, cwd=cwd, out=out.fileno(), err=err.fileno()
        )
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
