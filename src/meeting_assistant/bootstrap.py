"""From names in the settings to objects: the only file that knows every part."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import SecretStr

from meeting_assistant import __version__
from meeting_assistant.config import Settings
from meeting_assistant.domain.audio import Waveform, pcm_to_samples, to_waveform
from meeting_assistant.domain.errors import ConfigurationError, StorageError
from meeting_assistant.domain.jobs import JobKind
from meeting_assistant.domain.ports import (
    AsrEngine,
    AudioStore,
    DecodeLimits,
    JobBackend,
    LlmProvider,
    MeetingStore,
    Vad,
)
from meeting_assistant.observability import llm_latency_seconds
from meeting_assistant.services.asr_service import AsrService
from meeting_assistant.services.audio_session import SpeechTools
from meeting_assistant.services.diarization_service import (
    DiarizationChoice,
    DiarizationService,
    choose_diarization,
)
from meeting_assistant.services.endpointing import EndpointOptions
from meeting_assistant.services.finishing import MeetingFinisher
from meeting_assistant.services.live_meetings import LiveMeetings
from meeting_assistant.services.llm_service import Attempt, LLMService
from meeting_assistant.services.meeting_channel import Channels
from meeting_assistant.services.meeting_service import MeetingService
from meeting_assistant.services.minutes_service import MinutesService
from meeting_assistant.services.orchestrator import Orchestrator
from meeting_assistant.services.session_plan import LiveOptions
from meeting_assistant.services.uploads import Uploads
from meeting_assistant.web.context import ServerInfo

logger = logging.getLogger(__name__)

DISK_THREADS = 8
"""Group commits of many meetings are in flight at once; each waits for the disk, not for the processor."""


@dataclass(slots=True)
class Services:
    """Everything that runs, wired together and not yet started."""

    settings: Settings
    store: MeetingStore
    audio: AudioStore | None
    asr: AsrService
    vad: Vad
    diarization: DiarizationService
    minutes: MinutesService
    llm: LLMService
    orchestrator: Orchestrator
    channels: Channels
    live: LiveMeetings
    uploads: Uploads
    meetings: MeetingService
    info: ServerInfo
    vad_threads: ThreadPoolExecutor
    disk_threads: ThreadPoolExecutor
    notes: list[str] = field(default_factory=list)


def build(settings: Settings) -> Services:
    """Wire the parts that the settings name. Raises ConfigurationError, StorageError."""
    prepare_data_dir(settings.data_dir)
    notes: list[str] = []
    engine, reason = choose_engine(settings)
    diarization = choose_diarization(
        settings.diarization_engine,
        is_nemo_wanted=settings.nemo_diarization_enabled,
    )
    notes.extend(diarization.notes)
    audio = choose_audio_store(settings, notes)
    from meeting_assistant.adapters.audio.decoder import PyAvDecoder
    from meeting_assistant.adapters.audio.resampler import StreamResampler
    from meeting_assistant.adapters.diarization.embedded import EmbeddedVoices
    from meeting_assistant.adapters.llm.embedded import EmbeddedWriter
    from meeting_assistant.adapters.storage.sql_store import SqlMeetingStore
    from meeting_assistant.adapters.vad.silero import SileroVad

    store = SqlMeetingStore(database_url(settings.data_dir))
    asr = AsrService(engine, batch_size=settings.inference_batch_size, probe=spoken_sample)
    vad = SileroVad()
    speakers = DiarizationService(EmbeddedVoices() if diarization.name == "embedded" else None)
    vad_threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="vad")
    disk_threads = ThreadPoolExecutor(max_workers=DISK_THREADS, thread_name_prefix="disk")
    tools = SpeechTools(asr=asr, vad=vad, vad_threads=vad_threads, diarization=speakers)
    minutes = MinutesService(EmbeddedWriter())
    orchestrator = Orchestrator(choose_job_backend(settings))
    channels = Channels(store)
    engines = engine_names(engine, vad, diarization, minutes)
    options = live_options(settings, diarization)
    live = LiveMeetings(
        store=store,
        audio=audio,
        channels=channels,
        tools=tools,
        orchestrator=orchestrator,
        disk_threads=disk_threads,
        new_resampler=StreamResampler,
        engines=engines,
        options=options,
    )
    uploads = Uploads(
        store=store,
        audio=audio,
        channels=channels,
        tools=tools,
        orchestrator=orchestrator,
        decoder=PyAvDecoder(),
        disk_threads=disk_threads,
        directory=settings.data_dir / "uploads",
        engines=engines,
        options=options,
        limits=DecodeLimits(max_duration_s=settings.max_meeting_hours * 3600),
    )
    meetings = MeetingService(
        store=store,
        audio=audio,
        channels=channels,
        live=live,
        uploads=uploads,
        orchestrator=orchestrator,
        disk_threads=disk_threads,
    )
    finisher = MeetingFinisher(store, channels, minutes, engines)
    orchestrator.handle(JobKind.FINISH_MEETING, finisher.finish)
    orchestrator.handle(JobKind.TRANSCRIBE_FILE, uploads.transcribe)
    info = ServerInfo(
        version=__version__,
        engines=engines,
        engine_reason=reason,
        storage=settings.audio_storage,
        max_upload_bytes=settings.max_upload_bytes,
        max_meeting_hours=settings.max_meeting_hours,
        notes=notes,
    )
    return Services(
        settings=settings,
        store=store,
        audio=audio,
        asr=asr,
        vad=vad,
        diarization=speakers,
        minutes=minutes,
        llm=build_llm_service(settings),
        orchestrator=orchestrator,
        channels=channels,
        live=live,
        uploads=uploads,
        meetings=meetings,
        info=info,
        vad_threads=vad_threads,
        disk_threads=disk_threads,
        notes=notes,
    )


def spoken_sample() -> Waveform:
    """Some speech to measure the engine on."""
    from meeting_assistant.adapters.audio.trusted import read_pcm
    from meeting_assistant.demo import hello_clip

    return to_waveform(pcm_to_samples(read_pcm(hello_clip()[0])))


def prepare_data_dir(path: Path) -> None:
    """Make the data directory, readable by its owner only. Raises StorageError."""
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        probe = path / ".write-test"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise StorageError(
            f"DATA_DIR {path} cannot be written: {error.strerror or type(error).__name__}.",
            "Set DATA_DIR to a directory that this user may write to.",
        ) from error


def database_url(data_dir: Path) -> str:
    """SQLite in the data directory."""
    return f"sqlite+aiosqlite:///{data_dir / 'meetings.db'}"


def choose_engine(settings: Settings) -> tuple[AsrEngine, str]:
    """The speech engine and why it was chosen. Raises ConfigurationError."""
    from meeting_assistant.adapters.asr.moonshine import MoonshineEngine

    match settings.asr_engine:
        case "moonshine":
            return MoonshineEngine(), "ASR_ENGINE=moonshine asks for it."
        case "faster-whisper":
            return _whisper(settings, can_download=True), "ASR_ENGINE=faster-whisper asks for it."
        case "openai":
            from meeting_assistant.adapters.asr.openai_transcriptions import OpenAiTranscriptions

            key = settings.asr_api_key
            engine = OpenAiTranscriptions(
                settings.asr_base_url, settings.asr_model_id, api_key=key.get_secret_value() if key else None
            )
            return engine, "ASR_ENGINE=openai asks for it."
        case "auto":
            return _best_engine(settings)


def _best_engine(settings: Settings) -> tuple[AsrEngine, str]:
    """Whisper where it was asked for or there is a GPU, if its weights are there; else the embedded engine."""
    from meeting_assistant.adapters.asr.moonshine import MoonshineEngine
    from meeting_assistant.adapters.asr.whisper import has_cuda, is_on_disk

    model = settings.asr_model_id
    if "asr_model_id" in settings.model_fields_set:
        why = f"ASR_MODEL_ID={model} is set"
    elif has_cuda():
        why = "there is a CUDA device"
    else:
        return MoonshineEngine(), "ASR_ENGINE=auto: the embedded engine needs no download and no GPU."
    if is_on_disk(model):
        return _whisper(settings, can_download=False), f"ASR_ENGINE=auto: {why}, and its weights are here."
    return MoonshineEngine(), (
        f"ASR_ENGINE=auto: {why}, but the weights of {model} are not on this machine; "
        "ASR_ENGINE=faster-whisper downloads them at start."
    )


def _whisper(settings: Settings, *, can_download: bool) -> AsrEngine:
    from meeting_assistant.adapters.asr.whisper import WhisperEngine, WhisperOptions, has_cuda

    is_on_gpu = has_cuda()
    compute_type: str = settings.asr_compute_type
    if compute_type == "auto" and not is_on_gpu:
        compute_type = "float32"
    return WhisperEngine(
        WhisperOptions(
            model=settings.asr_model_id,
            device="cuda" if is_on_gpu else "cpu",
            compute_type=compute_type,
            max_batch=settings.inference_batch_size,
            can_download=can_download,
        )
    )


def choose_audio_store(settings: Settings, notes: list[str]) -> AudioStore | None:
    """Journals on disk, or None for `AUDIO_STORAGE=memory`."""
    if settings.audio_storage == "memory":
        return None
    from meeting_assistant.adapters.storage.journal_files import FileAudioStore
    from meeting_assistant.adapters.storage.keys import load_or_create_keyring

    keyring = load_or_create_keyring(settings.audio_encryption_keys(), settings.data_dir)
    if keyring.source == "generated":
        notes.append(
            "AUDIO_ENCRYPTION_KEY is not set: recordings are encrypted with a key generated into the data "
            "directory (audio.key). Keep a copy of it elsewhere."
        )
    return FileAudioStore(settings.data_dir / "audio", keyring)


def choose_job_backend(settings: Settings) -> JobBackend:
    """Raises ConfigurationError."""
    if settings.orchestrator_backend == "local":
        from meeting_assistant.adapters.jobs.local import LocalJobBackend

        return LocalJobBackend(settings.inference_workers)
    raise ConfigurationError(
        f"ORCHESTRATOR_BACKEND={settings.orchestrator_backend} is not in this version.",
        "Use ORCHESTRATOR_BACKEND=local.",
    )


def engine_names(
    engine: AsrEngine, vad: Vad, diarization: DiarizationChoice, minutes: MinutesService
) -> Mapping[str, str]:
    """What `/health`, the page and every meeting's record say."""
    return {
        "asr": engine.info.model,
        "vad": vad.name,
        "diarization": diarization.name,
        "minutes": minutes.provider,
    }


def live_options(settings: Settings, diarization: DiarizationChoice) -> LiveOptions:
    """How live meetings are run."""
    return LiveOptions(
        max_sessions=settings.max_sessions,
        max_bytes=int(settings.max_meeting_hours * 3600) * 32_000,
        grace_s=settings.session_grace_seconds,
        partial_interval_s=settings.partial_interval_seconds,
        default_language=settings.asr_language,
        has_speakers=diarization.name != "off",
        endpointing=EndpointOptions(
            threshold=settings.vad_threshold,
            release=max(0.05, settings.vad_threshold - 0.15),
            silence_ms=settings.endpoint_silence_ms,
            max_utterance_ms=int(settings.max_utterance_seconds * 1000),
        ),
    )


def build_llm_service(settings: Settings) -> LLMService:
    """The providers that are configured, in the order that is configured."""

    def observe(attempt: Attempt) -> None:
        llm_latency_seconds.labels(attempt.provider).observe(attempt.seconds)

    providers = (choose_llm(name, settings) for name in settings.llm_provider_order)
    is_vllm_chosen = any(map(settings.is_set, ("vllm_base_url", "vllm_model_id", "vllm_api_key")))
    return LLMService(
        [provider for provider in providers if provider is not None],
        max_retries=settings.llm_max_retries,
        backoff_s=settings.llm_backoff_seconds,
        is_local_only=settings.llm_local_only,
        optional=frozenset() if is_vllm_chosen else frozenset({"vllm"}),
        on_attempt=observe,
    )


def choose_llm(name: str, settings: Settings) -> LlmProvider | None:
    """The provider of that name, or None when it is not configured (`embedded` writes without a model)."""
    from meeting_assistant.adapters.llm.anthropic import AnthropicMessages
    from meeting_assistant.adapters.llm.gemini import GeminiGenerate
    from meeting_assistant.adapters.llm.http import JsonHttp
    from meeting_assistant.adapters.llm.openai_chat import CLOUD, LOCAL, OpenAiChat, join_url

    def reach(base_url: str, headers: Mapping[str, str]) -> JsonHttp:
        return JsonHttp(name, base_url, headers, timeout_s=settings.llm_timeout_seconds)

    match name:
        case "vllm":
            base = settings.vllm_base_url
            http = reach(base, bearer(settings.vllm_api_key))
            return OpenAiChat(
                name,
                http=http,
                url=join_url(base, settings.vllm_completions_endpoint),
                model=settings.vllm_model_id,
                dialect=LOCAL,
                is_local=True,
                models_url=None if settings.is_set("vllm_model_id") else join_url(base, "/v1/models"),
            )
        case "xai" if settings.xai_api_key:
            base, model = settings.xai_base_url, settings.xai_model_id
            http = reach(base, bearer(settings.xai_api_key))
        case "openai" if settings.openai_api_key:
            base, model = settings.openai_base_url, settings.openai_model_id
            http = reach(base, bearer(settings.openai_api_key))
        case "azure" if (
            settings.azure_openai_endpoint
            and settings.azure_openai_api_key
            and settings.azure_openai_deployment
        ):
            endpoint, model = settings.azure_openai_endpoint, settings.azure_openai_deployment
            http = reach(endpoint, {"api-key": settings.azure_openai_api_key.get_secret_value()})
            url = azure_url(endpoint, model, settings.azure_openai_api_version)
            return OpenAiChat(name, http=http, url=url, model=model, dialect=CLOUD, is_local=http.is_loopback)
        case "anthropic" if settings.anthropic_api_key:
            key = settings.anthropic_api_key.get_secret_value()
            base, model = settings.anthropic_base_url, settings.anthropic_model_id
            http = reach(base, {"x-api-key": key, "anthropic-version": settings.anthropic_version})
            url = join_url(base, "/v1/messages")
            return AnthropicMessages(name, http=http, url=url, model=model, is_local=http.is_loopback)
        case "gemini" if settings.google_gemini_api_key:
            base, model = settings.google_gemini_base_url, settings.google_gemini_model_id
            http = reach(base, {"x-goog-api-key": settings.google_gemini_api_key.get_secret_value()})
            url = join_url(base, f"/models/{model}:generateContent")
            return GeminiGenerate(name, http=http, url=url, model=model, is_local=http.is_loopback)
        case _:
            return None
    url = join_url(base, "/chat/completions")
    return OpenAiChat(name, http=http, url=url, model=model, dialect=CLOUD, is_local=http.is_loopback)


def bearer(key: SecretStr | None) -> dict[str, str]:
    """The usual header, or none without a key."""
    return {"Authorization": f"Bearer {key.get_secret_value()}"} if key else {}


def azure_url(endpoint: str, deployment: str, version: str | None) -> str:
    """The `/v1` form that Azure recommends, or the deployments form when a version is named."""
    base = endpoint.rstrip("/")
    if version is None:
        return f"{base.removesuffix('/openai/v1')}/openai/v1/chat/completions"
    return f"{base}/openai/deployments/{deployment}/chat/completions?api-version={version}"
