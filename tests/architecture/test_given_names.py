"""Names that the product promises: other people's code and operators' searches rely on them."""

from __future__ import annotations

import importlib

import pytest

GIVEN = {
    "meeting_assistant.services.asr_service": ["AsrService"],
    "meeting_assistant.services.orchestrator": ["InferenceJob", "Orchestrator", "process_audio_session"],
    "meeting_assistant.services.llm_service": ["LLMService"],
    "meeting_assistant.services.audio_buffer": ["SecureAudioBuffer"],
    "meeting_assistant.services.diarization_service": ["choose_diarization"],
    "meeting_assistant.services.batching": ["TicketQueue"],
    "meeting_assistant.services.commit_policy": ["Stabiliser"],
    "meeting_assistant.services.endpointing": ["Endpointer"],
    "meeting_assistant.integrations.workflows": ["run_post_meeting_workflows"],
    "meeting_assistant.app": ["create_app"],
    "meeting_assistant.config": ["Settings"],
    "meeting_assistant.bootstrap": ["build"],
    "meeting_assistant.domain.ports": [
        "AsrEngine", "AudioStore", "JobBackend", "LlmProvider", "MeetingStore", "MinutesWriter", "Vad",
    ],
    "meeting_assistant.web.protocol": ["client_message", "server_message"],
    "meeting_assistant.cli": ["main"],
}  # fmt: skip

METRICS = [
    "inference_queue_depth",
    "inference_jobs_total",
    "inference_failures_total",
    "inference_job_duration_seconds",
    "asr_latency_seconds",
    "diarization_latency_seconds",
    "llm_latency_seconds",
    "live_sessions",
    "caption_lag_seconds",
    "word_commit_seconds",
    "degradation_level",
    "batch_size",
    "tickets_coalesced_total",
    "gaps_total",
    "suppressed_hypotheses_total",
    "event_loop_stall_seconds",
    "outbox_pending",
]


@pytest.mark.parametrize("module", GIVEN)
def test_promised_names_can_be_imported(module: str) -> None:
    loaded = importlib.import_module(module)
    assert [name for name in GIVEN[module] if not hasattr(loaded, name)] == []


def test_promised_metrics_exist() -> None:
    from prometheus_client import REGISTRY, generate_latest

    import meeting_assistant.observability  # noqa: F401

    text = generate_latest(REGISTRY).decode()
    assert [
        name for name in METRICS if f"# TYPE meeting_assistant_{name.removesuffix('_total')}" not in text
    ] == []


def test_messages_that_operators_search_for_are_unchanged() -> None:
    from meeting_assistant.domain.errors import AudioDecryptionError, EngineNotInstalledError

    assert str(EngineNotInstalledError("some-engine", "")) == "ASR error: some-engine is not installed."
    assert str(AudioDecryptionError("…", "")).startswith("Audio decryption failed")
