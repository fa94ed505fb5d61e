"""The parts of a fleet: gateways that hold meetings, workers that hear them."""

from __future__ import annotations

import secrets
import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from meeting_assistant.bootstrap.engines import choose_engine
from meeting_assistant.bootstrap.speakers import build_diarization, max_speakers_of_recordings
from meeting_assistant.config import Settings
from meeting_assistant.config.values import split_keys
from meeting_assistant.domain.errors import ConfigurationError
from meeting_assistant.domain.ports import EngineInfo, ResultChannel, Vad
from meeting_assistant.domain.signatures import key_of
from meeting_assistant.services.asr.asr_service import AsrService
from meeting_assistant.services.diarization.diarization_service import DiarizationService
from meeting_assistant.services.events.event_relay import EventRelay
from meeting_assistant.services.events.meeting_channel import Channels
from meeting_assistant.services.fleet.remote_diarization import FleetDiarizer
from meeting_assistant.services.fleet.remote_sessions import RemoteSessions
from meeting_assistant.services.fleet.worker import Worker
from meeting_assistant.services.transcription.session_types import SpeechServices


def machine_name(settings: Settings) -> str:
    """In logs, metrics and the record of meetings."""
    return (settings.fleet.name or socket.gethostname())[:64]


def redis_url(settings: Settings) -> str:
    """Raises ConfigurationError."""
    if settings.redis_url is None:
        raise ConfigurationError(
            "ORCHESTRATOR_BACKEND=redis needs REDIS_URL.", "Set it, for example to redis://127.0.0.1:6379/0."
        )
    return settings.redis_url.get_secret_value()


def build_remote_sessions(settings: Settings, info: EngineInfo) -> RemoteSessions:
    """A gateway's side. Raises ConfigurationError."""
    from meeting_assistant.adapters.jobs.redis_gateway import RedisGatewayLink

    name = machine_name(settings)
    return RemoteSessions(
        RedisGatewayLink(redis_url(settings), name),
        name,
        info,
        reply=settings.fleet.callback_url or "",
    )


def build_far_diarizer(settings: Settings, remote: RemoteSessions | None) -> FleetDiarizer | None:
    """On a gateway: recordings are heard out where the GPUs are. None where nobody wishes for it."""
    wished = max_speakers_of_recordings(settings)
    return FleetDiarizer(remote, wished) if remote is not None and wished is not None else None


def build_relay(settings: Settings, channels: Channels) -> EventRelay | None:
    """For servers that share a database; None for one that has its own: nobody else knows its meetings."""
    if settings.orchestrator_backend != "redis" or settings.database_url is None:
        return None
    from meeting_assistant.adapters.jobs.redis_relay import RedisRelayLink

    return EventRelay(RedisRelayLink(redis_url(settings)), channels)


def callback_keys(settings: Settings) -> list[bytes]:
    """What results are signed with; the first signs, all are believed."""
    return [key_of(secret) for secret in split_keys(settings.fleet.callback_secret)]


def build_callbacks(settings: Settings) -> ResultChannel | None:
    """None without a secret: results then go to the gateways' inboxes."""
    from meeting_assistant.adapters.jobs.callbacks import Callbacks

    keys = callback_keys(settings)
    return Callbacks(keys) if keys else None


@dataclass(slots=True)
class WorkerParts:
    """Everything of a worker, wired together and not yet started."""

    worker: Worker
    asr: AsrService
    vad: Vad
    diarization: DiarizationService
    threads: ThreadPoolExecutor
    reason: str
    """Why this engine recognises speech."""


def build_worker(settings: Settings) -> WorkerParts:
    """Raises ConfigurationError."""
    from meeting_assistant.adapters.jobs.redis_worker import RedisWorkerLink
    from meeting_assistant.adapters.vad.silero import SileroVad

    engine, reason = choose_engine(settings)
    asr = AsrService(engine, batch_size=settings.inference_batch_size)
    vad, diarization = SileroVad(), build_diarization(settings)
    threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="vad")
    name = machine_name(settings)
    link = RedisWorkerLink(
        redis_url(settings),
        # Two lives of one machine must not be taken for one another.
        f"{name}-{secrets.token_hex(4)}",
        lease_s=settings.fleet.lease_seconds,
        max_deliveries=settings.fleet.max_deliveries,
        callbacks=build_callbacks(settings),
    )
    worker = Worker(
        link,
        SpeechServices(asr=asr, vad=vad, vad_threads=threads, diarization=diarization),
        name=name,
        slots=settings.fleet.slots,
        lease_s=settings.fleet.lease_seconds,
        engines={"asr": engine.info.model, "vad": vad.name},
    )
    return WorkerParts(worker, asr, vad, diarization, threads, reason)
