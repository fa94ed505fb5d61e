"""Live captions under load: paced sessions against a real server, and the figures that come of them.

    python benchmarks/live.py                      one meeting, then more until captions are late
    python benchmarks/live.py --sessions 8         that many
    python benchmarks/live.py --overload           three times as many as fit, for a minute
    python benchmarks/live.py --level 3            one meeting that nobody watches, the ladder held at a level
    python benchmarks/live.py sound/*.flac         and sound of one's own, each file with its NAME.turns.json

Writes `benchmarks/results/live-DATE.json` and a plot beside it. Definitions: `benchmarks/README.md`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

from meeting_assistant import __version__
from meeting_assistant.bench.clips import demo_clip, part, read_clip
from meeting_assistant.bench.load import Run, figures, run_sessions
from meeting_assistant.bench.offline import transcribe_as_file
from meeting_assistant.bench.timeline import Clip
from meeting_assistant.bench.words import align, bootstrap_interval, count_doubled, count_lost
from meeting_assistant.launcher import ServerProcess
from plot import bars

RESULTS = Path(__file__).parent / "results"
GOOD_COMMIT_S = 2.0
GOOD_WER_LOSS = 0.005
STEPS = (4, 8, 10, 12, 14, 16, 20, 24, 32)
OFFSET_S = 23.0
"""Each further meeting begins so much later in the sound: people in different rooms do not pause together."""


def main() -> None:
    """See above."""
    options = _options()
    clips = [demo_clip(), *(read_clip(path) for path in options.sound)]
    report = asyncio.run(_measure(options, clips))
    RESULTS.mkdir(exist_ok=True)
    target = RESULTS / f"live-{date.today()}{options.name and '-' + options.name}.json"
    target.write_text(json.dumps(report, indent=1) + "\n")
    target.with_suffix(".svg").write_text(bars(report["runs"]))
    print(json.dumps({key: value for key, value in report.items() if key != "runs"}, indent=1))
    print(f"wrote {target}")


async def _measure(options: argparse.Namespace, clips: Sequence[Clip]) -> dict[str, Any]:
    with _server(options.level) as server:
        about = await asyncio.to_thread(server.get, "/health")
        offline = {clip.name: await transcribe_as_file(server.url, clip) for clip in clips}
        meetings = partial(_meetings, clips, seconds=options.seconds)
        if options.level is not None:
            runs = [await _one(server, meetings(1), offline, start={"captions": False})]
        elif options.overload:
            runs = [await _one(server, meetings(3 * options.overload), offline)]
        else:
            runs = []
            for count in options.sessions or (1, *STEPS):
                runs.append(await _one(server, meetings(count), offline))
                if not options.sessions and not _is_held(runs[-1]):
                    break
    held = [run["sessions"] for run in runs if _is_held(run)]
    first = {
        key: runs[0][key]
        for key in (
            "cpu_seconds_per_audio_second",
            "first_partial",
            "word_commit",
            "final",
            "wer_live",
            "wer_offline",
        )
    }
    return {
        "command": " ".join(["python", *sys.argv]),
        "version": __version__,
        "commit": _commit(),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
        "engines": about["engines"],
        "capacity": max(held, default=0),
        **first,
        "file_speed": round(
            sum(clip.seconds for clip in clips) / sum(seconds for _, seconds in offline.values()), 1
        ),
        "runs": runs,
    }


def _meetings(clips: Sequence[Clip], count: int, seconds: float) -> list[Clip]:
    return [
        part(clips[index % len(clips)], offset_s=index // len(clips) * OFFSET_S, seconds=seconds)
        for index in range(count)
    ]


async def _one(
    server: ServerProcess,
    meetings: Sequence[Clip],
    offline: dict[str, tuple[list[str], float]],
    start: dict[str, object] | None = None,
) -> dict[str, Any]:
    print(f"{len(meetings)} meetings, {meetings[0].seconds:.0f} s", file=sys.stderr)
    run = await run_sessions(server.url, meetings, start=start)
    return {**figures(run), **await _against_offline(server.url, run)}


async def _against_offline(url: str, run: Run) -> dict[str, Any]:
    """Word errors of the same sound as a file; what was heard there and is missing or doubled live."""
    errors_live, errors_file, lengths, lost, doubled = [], [], [], 0, 0
    files: dict[int, list[str]] = {}
    for line in run.timelines:
        key = hash(line.clip.pcm)
        if key not in files:
            files[key] = (await transcribe_as_file(url, line.clip))[0]
        live, file = line.alignment(), align(line.reference, files[key])
        errors_live.append(live.errors)
        errors_file.append(file.errors)
        lengths.append(len(line.reference))
        lost += count_lost(line.reference, live, file)
        doubled += count_doubled(line.reference, line.hypothesis, live)
    low, high = bootstrap_interval(errors_live, lengths)
    return {
        "wer_live_interval": [round(low, 4), round(high, 4)],
        "wer_offline": round(sum(errors_file) / sum(lengths), 4),
        "lost_words": lost,
        "doubled_words": doubled,
    }


def _is_held(run: dict[str, Any]) -> bool:
    return bool(
        run["word_commit"]
        and run["word_commit"]["p95"] <= GOOD_COMMIT_S
        and run["lost_words"] == 0
        and run["wer_live"] <= run["wer_offline"] + GOOD_WER_LOSS
    )


@contextlib.contextmanager
def _server(level: int | None) -> Iterator[ServerProcess]:
    env = {"MAX_SESSIONS": "1000"}
    with tempfile.TemporaryDirectory(prefix="meeting-assistant-live-") as folder:
        server = ServerProcess(Path(folder, "data"), env)
        if level is not None:
            server.command = ("-c", Path(__file__).with_name("pinned_level.py").read_text(), str(level))
        with server:
            yield server


def _commit() -> str:
    git = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return git.stdout.strip()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sound", nargs="*", type=Path, help="files with NAME.turns.json beside them")
    parser.add_argument("--sessions", type=int, nargs="+")
    parser.add_argument("--seconds", type=float, default=90.0)
    parser.add_argument("--overload", type=int, metavar="CAPACITY", help="run three times as many")
    parser.add_argument("--level", type=int, choices=range(5))
    parser.add_argument("--name", default="", help="goes into the names of the results")
    return parser.parse_args()


if __name__ == "__main__":
    main()
