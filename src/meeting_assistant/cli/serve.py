"""The commands `serve` and `worker`: uvicorn with flags that suit audio over WebSockets."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import signal
import socket
import sys
from collections.abc import Iterator

import uvicorn
from rich.console import Console

from meeting_assistant import __version__
from meeting_assistant.adapters.storage.data_directory import held
from meeting_assistant.app import LOOPBACK, create_app
from meeting_assistant.bootstrap.traces import traced
from meeting_assistant.cli.http_protocol import MAX_HEAD_BYTES, BoundedHttp
from meeting_assistant.cli.python_version import holes_of
from meeting_assistant.cli.websocket_protocol import BoundedWebSocket
from meeting_assistant.config import Settings, load_settings, unknown_variables
from meeting_assistant.domain.errors import ConfigurationError
from meeting_assistant.observability import configure_logging
from meeting_assistant.web.context import ServerInfo
from meeting_assistant.web.protocol import MAX_MESSAGE_BYTES
from meeting_assistant.worker import run_worker


def run_server() -> int:
    """Serve until SIGTERM or SIGINT; 0 after a clean stop. Raises ConfigurationError, StorageError."""
    settings = load_settings()
    check_access(settings)
    _leave_no_core_dump()
    configure_logging(settings.log_level, settings.log_format)
    with _bound(settings) as listener, held(settings.data_dir), traced(settings, "server"):
        app = create_app(settings)
        server = uvicorn.Server(server_config(app, settings))
        # uvicorn raises the signal once more after its clean stop; its own handler then has nothing left to do,
        # where the default one would make a clean stop look like a crash to whoever started us.
        for stop in (signal.SIGTERM, signal.SIGINT):
            signal.signal(stop, server.handle_exit)
        announce(settings, app.state.context.info, listener.getsockname()[1])
        server.run(sockets=[listener])
    return 0 if server.started else 1


def run_fleet_worker(*, metrics_port: int | None) -> int:
    """Run a worker until SIGTERM; returns 0 when it was drained. Raises ConfigurationError, EngineError."""
    settings = load_settings()
    configure_logging(settings.log_level, settings.log_format)
    _leave_no_core_dump()
    with traced(settings, "worker"):
        asyncio.run(run_worker(settings, metrics_port=metrics_port))
    return 0


def check_access(settings: Settings) -> None:
    """Raise ConfigurationError when other machines could reach a server without tokens."""
    if settings.http_host in LOOPBACK or settings.token_grants() or settings.allow_open_access:
        return
    raise ConfigurationError(
        f"HTTP_HOST={settings.http_host} opens the server to the network, and API_TOKENS is not set: everybody there "
        "could record and read meetings.",
        "Make a token with `meeting-assistant token NAME` and put it into API_TOKENS; or set ALLOW_OPEN_ACCESS=true "
        "behind a proxy that asks who is calling.",
    )


def _leave_no_core_dump() -> None:
    """Disable core dumps, which would contain keys and speech."""
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def server_config(app: object, settings: Settings) -> uvicorn.Config:
    """Return the configuration of uvicorn."""
    return uvicorn.Config(
        app,  # type: ignore[arg-type]
        log_config=None,
        access_log=False,
        server_header=False,
        http=BoundedHttp,
        # BoundedHttp answers first, with a status that says what is wrong.
        h11_max_incomplete_event_size=4 * MAX_HEAD_BYTES,
        limit_concurrency=settings.client_limits.connections,
        # 64 KiB frames and no compression: raw sound does not compress, and bombs are made of what does.
        ws=BoundedWebSocket,
        ws_max_size=MAX_MESSAGE_BYTES,
        ws_per_message_deflate=False,
        ws_ping_interval=20.0,
        ws_ping_timeout=20.0,
        timeout_graceful_shutdown=max(1, int(settings.shutdown_grace_seconds / 2)),
    )


@contextlib.contextmanager
def _bound(settings: Settings) -> Iterator[socket.socket]:
    """Bind the port before anything is loaded, so that a port in use is reported at once."""
    family = socket.AF_INET6 if ":" in settings.http_host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.http_host, settings.http_port))
    except OSError as error:
        listener.close()
        reason = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
        raise ConfigurationError(
            f"HTTP_HOST={settings.http_host} HTTP_PORT={settings.http_port}: this address {reason}.",
            "Stop the other program or choose another HTTP_PORT.",
        ) from error
    with listener:
        yield listener


def announce(settings: Settings, info: ServerInfo, port: int) -> None:
    """Print the address, the engines and why they were chosen, on standard error."""
    console = Console(stderr=True, highlight=False)
    host = f"[{settings.http_host}]" if ":" in settings.http_host else settings.http_host
    console.print(f"[bold]Meeting Assistant {__version__}[/bold]  [cyan]http://{host}:{port}[/cyan]")
    console.print(f"  speech     {info.engines['asr']} — {info.engine_reason}", markup=False)
    console.print(f"  speakers   {info.engines['diarization']}", markup=False)
    console.print(
        f"  minutes    {info.engines['minutes']}"
        + (" (extractive; nothing leaves this machine)" if info.engines["minutes"] == "embedded" else ""),
        markup=False,
    )
    console.print(f"  data       {settings.data_dir} (AUDIO_STORAGE={settings.audio_storage})", markup=False)
    names = ", ".join(sorted({grant.owner for grant in settings.token_grants()}))
    console.print(f"  access     {'tokens of ' + names if names else 'open on this machine'}", markup=False)
    for note in info.notes:
        console.print(f"  note       {note}", markup=False)
    for problem in info.problems:
        console.print(f"  PROBLEM    {problem}", markup=False, style="red")
    holes = holes_of((sys.version_info.major, sys.version_info.minor, sys.version_info.micro))
    if holes:
        known = ", ".join(hole.cve for hole in holes)
        console.print(f"  [yellow]warning[/yellow]    this Python has known holes ({known}); see `doctor`")
    for warning in unknown_variables():
        console.print(f"  [yellow]warning[/yellow]    {warning}")
    if settings.http_host not in LOOPBACK and not settings.token_grants():
        console.print(
            "  [yellow]warning[/yellow]    ALLOW_OPEN_ACCESS: everybody who reaches this address can read and "
            "record meetings, unless a proxy before it asks who is calling."
        )
