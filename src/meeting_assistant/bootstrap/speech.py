"""Recognition of speech and of speakers: in this process, or on the workers of a fleet."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from meeting_assistant.bootstrap.engines import choose_engine
from meeting_assistant.bootstrap.fleet import build_fleet_diarizer, build_remote_sessions
from meeting_assistant.bootstrap.speakers import build_diarization, notes_on_speakers
from meeting_assistant.config import Settings
from meeting_assistant.domain.audio import Waveform, pcm_to_samples, to_waveform
from meeting_assistant.domain.ports import MediaDecoder
from meeting_assistant.services.asr.asr_service import AsrService
from meeting_assistant.services.diarization.diarization_service import DiarizationService
from meeting_assistant.services.fleet.remote_diarization import FleetDiarizer
from meeting_assistant.services.fleet.remote_sessions import RemoteSessions
from meeting_assistant.services.live.live_meeting import Resampler
from meeting_assistant.services.live.session_runner import LocalSessions, SessionRunner
from meeting_assistant.services.transcription.session_types import SpeechServices

VAD_THREADS = 2


@dataclass(frozen=True, slots=True)
class SpeechParts:
    """The parts that turn the audio of meetings into a transcript."""

    runner: SessionRunner
    diarization: DiarizationService
    decoder: MediaDecoder
    new_resampler: Callable[[int, int], Resampler]
    engines: dict[str, str]
    """Names of the engines in use, by kind, for `/health`, the page and the record of every meeting."""


@dataclass(frozen=True, slots=True)
class SpeechEngines:
    """The engines behind `parts`, and how they are started and stopped."""

    parts: SpeechParts
    local: SpeechServices
    vad_threads: ThreadPoolExecutor
    reason: str
    """Why this speech engine was chosen."""
    notes: list[str]
    remote: RemoteSessions | None = None
    """The sessions on workers of a fleet; None where speech is recognised in this process."""
    fleet_diarizer: FleetDiarizer | None = None

    @property
    def problems(self) -> list[str]:
        """The problems that an operator has to fix in the fleet at the moment."""
        parts = (self.remote, self.fleet_diarizer)
        return [problem for part in parts if part is not None and (problem := part.problem)]

    async def start(self) -> None:
        """Load the engines, or connect to the fleet. Raises EngineError."""
        await asyncio.gather(self._start_recognition(), self.parts.diarization.start())
        self.parts.engines["diarization"] = self.parts.diarization.name

    async def _start_recognition(self) -> None:
        if self.remote is not None:
            await self.remote.start()
        else:
            await asyncio.gather(self.local.asr.start(), asyncio.to_thread(self.local.vad.load))

    async def close(self) -> None:
        """Stop the engines and their threads."""
        if self.remote is not None:
            await self.remote.close()
        await self.local.asr.close()
        self.parts.diarization.close()
        await asyncio.to_thread(self.vad_threads.shutdown)


def build_speech(settings: Settings) -> SpeechEngines:
    """Build the engines that the settings name; nothing is loaded yet. Raises ConfigurationError."""
    from meeting_assistant.adapters.audio.decoder import PyAvDecoder
    from meeting_assistant.adapters.audio.resampler import StreamResampler
    from meeting_assistant.adapters.vad.silero import SileroVad

    engine, reason = choose_engine(settings)
    is_fleet = settings.orchestrator_backend == "redis"
    remote = build_remote_sessions(settings, engine.info) if is_fleet else None
    fleet_diarizer = build_fleet_diarizer(settings, remote)
    diarization = build_diarization(settings, remote=fleet_diarizer)
    vad = SileroVad()
    vad_threads = ThreadPoolExecutor(max_workers=VAD_THREADS, thread_name_prefix="vad")
    asr = AsrService(engine, batch_size=settings.inference_batch_size, probe=spoken_sample)
    local = SpeechServices(asr=asr, vad=vad, vad_threads=vad_threads, diarization=diarization)
    engines = {"asr": engine.info.model, "vad": vad.name, "diarization": diarization.name}
    if remote is not None:
        remote.on_engines = lambda found: engines.update(found, diarization=diarization.name)
    parts = SpeechParts(remote or LocalSessions(local), diarization, PyAvDecoder(), StreamResampler, engines)
    return SpeechEngines(
        parts, local, vad_threads, reason, notes_on_speakers(settings), remote, fleet_diarizer
    )


def spoken_sample() -> Waveform:
    """Return some speech to measure the engine on."""
    from meeting_assistant.adapters.audio.trusted import read_pcm
    from meeting_assistant.demo import hello_clip

    return to_waveform(pcm_to_samples(read_pcm(hello_clip()[0])))
