"""The web application: what starts, in which order, and how it stops."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator
from importlib.resources import files
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from starlette.responses import Response

from meeting_assistant import __version__
from meeting_assistant.bootstrap import Services, build
from meeting_assistant.bootstrap.fleet import callback_keys
from meeting_assistant.config import Settings
from meeting_assistant.domain.errors import MeetingAssistantError, StorageError
from meeting_assistant.observability import log_fields, watch_event_loop
from meeting_assistant.web import errors
from meeting_assistant.web.context import FleetEntrance, Limits, WebContext
from meeting_assistant.web.middleware.auth import AccessGate
from meeting_assistant.web.middleware.limits import BodyLimit
from meeting_assistant.web.middleware.security import BrowserGuard
from meeting_assistant.web.routes import (
    ask,
    dashboard,
    health,
    meetings,
    minutes,
    sample,
    session,
    speakers,
    workflows,
)
from meeting_assistant.web.sockets import fleet, live

logger = logging.getLogger(__name__)

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def create_app(settings: Settings) -> FastAPI:
    """Wire everything; nothing is loaded before the server starts. Raises ConfigurationError, StorageError."""
    services = build(settings)
    context = new_context(services)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        running = await start(services, context)
        try:
            yield
        finally:
            await stop(services, context, running)

    app = FastAPI(
        title="Meeting Assistant",
        version=__version__,
        description="Live captions with speakers, and minutes that prove themselves.",
        lifespan=lifespan,
        # The framework's own would send addresses, and the words of errors.
        telemetry={
            "tracing": False,
            "metrics": False,
            "logs": False,
            "operation_spans": False,
            "auto_configure": False,
        },
    )
    app.state.context = context
    app.state.services = services
    app.add_middleware(AccessGate, access=services.access)
    app.add_middleware(BodyLimit, max_upload_bytes=settings.max_upload_bytes)
    app.add_middleware(
        BrowserGuard,
        allowed_origins=settings.allowed_origins,
        is_loopback=settings.http_host in LOOPBACK,
        is_open=services.access.is_open,
    )
    errors.install(app)
    for module in (
        health,
        dashboard,
        session,
        workflows,
        speakers,
        meetings,
        minutes,
        ask,
        sample,
        live,
        fleet,
    ):
        app.include_router(module.router)
    _mount_page(app, Path(str(files("meeting_assistant") / "static")))
    return app


def new_context(services: Services) -> WebContext:
    """What the routes need."""
    remote = services.remote
    return WebContext(
        meetings=services.meetings,
        access=services.access,
        upkeep=services.upkeep,
        minutes=services.minutes,
        editor=services.editor,
        ask=services.ask,
        calls=services.calls,
        preferences=services.preferences,
        workflows=services.workflows,
        speakers=services.speakers,
        info=services.info,
        limits=Limits(
            max_live_speed=services.settings.client_limits.live_speed,
            idle_s=services.settings.client_limits.idle_seconds,
        ),
        fleet_entrance=_fleet_entrance(services),
        ask_for_workers=None if remote is None else lambda: remote.workers,
        waiting_for={"engines"},
    )


def _fleet_entrance(services: Services) -> FleetEntrance | None:
    if services.remote is None or services.settings.fleet.callback_url is None:
        return None
    return FleetEntrance(callback_keys(services.settings), services.remote.hear)


async def start(services: Services, context: WebContext) -> list[asyncio.Task[None]]:
    """Open the store, load the engines, take up what was cut short. Returns tasks that run until `stop`."""
    try:
        await services.store.open()
    except StorageError as error:
        # Up, and saying what is wrong, is more use than gone: /health, /ready and the page tell.
        context.waiting_for = {f"database: {error}"}
        logger.error("The database cannot be used.", extra=log_fields(code=error.code))  # noqa: TRY400
        return []
    await services.uploads.sweep()
    try:
        problem = await services.recordings.problem()
    except MeetingAssistantError as error:  # STRICT_KEYS
        context.waiting_for = {f"recordings: {error}"}
        logger.error("Recordings cannot be used.", extra=log_fields(code=error.code))  # noqa: TRY400
        return []
    if problem is not None:
        services.info.problems = [*services.info.problems, problem]
    moves = services.recordings.moves
    return [
        *([asyncio.create_task(moves.run(), name="recording-moves")] if moves is not None else []),
        asyncio.create_task(watch_event_loop(), name="loop-watch"),
        asyncio.create_task(_load(services, context), name="load-engines"),
        asyncio.create_task(
            services.dispatcher.run(is_single_process=services.orchestrator.is_single_process), name="outbox"
        ),
    ]


async def _load(services: Services, context: WebContext) -> None:
    """In the background, so that `/health` and `/ready` answer from the first moment."""
    began = time.monotonic()
    try:
        await asyncio.gather(
            _load_speech(services),
            services.diarization.start(),
            services.minutes.warm_up(),
        )
    except Exception as error:
        context.waiting_for = {f"engines: {error}"}
        logger.exception("The engines could not be loaded.")
        return
    services.info.engines["diarization"] = services.diarization.name
    services.notes.extend(str(trouble) for trouble in services.diarization.load_errors)
    services.orchestrator.start()
    await services.resumable.resume(before_ready=True)
    context.waiting_for.clear()
    logger.info(
        "Ready.",
        extra=log_fields(asr=services.info.engines["asr"], seconds=round(time.monotonic() - began, 1)),
    )
    await asyncio.gather(services.meetings.run_periodically(), _resume_incomplete(services))


async def _resume_incomplete(services: Services) -> None:
    await services.resumable.resume(before_ready=False)
    await services.upkeep.run_periodically()


async def _load_speech(services: Services) -> None:
    """Here, or on the machines of the fleet."""
    if services.remote is not None:
        await services.remote.start()
        if services.relay is not None:
            services.relay.start()
    else:
        await asyncio.gather(services.asr.start(), asyncio.to_thread(services.vad.load))


async def stop(services: Services, context: WebContext, running: list[asyncio.Task[None]]) -> None:
    """Take nothing new, let jobs finish within the grace time, keep what is live for the next start."""
    context.is_closing = True
    await services.recordings.close()
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    await services.live.close()
    await services.orchestrator.drain(services.settings.shutdown_grace_seconds / 2)
    await services.dispatcher.drain(services.settings.shutdown_grace_seconds / 2)
    services.channels.close()
    await services.settling.close()
    if services.relay is not None:
        await services.relay.close()
    if services.remote is not None:
        await services.remote.close()
    await services.asr.close()
    services.diarization.close()
    await services.llm.close()
    await services.workflows.close()
    services.minutes.close()
    # Threads that ask the database do so on this loop: they end before it does.
    await asyncio.to_thread(services.disk_threads.shutdown)
    await services.recordings.end_threads(services.settings.shutdown_grace_seconds / 4)
    await services.store.close()
    services.vad_threads.shutdown()
    logger.info("Stopped.")


class _Page(StaticFiles):
    """The built web app. Hashed files may be kept for ever, the page itself must be asked for each time."""

    def file_response(self, *args: object, **kwargs: object) -> Response:
        response = super().file_response(*args, **kwargs)  # type: ignore[arg-type]
        path = str(args[0])
        is_hashed = "/assets/" in path
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable" if is_hashed else "no-cache"
        return response


def _mount_page(app: FastAPI, directory: Path) -> None:
    if (directory / "index.html").exists():
        app.mount("/", _Page(directory=directory, html=True), name="page")
        return

    @app.get("/", include_in_schema=False)
    async def missing() -> Response:
        return FileResponse(Path(__file__).parent / "web" / "no_page.html", status_code=503)
