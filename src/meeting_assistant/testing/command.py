"""`meeting-assistant` as a command, in an environment of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

TIMEOUT_S = 100.0


def run_cli(*arguments: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run it to its end in `cwd`, with data below it and nothing of a developer's own settings."""
    return subprocess.run(
        [sys.executable, "-m", "meeting_assistant", *arguments],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
        cwd=cwd,
        env={"PATH": os.defpath, "HOME": str(cwd), "DATA_DIR": str(cwd / "data"), **env},
    )
