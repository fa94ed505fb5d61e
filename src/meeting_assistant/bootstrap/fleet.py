"""The parts of a fleet: gateways, which hold meetings, and workers, which transcribe them."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from meeting_assistant.bootstrap.engines import choose_engine
from meeting_assistant.bootstrap.speakers import build_diarization, max_speakers_of_recordings
from meeting_assistant.config import Settings
from meeting_assistant.config.values import split_keys
from meeting_assistant.domain.errors import ConfigurationError
from meeting_assistant.domain.ports import EngineInfo, ResultChannel, Vad
from meeting_assistant.net.signatures import TOLERANCE_S, key_of
from meeting_assistant.services.asr.asr_service import AsrService
from meeting_assistant.services.diarization.diarization_service import DiarizationService
from meeting_assistant.services.events.event_relay import EventRelay
from meeting_assistant.services.events.meeting_channel import Channels
from meeting_assistant.services.fleet.remote_diarization import FleetDiarizer
from meeting_assistant.services.fleet.remote_sessions import RemoteSessions
from meeting_assistant.services.fleet.worker import Worker, WorkerOptions
from meeting_assistant.services.transcription.session_types import SpeechServices
from meeting_assistant.web.context import FleetEntrance
from meeting_assistant.web.recent_ids import RecentIds

if TYPE_CHECKING:
    from meeting_assistant.adapters.jobs.sealing import FleetKeys


def machine_name(settings: Settings) -> str:
    """Return the name of this machine in logs, metrics and the records of meetings."""
    return (settings.fleet.name or socket.gethostname())[:64]


def redis_url(settings: Settings) -> str:
    """Return the address of the broker. Raises ConfigurationError."""
    if settings.redis_url is None:
        raise ConfigurationError(
            "ORCHESTRATOR_BACKEND=redis needs REDIS_URL.", "Set it, for example to redis://127.0.0.1:6379/0."
        )
    return settings.redis_url.get_secret_value()


def fleet_keys(settings: Settings) -> FleetKeys:
    """Return the keys that the machines of a fleet share. Raises ConfigurationError."""
    from meeting_assistant.adapters.jobs.sealing import FleetKeys

    secrets_of_fleet = [key_of(secret) for secret in split_keys(settings.fleet.secret)]
    if not secrets_of_fleet:
        raise ConfigurationError(
            "ORCHESTRATOR_BACKEND=redis needs FLEET__SECRET: without it, whoever reaches Redis could listen.",
            "Make one with `meeting-assistant keygen`, and set the same on all machines of the fleet.",
        )
    if set(secrets_of_fleet) & {key_of(key) for key in settings.audio_encryption_keys()}:
        raise ConfigurationError(
            "FLEET__SECRET is also a key in AUDIO_ENCRYPTION_KEY: every worker could open the recordings.",
            "Make another one with `meeting-assistant keygen`, and set it as FLEET__SECRET on all machines.",
        )
    return FleetKeys(secrets_of_fleet)


def build_remote_sessions(settings: Settings, info: EngineInfo) -> RemoteSessions:
    """Build a gateway's side. Raises ConfigurationError."""
    from meeting_assistant.adapters.jobs.redis_gateway import RedisGatewayLink

    name = machine_name(settings)
    return RemoteSessions(
        RedisGatewayLink(redis_url(settings), name, fleet_keys(settings)),
        name,
        info,
        reply=settings.fleet.callback_url or "",
    )


def build_fleet_diarizer(settings: Settings, remote: RemoteSessions | None) -> FleetDiarizer | None:
    """Build what diarizes recordings on the workers; None outside a fleet, and where the settings ask for no offline
    diarization."""
    requested = max_speakers_of_recordings(settings)
    return FleetDiarizer(remote, requested) if remote is not None and requested is not None else None


def build_relay(settings: Settings, channels: Channels) -> EventRelay | None:
    """Build the relay between servers that share a database; None for a server with its own, whose meetings no other
    server knows."""
    if settings.orchestrator_backend != "redis" or settings.database_url is None:
        return None
    from meeting_assistant.adapters.jobs.redis_relay import RedisRelayLink

    return EventRelay(RedisRelayLink(redis_url(settings), fleet_keys(settings)), channels)


def build_fleet_entrance(settings: Settings, remote: RemoteSessions | None) -> FleetEntrance | None:
    """Build the entrance for results at this gateway's own address; None where they come through Redis only."""
    if remote is None or settings.fleet.callback_url is None:
        return None
    from meeting_assistant.adapters.jobs.sealed_entries import open_posted_result

    keys, name = fleet_keys(settings), machine_name(settings)
    return FleetEntrance(
        keys.signing_keys,
        lambda text: open_posted_result(keys, name, text),
        remote.on_message,
        # A message may be signed a little in the future, and is then valid for twice as long.
        RecentIds(2 * TOLERANCE_S),
    )


def build_callbacks(settings: Settings) -> ResultChannel:
    """Build the direct way to gateways."""
    from meeting_assistant.adapters.jobs.callbacks import Callbacks

    hosts = [host.strip().lower() for host in (settings.fleet.callback_hosts or "").split(",")]
    return Callbacks(fleet_keys(settings).signing_keys, [host for host in hosts if host])


@dataclass(slots=True)
class WorkerParts:
    """The parts of a worker, wired together and not started."""

    worker: Worker
    asr: AsrService
    vad: Vad
    diarization: DiarizationService
    threads: ThreadPoolExecutor
    reason: str
    """Why this speech engine was chosen."""


def build_worker(settings: Settings) -> WorkerParts:
    """Build a worker. Raises ConfigurationError."""
    from meeting_assistant.adapters.jobs.redis_worker import RedisWorkerLink
    from meeting_assistant.adapters.vad.silero import SileroVad

    engine, reason = choose_engine(settings)
    asr = AsrService(engine, batch_size=settings.inference_batch_size)
    vad, diarization = SileroVad(), build_diarization(settings)
    threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="vad")
    name = machine_name(settings)
    link = RedisWorkerLink(
        redis_url(settings),
        # Unique to this run of the process: a restarted machine must not be taken for its former self.
        f"{name}-{secrets.token_hex(4)}",
        fleet_keys(settings),
        lease_s=settings.fleet.lease_seconds,
        callbacks=build_callbacks(settings),
    )
    worker = Worker(
        link,
        SpeechServices(asr=asr, vad=vad, vad_threads=threads, diarization=diarization),
        worker_options(settings, {"asr": engine.info.model, "vad": vad.name}),
    )
    return WorkerParts(worker, asr, vad, diarization, threads, reason)


def worker_options(settings: Settings, engines: Mapping[str, str]) -> WorkerOptions:
    """Return how a worker with these engines takes jobs."""
    return WorkerOptions(
        name=machine_name(settings),
        slots=settings.fleet.slots,
        lease_s=settings.fleet.lease_seconds,
        max_deliveries=settings.fleet.max_deliveries,
        engines=engines,
    )
