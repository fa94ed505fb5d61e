"""What the services need from the outside world, in words of the domain.

Adapters implement these; services know nothing else about them. One contract suite per port runs for the
public double and for every adapter.
"""

from __future__ import annotations

from meeting_assistant.domain.ports.checks import CheckResult
from meeting_assistant.domain.ports.jobs import JobBackend, JobHandler
from meeting_assistant.domain.ports.language import (
    LlmProvider,
    LlmReply,
    LlmRequest,
    MinutesRequest,
    MinutesWriter,
)
from meeting_assistant.domain.ports.meetings import MeetingStore, StoredEvent
from meeting_assistant.domain.ports.shares import ShareStore
from meeting_assistant.domain.ports.sound import (
    AudioJournal,
    AudioStore,
    DecodeLimits,
    MediaDecoder,
    MediaInfo,
)
from meeting_assistant.domain.ports.speech import (
    VAD_FRAME_SAMPLES,
    AsrEngine,
    AsrRequest,
    AsrResult,
    DecodeKind,
    EngineInfo,
    Vad,
    VadStream,
    VoiceEmbedder,
    VoiceVector,
)

__all__ = [
    "VAD_FRAME_SAMPLES",
    "AsrEngine",
    "AsrRequest",
    "AsrResult",
    "AudioJournal",
    "AudioStore",
    "CheckResult",
    "DecodeKind",
    "DecodeLimits",
    "EngineInfo",
    "JobBackend",
    "JobHandler",
    "LlmProvider",
    "LlmReply",
    "LlmRequest",
    "MediaDecoder",
    "MediaInfo",
    "MeetingStore",
    "MinutesRequest",
    "MinutesWriter",
    "ShareStore",
    "StoredEvent",
    "Vad",
    "VadStream",
    "VoiceEmbedder",
    "VoiceVector",
]
