"""The services that work on meetings: live, uploaded, finished."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Awaitable, Callable
from functools import partial

from meeting_assistant.bootstrap.recordings import check_room
from meeting_assistant.bootstrap.speakers import build_voice_profiles, enrolled_speakers_of
from meeting_assistant.bootstrap.speech import SpeechParts
from meeting_assistant.bootstrap.storage import StorageParts
from meeting_assistant.config import Settings
from meeting_assistant.domain.errors import ConflictError
from meeting_assistant.domain.jobs import InferenceJob, JobKind
from meeting_assistant.domain.meeting import MeetingOptions
from meeting_assistant.domain.ports import DecodeLimits
from meeting_assistant.integrations.workflows import Workflows
from meeting_assistant.services.asr.endpointing import EndpointOptions
from meeting_assistant.services.jobs.orchestrator import Orchestrator
from meeting_assistant.services.live.live_meetings import LiveMeetings
from meeting_assistant.services.live.session_plan import LiveOptions, SessionPlanner
from meeting_assistant.services.meetings.archiving import RecordingArchiver
from meeting_assistant.services.meetings.finishing import MeetingFinisher
from meeting_assistant.services.meetings.meeting_service import MeetingService
from meeting_assistant.services.meetings.offline_diarization import OfflineDiarization
from meeting_assistant.services.meetings.parts import MeetingParts
from meeting_assistant.services.meetings.recovery import Recovery
from meeting_assistant.services.meetings.redact import Redaction
from meeting_assistant.services.meetings.retention import Retention, RetentionPolicy
from meeting_assistant.services.meetings.speaker_edits import SpeakerEdits
from meeting_assistant.services.meetings.upload_budget import UploadBudget
from meeting_assistant.services.meetings.upload_files import UploadFiles
from meeting_assistant.services.meetings.uploads import Uploads
from meeting_assistant.services.minutes.parts import MinutesParts


def build_meetings(
    settings: Settings,
    storage: StorageParts,
    speech: SpeechParts,
    minutes: MinutesParts,
    workflows: Workflows,
    orchestrator: Orchestrator,
    now_ms: Callable[[], int] = lambda: int(time.time() * 1000),
) -> MeetingParts:
    """Build them, and register the jobs that they handle. Raises ConfigurationError, StorageError."""
    writing, reading = storage.writing, storage.reading
    profiles = build_voice_profiles(settings, storage.database)
    options = live_options(settings, _options_check(minutes, workflows))
    planner = SessionPlanner(
        storage.store, speech.diarization.live, enrolled_speakers_of(profiles), speech.engines, options
    )
    live = LiveMeetings(
        io=writing,
        runner=speech.runner,
        planner=planner,
        orchestrator=orchestrator,
        notes=minutes.notes,
        new_resampler=speech.new_resampler,
    )
    files = UploadFiles(settings.data_dir / "uploads")
    uploads = _uploads(settings, storage, speech, planner, orchestrator, files)
    recovery = Recovery(reading, live, uploads, orchestrator)
    service = MeetingService(reading, live, uploads, recovery)
    retention = Retention(reading, files, RetentionPolicy.parse(settings.audio_retention), now_ms)
    offline_diarization = OfflineDiarization(
        reading, speech.diarization, timeout_s=settings.diarization_timeout_seconds
    )
    finisher = MeetingFinisher(
        writing,
        minutes.service,
        minutes.notes,
        speech.engines,
        speakers=offline_diarization,
        on_finished=_on_finished(orchestrator, retention, storage.recordings.moves),
        redated=minutes.start_correction.redated,
    )
    orchestrator.handle(JobKind.FINISH_MEETING, finisher.finish)
    orchestrator.handle(JobKind.WORKFLOWS, workflows.handle)
    return MeetingParts(
        service=service,
        live=live,
        uploads=uploads,
        upload_budget=UploadBudget(partial(check_room, settings)),
        finisher=finisher,
        offline_diarization=offline_diarization,
        recovery=recovery,
        retention=retention,
        redaction=Redaction(reading, files, minutes.service, minutes.start_correction.redated),
        speakers=SpeakerEdits(
            storage.store, storage.channels, profiles, speech.diarization.live, service.open_recording
        ),
    )


def _uploads(
    settings: Settings,
    storage: StorageParts,
    speech: SpeechParts,
    planner: SessionPlanner,
    orchestrator: Orchestrator,
    files: UploadFiles,
) -> Uploads:
    uploads = Uploads(
        io=storage.writing,
        runner=speech.runner,
        planner=planner,
        orchestrator=orchestrator,
        decoder=speech.decoder,
        files=files,
        limits=DecodeLimits(max_duration_s=settings.max_meeting_hours * 3600),
    )
    orchestrator.handle(JobKind.TRANSCRIBE_FILE, uploads.transcribe)
    return uploads


def live_options(settings: Settings, check_options: Callable[[MeetingOptions], None]) -> LiveOptions:
    """Return how meetings are recorded and transcribed. `check_options` raises InputError."""
    return LiveOptions(
        max_sessions=settings.max_sessions,
        max_sessions_per_owner=settings.client_limits.sessions_per_owner,
        check_options=check_options,
        check_space=partial(check_room, settings),
        max_bytes=int(settings.max_meeting_hours * 3600) * 32_000,
        grace_s=settings.session_grace_seconds,
        partial_interval_s=settings.partial_interval_seconds,
        default_language=settings.asr_language,
        has_speakers=settings.diarization_engine != "off",
        endpointing=EndpointOptions(
            threshold=settings.endpointing.threshold,
            release=max(0.05, settings.endpointing.threshold - 0.15),
            silence_ms=settings.endpointing.silence_ms,
            max_utterance_ms=int(settings.endpointing.max_seconds * 1000),
        ),
    )


def _options_check(minutes: MinutesParts, workflows: Workflows) -> Callable[[MeetingOptions], None]:
    def check_options(options: MeetingOptions) -> None:
        minutes.service.check_options(options)
        workflows.check_names(options.workflows)

    return check_options


def _on_finished(
    orchestrator: Orchestrator, retention: Retention, archiver: RecordingArchiver | None
) -> Callable[[str], Awaitable[None]]:
    """Return what follows a finished meeting: its workflows, and the end of its audio or the way to the archive."""

    async def on_finished(meeting_id: str) -> None:
        with contextlib.suppress(ConflictError):  # shutting down: the next start resumes the step
            await orchestrator.submit(InferenceJob(kind=JobKind.WORKFLOWS, meeting_id=meeting_id))
        await retention.on_minutes_written()
        if archiver is not None:
            archiver.wake(meeting_id)

    return on_finished
