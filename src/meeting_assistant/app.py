"""The web application: its routes, the order in which the parts start, and how they stop."""

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
from starlette.responses import Response

from meeting_assistant import __version__
from meeting_assistant.bootstrap import Services, build
from meeting_assistant.bootstrap.fleet import build_fleet_entrance
from meeting_assistant.bootstrap.storage import StorageParts
from meeting_assistant.bootstrap.token_reload import reload_on_hangup
from meeting_assistant.config import Settings
from meeting_assistant.domain.errors import MeetingAssistantError, StorageError
from meeting_assistant.observability import log_fields, watch_event_loop
from meeting_assistant.web import errors
from meeting_assistant.web.context import Limits, Readiness, WebContext
from meeting_assistant.web.middleware.auth import AccessGate
from meeting_assistant.web.middleware.compression import Compression
from meeting_assistant.web.middleware.headers import HeaderLimits
from meeting_assistant.web.middleware.limits import BodyLimit
from meeting_assistant.web.middleware.security import BrowserGuard
from meeting_assistant.web.page import Page
from meeting_assistant.web.routes import (
    ask,
    dashboard,
    health,
    meetings,
    minutes,
    sample,
    session,
    speakers,
    uploads,
    workflows,
)
from meeting_assistant.web.sockets import fleet, live

logger = logging.getLogger(__name__)

CHECKED_AT_ONCE_BYTES = 128 << 20
"""Size of a database whose check takes a fraction of a second."""
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
ROUTES = (
    health,
    dashboard,
    session,
    workflows,
    speakers,
    meetings,
    uploads,
    minutes,
    ask,
    sample,
    live,
    fleet,
)
"""Modules with a router, in the order in which the application tries them."""


def create_app(settings: Settings) -> FastAPI:
    """Build the application; nothing is loaded before the server starts. Raises ConfigurationError, StorageError."""
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
        # The framework's own telemetry would send addresses and the text of errors.
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
    app.add_middleware(Compression)
    app.add_middleware(AccessGate, access=services.access, budgets=context.owner_budgets)
    app.add_middleware(BodyLimit, max_upload_bytes=settings.max_upload_bytes)
    app.add_middleware(
        BrowserGuard,
        allowed_origins=settings.allowed_origins,
        is_loopback=settings.http_host in LOOPBACK,
        is_open=services.access.is_open,
    )
    app.add_middleware(HeaderLimits)
    errors.install(app)
    for module in ROUTES:
        app.include_router(module.router)
    _mount_page(app, Path(str(files("meeting_assistant") / "static")))
    return app


def new_context(services: Services) -> WebContext:
    """Return what the routes need of the services."""
    remote = services.speech.remote
    limits = services.settings.client_limits
    return WebContext(
        meetings=services.meetings,
        minutes=services.minutes,
        workflows=services.outbox.workflows,
        access=services.access,
        info=services.info,
        limits=Limits(max_live_speed=limits.live_speed, idle_s=limits.idle_seconds),
        fleet_entrance=build_fleet_entrance(services.settings, remote),
        workers=None if remote is None else lambda: remote.workers,
        readiness=Readiness(
            loading={"engines"}, checks={"database": lambda: services.storage.database.damage}
        ),
    )


async def start(services: Services, context: WebContext) -> list[asyncio.Task[None]]:
    """Open the store, load the engines, resume interrupted work. Returns tasks that run until `stop`."""
    reload_on_hangup(services.access)
    recordings = services.storage.recordings
    try:
        await services.storage.store.open()
    except StorageError as error:
        # A server that is up and says what is wrong is of more use than one that exited.
        context.readiness.fail("database", error)
        logger.error("Failed to open the database.", extra=log_fields(code=error.code))  # noqa: TRY400
        return []
    checking = await _check_integrity(services.storage)
    await services.meetings.uploads.remove_orphans()
    services.info.problems.extend(await services.storage.orphan_problems())
    try:
        problem = await recordings.problem()
    except MeetingAssistantError as error:  # STRICT_KEYS
        context.readiness.fail("recordings", error)
        logger.error("Failed to open the recordings.", extra=log_fields(code=error.code))  # noqa: TRY400
        return []
    if problem is not None:
        services.info.problems.append(problem)
    archiver = recordings.moves
    is_single_process = services.orchestrator.is_single_process
    return [
        *checking,
        *([asyncio.create_task(archiver.run(), name="recording-moves")] if archiver is not None else []),
        asyncio.create_task(watch_event_loop(), name="loop-watch"),
        asyncio.create_task(services.access.registry.run(), name="access"),
        asyncio.create_task(_load(services, context), name="load-engines"),
        asyncio.create_task(
            services.outbox.dispatcher.run(is_single_process=is_single_process), name="outbox"
        ),
    ]


async def _check_integrity(storage: StorageParts) -> list[asyncio.Task[None]]:
    """Look for damage before the first client is let in, or beside them if that would take long."""
    database = storage.database
    if database.size_bytes > CHECKED_AT_ONCE_BYTES:
        return [asyncio.create_task(database.check_integrity(), name="integrity-check")]
    await database.check_integrity()
    return []


async def _load(services: Services, context: WebContext) -> None:
    """Load the engines in the background, so that `/health` and `/ready` answer from the first moment."""
    began = time.monotonic()
    try:
        await asyncio.gather(services.speech.start(), services.minutes.service.warm_up())
    except Exception as error:
        context.readiness.fail("engines", error)
        logger.exception("Failed to load the engines.")
        return
    if services.relay is not None:
        services.relay.start()
    services.info.notes.extend(str(problem) for problem in services.speech.parts.diarization.load_errors)
    services.orchestrator.start()
    await services.resumable.resume(before_ready=True)
    context.readiness.ready("engines")
    logger.info(
        "Ready.",
        extra=log_fields(asr=services.info.engines["asr"], seconds=round(time.monotonic() - began, 1)),
    )
    await asyncio.gather(services.meetings.recovery.run_periodically(), _resume_incomplete(services))


async def _resume_incomplete(services: Services) -> None:
    await services.resumable.resume(before_ready=False)
    await services.meetings.retention.run_periodically()


async def stop(services: Services, context: WebContext, running: list[asyncio.Task[None]]) -> None:
    """Stop accepting meetings, let jobs finish within the grace time, leave live meetings to the next start."""
    grace_s = services.settings.shutdown_grace_seconds
    context.is_closing = True
    await services.storage.recordings.close()
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    await services.meetings.live.close()
    await services.orchestrator.drain(grace_s / 2)
    await services.outbox.dispatcher.drain(grace_s / 2)
    services.storage.channels.close()
    await services.meetings.offline_diarization.close()
    if services.relay is not None:
        await services.relay.close()
    await services.speech.close()
    await services.minutes.close()
    await services.outbox.workflows.close()
    await services.storage.close(grace_s / 4)
    logger.info("Stopped.")


def _mount_page(app: FastAPI, directory: Path) -> None:
    if (directory / "index.html").exists():
        app.mount("/", Page(directory=directory, html=True), name="page")
        return

    @app.get("/", include_in_schema=False)
    async def missing() -> Response:
        return FileResponse(Path(__file__).parent / "web" / "no_page.html", status_code=503)
