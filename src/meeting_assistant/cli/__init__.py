"""The command line: `meeting-assistant serve | transcribe | demo | bench | doctor | keys | backup | …`."""

from __future__ import annotations

import os
import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from meeting_assistant import __version__
from meeting_assistant.domain.errors import MeetingAssistantError
from meeting_assistant.domain.meeting import MeetingOptions
from meeting_assistant.domain.workflows import DeliveryState

app = typer.Typer(
    name="meeting-assistant",
    help="A self-hosted, private, real-time meeting assistant.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def main() -> None:
    """Run the command line. An expected error prints one sentence without a traceback, and exits with 1."""
    # Nothing that this program makes is for other users: databases, recordings, backups, exports, temporary files.
    os.umask(0o077)
    try:
        app()
    except MeetingAssistantError as error:
        typer.echo(f"meeting-assistant: {error}", err=True)
        sys.exit(1)


@app.command()
def serve() -> None:
    """Run the server and the web app (HTTP_HOST, HTTP_PORT, DATA_DIR and others: see `settings`)."""
    from meeting_assistant.cli.serve import run_server

    sys.exit(run_server())


@app.command()
def worker(
    metrics_port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="Serve Prometheus figures at HTTP_HOST and this port."),
    ] = None,
) -> None:
    """Recognise speech for a fleet, until SIGTERM (ORCHESTRATOR_BACKEND=redis, REDIS_URL, FLEET__SECRET)."""
    from meeting_assistant.cli.serve import run_fleet_worker

    sys.exit(run_fleet_worker(metrics_port=metrics_port))


@app.command()
def transcribe(
    file: Annotated[Path, typer.Argument(help="Any common audio or video file.")],
    fmt: Annotated[str, typer.Option("--format", "-f", help="srt, vtt, md, json or txt.")] = "txt",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write here, not to standard output.")
    ] = None,
    title: Annotated[str, typer.Option(help="Title of the meeting.")] = "",
    began_at: Annotated[
        datetime | None,
        typer.Option(
            formats=[
                "%Y-%m-%d",
                "%Y-%m-%dT%H:%M",
                "%Y-%m-%dT%H:%M:%S",
                "%Y-%m-%dT%H:%M%z",
                "%Y-%m-%dT%H:%M:%S%z",
            ],
            help="When it began; else the file's metadata say it, or its own time. Due dates are resolved against it.",
        ),
    ] = None,
) -> None:
    """Transcribe a recording and write its minutes, without a server."""
    from meeting_assistant.cli.transcribe import transcribe_file

    transcribe_file(file, fmt=fmt, output=output, options=MeetingOptions(title=title, began_at=began_at))


@app.command()
def demo(
    is_fast: Annotated[
        bool, typer.Option("--fast", help="As fast as the engine can, not at the pace of speech.")
    ] = False,
    is_json: Annotated[bool, typer.Option("--json", help="Print one JSON document at the end.")] = False,
    url: Annotated[
        str | None, typer.Option(help="Of a running server; by default one is found or started.")
    ] = None,
    api_token: Annotated[str | None, typer.Option("--token", help="If that server asks for one.")] = None,
) -> None:
    """Stream the sample meeting through a server and show its captions and minutes."""
    from meeting_assistant.cli.demo import run_demo

    run_demo(is_fast=is_fast, is_json=is_json, url=url, token=api_token)


@app.command()
def bench(
    seconds: Annotated[float, typer.Option(min=15, max=600, help="Of speech in each run.")] = 40.0,
    is_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Measure live captions on this machine, and say how many meetings it holds."""
    from meeting_assistant.cli.bench import run_bench

    run_bench(seconds=seconds, is_json=is_json)


@app.command()
def doctor(
    is_json: Annotated[bool, typer.Option("--json", help="Print the checks as JSON.")] = False,
) -> None:
    """Prove the installation: engines, database, journal, language models."""
    from meeting_assistant.cli.doctor import run_doctor

    sys.exit(run_doctor(is_json=is_json))


@app.command()
def keygen() -> None:
    """Print a new key for AUDIO_ENCRYPTION_KEY."""
    from meeting_assistant.cli.keys import print_new_key

    print_new_key()


@app.command()
def token(
    name: Annotated[str, typer.Argument(help="Whose meetings it will record.")],
    scopes: Annotated[str, typer.Option(help="record, read, admin; joined by +.")] = "record+read",
) -> None:
    """Make an API token, and the entry for API_TOKENS, which holds only its digest."""
    from meeting_assistant.cli.keys import print_new_token

    print_new_token(name, scopes)


keys = typer.Typer(help="Which key opens which recording, and changing keys.", no_args_is_help=True)
app.add_typer(keys, name="keys")


@keys.command()
def status(is_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False) -> None:
    """Count recordings by the key that they need; exit code 1 when one of them is missing."""
    from meeting_assistant.cli.keys import show_key_status

    sys.exit(show_key_status(is_json=is_json))


@keys.command()
def rotate() -> None:
    """Move every recording to the first key of AUDIO_ENCRYPTION_KEY; can be interrupted and run again."""
    from meeting_assistant.cli.keys import rotate_keys

    sys.exit(rotate_keys())


workflows = typer.Typer(help="What follows from meetings: integrations and deliveries.", no_args_is_help=True)
app.add_typer(workflows, name="workflows")


@workflows.command("list")
def list_workflows() -> None:
    """Show which integrations are configured."""
    from meeting_assistant.cli.workflows import list_integrations

    list_integrations()


@workflows.command("test")
def test_workflow(name: Annotated[str, typer.Argument(help="As in `workflows list`.")]) -> None:
    """Prove that an integration works: a line in a channel, a look at a project."""
    from meeting_assistant.cli.workflows import test_integration

    test_integration(name)


@workflows.command("deliveries")
def list_deliveries(
    state: Annotated[list[DeliveryState] | None, typer.Option(help="Only these; may be repeated.")] = None,
    is_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """List the newest deliveries of all meetings."""
    from meeting_assistant.cli.workflows import show_deliveries

    show_deliveries(state or [], is_json=is_json)


@workflows.command("preview")
def preview_workflows(meeting_id: Annotated[str, typer.Argument(help="Of a finished meeting.")]) -> None:
    """Print exactly what would be sent for a meeting now, and send nothing."""
    from meeting_assistant.cli.workflows import show_preview

    show_preview(meeting_id)


@workflows.command("retry")
def retry_workflow(delivery_id: Annotated[str, typer.Argument(help="As in `workflows deliveries`.")]) -> None:
    """Try again what was given up."""
    from meeting_assistant.cli.workflows import retry_delivery

    retry_delivery(delivery_id)


@app.command()
def backup(
    target: Annotated[Path, typer.Argument(help="A new folder, or an earlier backup to renew.")],
) -> None:
    """Copy the database and all recordings, while the server runs; keys are not in it."""
    from meeting_assistant.cli.backup import run_backup

    run_backup(target)


@app.command()
def restore(
    source: Annotated[Path, typer.Argument(help="A folder made by `backup`.")],
    is_verify: Annotated[
        bool, typer.Option("--verify", help="Only check that everything in it can be opened.")
    ] = False,
) -> None:
    """Bring a backup back into an empty DATA_DIR."""
    from meeting_assistant.cli.backup import run_restore

    run_restore(source, is_verify=is_verify)


@app.command()
def recover(
    owner: Annotated[
        str | None, typer.Option(help="Whose meetings they become: a name in API_TOKENS.")
    ] = None,
    channels: Annotated[
        int | None, typer.Option(min=1, max=2, help="Of all recordings; by default each is looked at.")
    ] = None,
    is_dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would be done.")] = False,
) -> None:
    """Make meetings of recordings in DATA_DIR whose database is gone; the server transcribes them again."""
    from meeting_assistant.cli.recover import run_recover

    sys.exit(run_recover(owner=owner, channels=channels, is_dry_run=is_dry_run))


@app.command()
def settings() -> None:
    """Show every setting with its effective value; secrets are masked."""
    from meeting_assistant.cli.settings import show_settings

    show_settings()


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)
