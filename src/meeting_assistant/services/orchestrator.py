"""Promised names; the code is in `services/jobs` and `services/transcription`."""

from meeting_assistant.domain.jobs import InferenceJob as InferenceJob
from meeting_assistant.services.jobs.orchestrator import Orchestrator as Orchestrator
from meeting_assistant.services.transcription.audio_session import (
    process_audio_session as process_audio_session,
)
