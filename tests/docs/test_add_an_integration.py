"""The walk-through of `docs/how-to/add-an-integration.md` works as it is written."""

from __future__ import annotations

import re
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

from meeting_assistant.launcher import ServerProcess
from meeting_assistant.testing.harness.command import run_cli
from meeting_assistant.testing.harness.meetings import MeetingFixture, seed
from meeting_assistant.testing.harness.outbox import BEGAN_MS, LINES, MINUTES

PAGE = (Path(__file__).parents[2] / "docs/how-to/add-an-integration.md").read_text(encoding="utf-8")


def install(folder: Path) -> Path:
    """The page's package, built and installed as any other. Returns the folder that it went to."""
    code = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)
    entry = re.search(r'\[project\.entry-points\."(.*?)"\]\n(\w+ = )"(.*?)"', PAGE)
    assert code is not None
    assert entry is not None
    wheel, about = folder / "my_package-1.0-py3-none-any.whl", "my_package-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as files:
        files.writestr("my_package/__init__.py", "")
        files.writestr("my_package/diary.py", code[1])
        files.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n")
        files.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        files.writestr(f"{about}/entry_points.txt", f"[{entry[1]}]\n{entry[2]}{entry[3]}\n")
        files.writestr(f"{about}/RECORD", "")
    site = folder / "site"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
    subprocess.run([*command, "--target", str(site), str(wheel)], check=True)
    return site


def test_the_integration_of_the_page_is_installed_tested_and_delivers(tmp_path: Path) -> None:
    diary = tmp_path / "diary.txt"
    env = {
        "PYTHONPATH": str(install(tmp_path)),
        "WORKFLOWS__DIARY__FILE": str(diary),
        "WORKFLOW_AUTO_APPROVE": "diary",
    }
    proved = run_cli("workflows", "test", "diary", cwd=tmp_path, **env)
    assert proved.stdout == f"{diary} is where lines will go.\n", proved.stderr
    missing = run_cli("workflows", "test", "diary", cwd=tmp_path, **{**env, "PYTHONPATH": ""})
    assert "diary, which is not an integration" in missing.stderr

    fixture = MeetingFixture(LINES, title="Weekly", minutes=MINUTES, more={"created_at_ms": BEGAN_MS})
    (meeting_id,) = seed(tmp_path / "data", fixture)
    with ServerProcess(tmp_path / "data", env) as server:
        done: list[dict[str, Any]] = []
        while not done:
            time.sleep(0.05)
            done = server.get("/api/deliveries?state=done")
        (delivery,) = done
        assert (delivery["meeting_id"], delivery["receipt"]["reference"]) == (meeting_id, "diary.txt")
    line = diary.read_text()
    assert line.startswith("2026-11-24 Weekly: http://")
    assert line.count(delivery["id"]) == 1
