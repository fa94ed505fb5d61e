"""`MeetingParts`: the services that work on meetings, as one value."""

from __future__ import annotations

from dataclasses import dataclass

from meeting_assistant.services.live.live_meetings import LiveMeetings
from meeting_assistant.services.meetings.finishing import MeetingFinisher
from meeting_assistant.services.meetings.meeting_service import MeetingService
from meeting_assistant.services.meetings.offline_diarization import OfflineDiarization
from meeting_assistant.services.meetings.recovery import Recovery
from meeting_assistant.services.meetings.redact import Redaction
from meeting_assistant.services.meetings.retention import Retention
from meeting_assistant.services.meetings.speaker_edits import SpeakerEdits
from meeting_assistant.services.meetings.upload_budget import UploadBudget
from meeting_assistant.services.meetings.uploads import Uploads


@dataclass(frozen=True, slots=True)
class MeetingParts:
    """The parts that work on a meeting, from its first second to the deletion of its audio."""

    service: MeetingService
    live: LiveMeetings
    uploads: Uploads
    upload_budget: UploadBudget
    finisher: MeetingFinisher
    offline_diarization: OfflineDiarization
    recovery: Recovery
    retention: Retention
    redaction: Redaction
    speakers: SpeakerEdits
