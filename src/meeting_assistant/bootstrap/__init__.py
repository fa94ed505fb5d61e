"""From names in the settings to objects. Commands that repair or inspect one part (`keys`, `backup`, `doctor`,
`workflows`) make that part themselves."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from meeting_assistant import __version__
from meeting_assistant.bootstrap.fleet import (
    build_far_diarizer,
    build_relay,
    build_remote_sessions,
    machine_name,
)
from meeting_assistant.bootstrap.language_models import build_llm_service
from meeting_assistant.bootstrap.recordings import Recordings, build_recordings, check_free_space
from meeting_assistant.bootstrap.recordings import audio_directory as audio_directory
from meeting_assistant.bootstrap.recordings import store_address as store_address
from meeting_assistant.bootstrap.speakers import (
    build_diarization,
    build_voice_profiles,
    notes_on_speakers,
)
from meeting_assistant.bootstrap.speech import choose_engine
from meeting_assistant.bootstrap.workflows import build_workflows
from meeting_assistant.config import Settings
from meeting_assistant.domain.audio import Waveform, pcm_to_samples, to_waveform
from meeting_assistant.domain.errors import ConflictError, StorageError
from meeting_assistant.domain.jobs import InferenceJob, JobKind
from meeting_assistant.domain.meeting import MeetingOptions
from meeting_assistant.domain.ports import (
    AsrEngine,
    DecodeLimits,
    LlmCallLog,
    MeetingStore,
    PreferenceStore,
    Vad,
)
from meeting_assistant.integrations.dispatcher import Dispatcher
from meeting_assistant.integrations.workflows import Workflows
from meeting_assistant.services.admin.access_service import AccessService
from meeting_assistant.services.asr.asr_service import AsrService
from meeting_assistant.services.asr.endpointing import EndpointOptions
from meeting_assistant.services.diarization.diarization_service import DiarizationService
from meeting_assistant.services.diarization.live_labels import EnrolledSpeaker
from meeting_assistant.services.events.event_relay import EventRelay
from meeting_assistant.services.events.meeting_channel import Channels
from meeting_assistant.services.events.meeting_io import MeetingIo
from meeting_assistant.services.fleet.remote_sessions import RemoteSessions
from meeting_assistant.services.jobs.orchestrator import Orchestrator
from meeting_assistant.services.jobs.resumable_steps import (
    ResumableStep,
    ResumableSteps,
    submit_incomplete,
)
from meeting_assistant.services.live.live_meetings import LiveMeetings
from meeting_assistant.services.live.session_plan import LiveOptions, SessionPlanner
from meeting_assistant.services.live.session_runner import LocalSessions, SessionRunner
from meeting_assistant.services.llm.llm_service import LLMService
from meeting_assistant.services.meetings.finishing import MeetingFinisher
from meeting_assistant.services.meetings.meeting_service import MeetingService
from meeting_assistant.services.meetings.offline_diarization import OfflineDiarization
from meeting_assistant.services.meetings.retention import RetentionPolicy, Upkeep
from meeting_assistant.services.meetings.speaker_edits import Speakers
from meeting_assistant.services.meetings.uploads import Uploads
from meeting_assistant.services.minutes.editor import MinutesEditor
from meeting_assistant.services.minutes.live_notes import LiveNotes
from meeting_assistant.services.minutes.llm_minutes import LlmMinutes
from meeting_assistant.services.minutes.minutes_service import MinutesService
from meeting_assistant.services.minutes.questions.ask_service import AskService
from meeting_assistant.services.transcription.session_types import SpeechServices
from meeting_assistant.web.context import ServerInfo

DISK_THREADS = 8
"""Group commits of many meetings are in flight at once; each waits for the disk, not for the processor."""


@dataclass(slots=True)
class Services:
    """Everything that runs, wired together and not yet started."""

    settings: Settings
    store: MeetingStore
    recordings: Recordings
    asr: AsrService
    vad: Vad
    diarization: DiarizationService
    minutes: MinutesService
    editor: MinutesEditor
    ask: AskService
    calls: LlmCallLog
    preferences: PreferenceStore
    llm: LLMService
    orchestrator: Orchestrator
    channels: Channels
    live: LiveMeetings
    uploads: Uploads
    upkeep: Upkeep
    workflows: Workflows
    speakers: Speakers
    settling: OfflineDiarization
    resumable: ResumableSteps
    remote: RemoteSessions | None
    """Where speech is recognised by a fleet; None where it is recognised here."""
    relay: EventRelay | None
    dispatcher: Dispatcher
    access: AccessService
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
    problems: list[str] = []
    from meeting_assistant.adapters.audio.decoder import PyAvDecoder
    from meeting_assistant.adapters.audio.resampler import StreamResampler
    from meeting_assistant.adapters.minutes_rules import EmbeddedWriter
    from meeting_assistant.adapters.minutes_rules.due_phrases import resolve_due
    from meeting_assistant.adapters.minutes_rules.question import EmbeddedQuestionReader
    from meeting_assistant.adapters.storage.sql.database import Database
    from meeting_assistant.adapters.storage.sql.deliveries import SqlDeliveryStore
    from meeting_assistant.adapters.storage.sql.llm_calls import SqlLlmCalls, SqlPreferences
    from meeting_assistant.adapters.storage.sql.meeting_store import SqlMeetingStore
    from meeting_assistant.adapters.storage.sql.search import SqlSearchIndex
    from meeting_assistant.adapters.storage.sql.shares import SqlShareStore
    from meeting_assistant.adapters.vad.silero import SileroVad

    database = Database(database_url(settings))
    is_fleet = settings.orchestrator_backend == "redis"
    store = SqlMeetingStore(database, gateway=machine_name(settings) if is_fleet else "")
    recordings = build_recordings(settings, database, store, notes, problems)
    audio = recordings.audio
    asr = AsrService(engine, batch_size=settings.inference_batch_size, probe=spoken_sample)
    vad = SileroVad()

    def note_engines(found: Mapping[str, str]) -> None:
        engines.update(found, diarization=diarization.name)

    remote = build_remote_sessions(settings, engine.info, note_engines) if is_fleet else None
    far = build_far_diarizer(settings, remote)
    diarization = build_diarization(settings, elsewhere=far)
    notes += notes_on_speakers(settings)
    vad_threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="vad")
    disk_threads = ThreadPoolExecutor(max_workers=DISK_THREADS, thread_name_prefix="disk")
    tools = SpeechServices(asr=asr, vad=vad, vad_threads=vad_threads, diarization=diarization)
    runner: SessionRunner = remote or LocalSessions(tools)
    calls, preferences = SqlLlmCalls(database), SqlPreferences(database)
    llm = build_llm_service(settings, calls, preferences.keeps_local)
    minutes = MinutesService(EmbeddedWriter(), llm, LlmMinutes(llm, resolve_due), preferences)
    # Jobs that need the sound or tell watchers stay here; what a fleet does for them goes through `runner`.
    orchestrator = Orchestrator(settings.inference_workers, is_single_process=not database.is_shared)
    channels = Channels(store)
    engines = engine_names(engine, vad, diarization, minutes)
    workflows, dispatcher = build_workflows(settings, store, SqlDeliveryStore(database))

    def check_options(chosen: MeetingOptions) -> None:
        minutes.check_options(chosen)
        workflows.check_names(chosen.workflows)

    options = live_options(settings, check_options)
    profiles = build_voice_profiles(settings, database)

    async def enrolled_speakers(owner: str) -> Sequence[EnrolledSpeaker]:
        return [EnrolledSpeaker(p.name, np.frombuffer(p.vector, "<f4")) for p in await profiles.voices(owner)]

    live_notes = LiveNotes(
        store,
        channels,
        minutes,
        interval_s=settings.notes_interval_seconds,
        is_busy=lambda: bool(asr.level),
    )
    io = MeetingIo(store, audio, channels, disk_threads)
    planner = SessionPlanner(store, diarization, enrolled_speakers, engines, options)
    live = LiveMeetings(
        io=io,
        runner=runner,
        planner=planner,
        orchestrator=orchestrator,
        notes=live_notes,
        new_resampler=StreamResampler,
    )
    uploads = Uploads(
        io=io,
        runner=runner,
        planner=planner,
        orchestrator=orchestrator,
        decoder=PyAvDecoder(),
        directory=settings.data_dir / "uploads",
        limits=DecodeLimits(max_duration_s=settings.max_meeting_hours * 3600),
    )
    meetings = MeetingService(
        store=store,
        audio=audio,
        channels=channels,
        live=live,
        uploads=uploads,
        orchestrator=orchestrator,
        disk_threads=recordings.threads,
    )
    upkeep = Upkeep(
        store=store,
        audio=audio,
        channels=channels,
        minutes=minutes,
        disk_threads=recordings.threads,
        retention=RetentionPolicy.parse(settings.audio_retention),
    )
    access = AccessService(settings.token_grants(), meetings=store, shares=SqlShareStore(database))

    async def on_finished(meeting_id: str) -> None:
        with contextlib.suppress(ConflictError):  # shutting down: the next start finds the step open
            await orchestrator.submit(InferenceJob(kind=JobKind.WORKFLOWS, meeting_id=meeting_id))
        await upkeep.minutes_are_written(meeting_id)
        if recordings.moves is not None:
            recordings.moves.wake(meeting_id)

    settling = OfflineDiarization(
        store,
        audio,
        channels,
        diarization,
        recordings.threads,
        timeout_s=settings.diarization_timeout_seconds,
    )
    finisher = MeetingFinisher(
        store, channels, minutes, live_notes, engines, speakers=settling, on_finished=on_finished
    )
    speakers = Speakers(store, channels, profiles, diarization, meetings.open_recording)
    editor = MinutesEditor(store, channels, minutes, orchestrator, on_rewritten=workflows.run_again)
    ask = AskService(store, SqlSearchIndex(database), EmbeddedQuestionReader(), minutes, llm)
    orchestrator.handle(JobKind.FINISH_MEETING, finisher.finish)
    orchestrator.handle(JobKind.TRANSCRIBE_FILE, uploads.transcribe)
    orchestrator.handle(JobKind.WRITE_MINUTES, editor.handle)
    orchestrator.handle(JobKind.WORKFLOWS, workflows.handle)
    resumable = ResumableSteps(
        [
            ResumableStep("meetings", meetings.recover, is_before_ready=True),
            ResumableStep(
                "workflows",
                partial(submit_incomplete, orchestrator, JobKind.WORKFLOWS, workflows.incomplete_steps),
            ),
            ResumableStep("speakers", settling.resume_incomplete),
            # After that: a rewrite may wait for a language model, and nothing else has to wait for it.
            ResumableStep("minutes", editor.resume_incomplete),
            ResumableStep("redaction", upkeep.resume_incomplete),
        ]
    )
    info = ServerInfo(
        version=__version__,
        engines=engines,
        engine_reason=reason,
        storage=settings.audio_storage,
        max_upload_bytes=settings.max_upload_bytes,
        max_meeting_hours=settings.max_meeting_hours,
        notes=notes,
        problems=problems,
        ask_for_problems=lambda: [
            problem
            for part in (remote, far, recordings.moves)
            if part is not None and (problem := part.problem)
        ],
    )
    return Services(
        settings=settings,
        store=store,
        recordings=recordings,
        asr=asr,
        vad=vad,
        diarization=diarization,
        minutes=minutes,
        editor=editor,
        ask=ask,
        calls=calls,
        preferences=preferences,
        llm=llm,
        orchestrator=orchestrator,
        channels=channels,
        live=live,
        uploads=uploads,
        upkeep=upkeep,
        workflows=workflows,
        speakers=speakers,
        settling=settling,
        resumable=resumable,
        remote=remote,
        relay=build_relay(settings, channels),
        dispatcher=dispatcher,
        access=access,
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


def database_path(data_dir: Path) -> Path:
    """The SQLite file."""
    return data_dir / "meetings.db"


def database_url(settings: Settings) -> str:
    """What `DATABASE_URL` says, or SQLite in the data directory."""
    if settings.database_url is not None:
        return settings.database_url.get_secret_value()
    return f"sqlite+aiosqlite:///{database_path(settings.data_dir)}"


def engine_names(
    engine: AsrEngine, vad: Vad, diarization: DiarizationService, minutes: MinutesService
) -> dict[str, str]:
    """What `/health`, the page and every meeting's record say."""
    return {
        "asr": engine.info.model,
        "vad": vad.name,
        "diarization": diarization.name,
        "minutes": minutes.provider,
    }


def live_options(settings: Settings, check_options: Callable[[MeetingOptions], None]) -> LiveOptions:
    """How live meetings are run."""
    return LiveOptions(
        max_sessions=settings.max_sessions,
        max_sessions_per_owner=settings.client_limits.sessions_per_owner,
        check_options=check_options,
        check_space=partial(check_free_space, settings.data_dir, settings.min_free_disk_bytes),
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
