"""The command `demo`: streams the sample meeting over the WebSocket, and shows captions and minutes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.text import Text

from meeting_assistant.client import LiveClient, Message, paced
from meeting_assistant.config import load_settings
from meeting_assistant.demo import DemoMeeting, demo_audio_path, load_demo
from meeting_assistant.domain.minutes import ActionItem, Item, Minutes
from meeting_assistant.domain.transcript import Transcript
from meeting_assistant.launcher import ServerProcess, is_ready
from meeting_assistant.services.meetings.exports import clock


def run_demo(*, is_fast: bool, is_json: bool, url: str | None, token: str | None = None) -> None:
    """Print captions as they arrive and the minutes at the end; with `--json`, one document instead."""
    demo = load_demo()
    console = Console(stderr=is_json, highlight=False)
    with server_for_demo(url, console) as address:
        final = asyncio.run(_stream(demo, address, console, is_fast=is_fast, is_quiet=is_json, token=token))
    if is_json:
        document = {key: final[key] for key in ("meeting", "transcript", "minutes", "coverage", "errors")}
        json.dump(document, sys.stdout, indent=2)
        sys.stdout.write("\n")
    else:
        print_minutes(final, console)


@contextlib.contextmanager
def server_for_demo(url: str | None, console: Console) -> Iterator[str]:
    """Yield the named server, the running one, or a new one with a temporary data directory."""
    settings = load_settings()
    wanted = (url or f"http://{settings.http_host}:{settings.http_port}").rstrip("/")
    if url is not None or is_ready(wanted):
        console.print(f"Using the server at {wanted}.", style="dim")
        yield wanted
        return
    console.print("No server runs; starting one for the demo…", style="dim")
    with (
        tempfile.TemporaryDirectory(prefix="meeting-assistant-demo-") as folder,
        ServerProcess(Path(folder, "data")) as server,
    ):
        yield server.url


async def _stream(
    demo: DemoMeeting, url: str, console: Console, *, is_fast: bool, is_quiet: bool, token: str | None
) -> Message:
    pcm = await asyncio.to_thread(read_demo_pcm)
    captions = _Captions(console, is_quiet=is_quiet)
    client = LiveClient(
        url.replace("http", "ws", 1),
        on_message=captions.show,
        token=token,
        start={"title": demo.title, "attendees": demo.attendees, "language": demo.language},
    )
    with captions:
        return await client.stream(paced(pcm, is_fast=is_fast))


def read_demo_pcm() -> bytes:
    """Return canonical PCM of the sample meeting."""
    from meeting_assistant.adapters.audio.trusted import read_pcm

    return read_pcm(demo_audio_path())


class _Captions:
    """Shows captions: finished utterances scroll, the open one is redrawn below, its unstable tail dim."""

    def __init__(self, console: Console, *, is_quiet: bool) -> None:
        self._console = console
        self._is_quiet = is_quiet
        self._live = Live(console=console, refresh_per_second=12, transient=True)

    def __enter__(self) -> _Captions:
        if not self._is_quiet and self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, message: Message) -> None:
        if self._is_quiet:
            return
        match message["type"]:
            case "partial_transcript":
                line = Text(f"{clock(message['start_ms'])}  ", style="dim")
                line.append(message["stable"] + " ", style="default")
                line.append(message["unstable"], style="dim italic")
                self._live.update(line)
            case "transcript":
                self._live.update(Text(""))
                line = Text(f"{clock(message['start_ms'])}  ", style="dim")
                line.append(f"{_speaker(message['speaker'])}  ", style="cyan")
                line.append(message["text"])
                self._console.print(line)
            case "status" if message["status"] not in ("Listening", "Done"):
                self._live.update(Text(f"{message['status']}…", style="dim"))
            case "error":
                self._console.print(Text(f"{message['message']} {message['remedy']}", style="red"))


def _speaker(label: str | None) -> str:
    return label or "?"


def print_minutes(final: Message, console: Console) -> None:
    """Print the minutes of a `final`, each item with the moment at which it was said."""
    minutes = Minutes.model_validate(final["minutes"])
    transcript = Transcript.model_validate(final["transcript"])
    starts = {utterance.utterance: utterance.start_ms for utterance in transcript.utterances}
    sections: list[tuple[str, list[Any]]] = [
        ("Summary", minutes.summary),
        ("Decisions", minutes.decisions),
        ("Action items", minutes.action_items),
        ("Open questions", minutes.open_questions),
        ("Risks", minutes.risks),
        ("Possible follow-ups", minutes.possible_follow_ups),
    ]
    for heading, items in sections:
        if items:
            console.print(f"\n[bold]{heading}[/bold]")
        for item in items:
            console.print(_item_line(item, starts, transcript))
    coverage = final["coverage"]
    seconds = coverage["captured_s"]
    console.print(
        f"\n{seconds:.0f} s captured, {coverage['transcribed_s']:.0f} s transcribed, "
        f"{len(transcript.utterances)} utterances, minutes by {minutes.provenance.provider}.",
        style="dim",
    )


def _item_line(item: Item, starts: dict[int, int], transcript: Transcript) -> Text:
    line = Text("  • ")
    line.append(item.text)
    if isinstance(item, ActionItem):
        owner = transcript.speaker_name(item.owner) if item.owner else None
        details = ", ".join(part for part in (owner, item.due_phrase) if part)
        if details:
            line.append(f"  ({details})", style="cyan")
    moments = ", ".join(clock(starts[e.utterance]) for e in item.evidence if e.utterance in starts)
    line.append(f"  [{moments}]", style="dim")
    return line
