"""`meeting-assistant worker`: a machine of a fleet that transcribes for gateways."""

from __future__ import annotations

import asyncio
import logging
import signal

from prometheus_client import start_http_server

from meeting_assistant.bootstrap.fleet import build_worker
from meeting_assistant.config import Settings
from meeting_assistant.observability import log_fields, watch_event_loop

logger = logging.getLogger(__name__)


async def run_worker(settings: Settings, *, metrics_port: int | None = None) -> None:
    """Take jobs until SIGTERM or SIGINT, then release those that run.

    Raises ConfigurationError, EngineError, OSError.
    """
    parts = build_worker(settings)
    if metrics_port is not None:
        start_http_server(metrics_port, settings.http_host)
    await asyncio.gather(parts.asr.start(), asyncio.to_thread(parts.vad.load), parts.diarization.start())
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, parts.worker.drain)
    watching = asyncio.create_task(watch_event_loop(), name="loop-watch")
    logger.info("Worker ready.", extra=log_fields(asr=parts.asr.info.model, reason=parts.reason))
    try:
        await parts.worker.run()
    finally:
        watching.cancel()
        await parts.asr.close()
        parts.diarization.close()
        parts.threads.shutdown()
        logger.info("Worker stopped.")
