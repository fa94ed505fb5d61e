"""The command `transcribe`: a transcript with minutes of a file, by the pipeline of the server."""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
from pathlib import Path
from typing import get_args

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from meeting_assistant.app import new_context, start, stop
from meeting_assistant.bootstrap import build
from meeting_assistant.cli.local_zone import LocalZone
from meeting_assistant.config import Settings, load_settings
from meeting_assistant.domain.errors import InputError, MeetingAssistantError
from meeting_assistant.domain.events import MeetingFinished, StatusChanged
from meeting_assistant.domain.meeting import MeetingOptions, MeetingState, StageError
from meeting_assistant.domain.meeting_start import FileOrigin
from meeting_assistant.observability import configure_logging
from meeting_assistant.services.events.meeting_channel import Watcher
from meeting_assistant.services.meetings.exports import ExportedFile, ExportFormat
from meeting_assistant.services.meetings.file_reading import FILE_IS_KEPT, RETRY_WITH_KEPT_FILE


def transcribe_file(file: Path, *, fmt: str, output: Path | None, options: MeetingOptions) -> None:
    """Transcribe a file; nothing is stored but the output. Raises InputError, AudioFormatError."""
    if fmt not in get_args(ExportFormat):
        raise InputError(
            f"The format {fmt!r} is unknown.", f"Use one of: {', '.join(get_args(ExportFormat))}."
        )
    if not file.is_file():
        raise InputError(f"The file {file} does not exist.", "Check the path.")
    settings = load_settings()
    configure_logging("warning", "console")
    with tempfile.TemporaryDirectory(prefix="meeting-assistant-") as folder:
        scratch = settings.model_copy(update={"data_dir": Path(folder)})
        link = Path(folder) / "recording"
        try:
            link.symlink_to(file.resolve())
        except OSError:  # Windows lets only some users make links
            shutil.copyfile(file, link)
        named = options.model_copy(update={"title": options.title or file.stem})
        origin = FileOrigin(LocalZone(), int(file.stat().st_mtime * 1000))
        exported, errors = asyncio.run(_transcribe(link, scratch, fmt, named, origin))
    if output is None:
        sys.stdout.write(exported.text)
    else:
        output.write_text(exported.text, encoding="utf-8")
    for error in errors:  # after the output: what could be transcribed is worth having
        raise error_of_local_file(error)


def error_of_local_file(error: StageError) -> MeetingAssistantError:
    """Return the error without what it says of a server, which keeps a file that was sent and its meeting."""
    remedy = error.remedy.replace(FILE_IS_KEPT, "The file itself was only read, and is unchanged.")
    remedy = remedy.replace(RETRY_WITH_KEPT_FILE, "Then run the command again.")
    return MeetingAssistantError(error.message, remedy, code=error.code)


async def _transcribe(
    file: Path, settings: Settings, fmt: str, options: MeetingOptions, origin: FileOrigin
) -> tuple[ExportedFile, list[StageError]]:
    """Return the transcript, and what of the file is not in it. Raises MeetingAssistantError when it failed."""
    services = build(settings)
    context = new_context(services)
    running = await start(services, context)
    try:
        meeting = await services.meetings.uploads.take(file, options, origin)
        channel = await services.storage.channels.get(meeting.id)
        showing = asyncio.create_task(_show_progress(await channel.join(services.storage.store, 0)))
        while not (await asyncio.wait({showing}, timeout=1.0))[0]:
            meeting = await services.storage.store.get(meeting.id)
            if meeting.state is MeetingState.FAILED:  # which no event announces
                showing.cancel()
                await asyncio.gather(showing, return_exceptions=True)
                break
        for error in meeting.errors if showing.cancelled() else []:
            raise error_of_local_file(error)
        return await services.meetings.service.export(meeting.id, fmt), showing.result().errors
    finally:
        await stop(services, context, running)


async def _show_progress(watcher: Watcher) -> MeetingFinished:
    """Show a progress bar on standard error until `final`."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("Loading engines", total=1.0)
        async for event in watcher:
            if isinstance(event.body, MeetingFinished):
                return event.body
            if isinstance(event.body, StatusChanged):
                bar.update(task, description=event.body.status, completed=event.body.progress or 0.0)
    raise MeetingAssistantError("The transcription was interrupted.", "Try again.")
