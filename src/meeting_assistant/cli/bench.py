"""The command `bench`: measures captions and the capacity of this machine."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from meeting_assistant.bench.clips import demo_clip, part
from meeting_assistant.bench.load import figures, run_sessions
from meeting_assistant.launcher import ServerProcess

GOOD_COMMIT_S = 2.0
"""A meeting is kept up with when 95 of 100 words are stable within this time after they were spoken."""
STEPS = (0.5, 0.75, 1.0, 1.25)
"""Tried shares of the planned number of meetings."""


def run_bench(*, seconds: float, is_json: bool) -> None:
    """Measure one meeting, then as many as the server plans for, on a server of its own."""
    console = Console(stderr=is_json, highlight=False)
    with (
        tempfile.TemporaryDirectory(prefix="meeting-assistant-bench-") as folder,
        # The planned number is what is to be tried, so it must not refuse anybody.
        ServerProcess(Path(folder, "data"), {"MAX_SESSIONS": "1000"}) as server,
    ):
        report = asyncio.run(_measure(server, seconds, console))
    if is_json:
        json.dump(report, sys.stdout, indent=2)
        sys.stdout.write("\n")
    else:
        _show(report, console)


async def _measure(server: ServerProcess, seconds: float, console: Console) -> dict[str, Any]:
    clip = demo_clip()
    console.print(f"One meeting, {seconds:.0f} s…", style="dim")
    one = figures(await run_sessions(server.url, [part(clip, seconds=seconds)]))
    planned = (await asyncio.to_thread(server.get, "/api/capacity"))["comfortable"]
    runs = [one]
    held = 1 if _is_held(one) else 0
    for count in sorted({max(2, round(planned * step)) for step in STEPS}):
        console.print(f"{count} meetings, {seconds:.0f} s…", style="dim")
        clips = [part(clip, offset_s=index * 17.0, seconds=seconds) for index in range(count)]
        runs.append(figures(await run_sessions(server.url, clips)))
        if not _is_held(runs[-1]):
            break
        held = count
    engines = (await asyncio.to_thread(server.get, "/health"))["engines"]
    return {"engines": engines, "capacity": held, "planned": planned, "runs": runs}


def _is_held(run: dict[str, Any]) -> bool:
    return bool(run["word_commit"]) and run["word_commit"]["p95"] <= GOOD_COMMIT_S


def _show(report: dict[str, Any], console: Console) -> None:
    table = Table(title=f"Live captions with {report['engines']['asr']}")
    table.add_column("meetings", justify="right")
    for name in ("first caption", "word stable", "utterance done"):
        table.add_column(f"{name}\np50 / p95, s", justify="right")
    table.add_column("CPU s per\naudio s", justify="right")
    table.add_column("word\nerrors", justify="right")
    for run in report["runs"]:
        cells = [_pair(run[key]) for key in ("first_partial", "word_commit", "final")]
        cpu = run["cpu_seconds_per_audio_second"]
        table.add_row(
            str(run["sessions"]), *cells, "n/a" if cpu is None else f"{cpu:.2f}", f"{run['wer_live']:.1%}"
        )
    console.print(table)
    console.print(
        f"This machine holds [bold]{report['capacity']}[/bold] meetings at the same time "
        f"(95 of 100 words stable within {GOOD_COMMIT_S:.0f} s of being spoken)."
    )


def _pair(values: dict[str, float]) -> str:
    return f"{values['p50']:.2f} / {values['p95']:.2f}" if values else "n/a"
