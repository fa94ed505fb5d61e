"""Choice of the speech engine, with the reason that `/health` shows."""

from __future__ import annotations

from meeting_assistant.config import Settings
from meeting_assistant.domain.ports import AsrEngine


def choose_engine(settings: Settings) -> tuple[AsrEngine, str]:
    """Return the speech engine and why it was chosen. Raises ConfigurationError."""
    from meeting_assistant.adapters.asr.moonshine import MoonshineEngine

    match settings.asr_engine:
        case "moonshine":
            return MoonshineEngine(), "ASR_ENGINE=moonshine asks for it."
        case "faster-whisper":
            return _whisper(settings, can_download=True), "ASR_ENGINE=faster-whisper asks for it."
        case "openai":
            from meeting_assistant.adapters.asr.openai_transcriptions import OpenAiTranscriptions

            key = settings.asr_server.api_key
            engine = OpenAiTranscriptions(
                settings.asr_server.base_url,
                settings.asr_model_id,
                api_key=key.get_secret_value() if key else None,
            )
            return engine, "ASR_ENGINE=openai asks for it."
        case "auto":
            return _best_engine(settings)


def _best_engine(settings: Settings) -> tuple[AsrEngine, str]:
    """Return Whisper if it is requested or a GPU is present, and its weights are on disk; else the embedded engine."""
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
