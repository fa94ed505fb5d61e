"""Interfaces that the services need to the outside world, in words of the domain.

Adapters implement these; services know nothing else about them. A port with several
implementations has a contract suite (`tests/contract`).
"""

from __future__ import annotations

from meeting_assistant.domain.ports.browser_sessions import BrowserSessionStore
from meeting_assistant.domain.ports.checks import CheckResult
from meeting_assistant.domain.ports.fleet import (
    AudioFrame,
    GatewayLink,
    HeldJob,
    RelayLink,
    ResultChannel,
    WorkerLink,
)
from meeting_assistant.domain.ports.jobs import JobBackend, JobHandler
from meeting_assistant.domain.ports.language import (
    LlmCallLog,
    LlmProvider,
    LlmReply,
    LlmRequest,
    PreferenceStore,
)
from meeting_assistant.domain.ports.meetings import (
    MeetingRecords,
    MeetingStore,
    RetentionStore,
    StepLedger,
)
from meeting_assistant.domain.ports.minutes import MinutesRequest, MinutesStore, MinutesWriter
from meeting_assistant.domain.ports.search import QuestionReader, SearchHit, SearchIndex
from meeting_assistant.domain.ports.shares import ShareStore
from meeting_assistant.domain.ports.sound import (
    AudioArchive,
    AudioJournal,
    AudioStore,
    DecodeLimits,
    MediaDecoder,
    MediaInfo,
)
from meeting_assistant.domain.ports.speakers import (
    Diarizer,
    SpeakerTurn,
    VoiceProfile,
    VoiceProfileStore,
)
from meeting_assistant.domain.ports.speech import (
    SURE_OF_LANGUAGE,
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
from meeting_assistant.domain.ports.transcripts import EventLog, SpeakerStore, StoredEvent, TranscriptStore
from meeting_assistant.domain.ports.workflows import DeliveryStore, Integration

__all__ = [
    "SURE_OF_LANGUAGE",
    "VAD_FRAME_SAMPLES",
    "AsrEngine",
    "AsrRequest",
    "AsrResult",
    "AudioArchive",
    "AudioFrame",
    "AudioJournal",
    "AudioStore",
    "BrowserSessionStore",
    "CheckResult",
    "DecodeKind",
    "DecodeLimits",
    "DeliveryStore",
    "Diarizer",
    "EngineInfo",
    "EventLog",
    "GatewayLink",
    "HeldJob",
    "Integration",
    "JobBackend",
    "JobHandler",
    "LlmCallLog",
    "LlmProvider",
    "LlmReply",
    "LlmRequest",
    "MediaDecoder",
    "MediaInfo",
    "MeetingRecords",
    "MeetingStore",
    "MinutesRequest",
    "MinutesStore",
    "MinutesWriter",
    "PreferenceStore",
    "QuestionReader",
    "RelayLink",
    "ResultChannel",
    "RetentionStore",
    "SearchHit",
    "SearchIndex",
    "ShareStore",
    "SpeakerStore",
    "SpeakerTurn",
    "StepLedger",
    "StoredEvent",
    "TranscriptStore",
    "Vad",
    "VadStream",
    "VoiceEmbedder",
    "VoiceProfile",
    "VoiceProfileStore",
    "VoiceVector",
    "WorkerLink",
]
