"""The catalogue of the dashboard: which metrics it shows, in which order, with which labels and alert thresholds.

The thresholds are those of deploy/prometheus/alerts.yml; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Sequence

from meeting_assistant.services.admin.fleet_catalogue import FLEET
from meeting_assistant.services.admin.metric_definitions import MINUTE, Alert, Definition, GroupDefinition, P

CATALOGUE: Sequence[GroupDefinition] = (
    GroupDefinition(
        "meetings",
        "Meetings",
        (Definition("live", "Recording now", f"{P}live_sessions", "gauge"),),
    ),
    GroupDefinition(
        "captions",
        "Live captions",
        (
            Definition(
                "caption_lag",
                "Caption lag",
                f"{P}caption_lag_seconds",
                "histogram",
                "s",
                "Audio received but not yet shown, measured when a caption is sent.",
                alert=Alert("CaptionsLag", "p95", 3, 5 * MINUTE, "Fewer meetings, or more workers."),
            ),
            Definition(
                "word_commit",
                "Word commit latency",
                f"{P}word_commit_seconds",
                "histogram",
                "s",
                "From the end of a word until it is shown as stable text.",
            ),
            Definition(
                "gaps",
                "Audio gaps",
                f"{P}gaps_total",
                "counter",
                "",
                "Audio that could not be transcribed. It is stored. Off the record is not counted.",
                without={"reason": frozenset({"off_the_record"})},
                parts_by="reason",
                alert=Alert(
                    "Gaps", "increase", 0, 15 * MINUTE, "See the log for the engine's error, then retry."
                ),
            ),
            Definition(
                "suppressed",
                "Hallucinations suppressed",
                f"{P}suppressed_hypotheses_total",
                "counter",
                "",
                "Text recognised in silence or noise, discarded before it was shown.",
                parts_by="guard",
            ),
        ),
    ),
    GroupDefinition(
        "recognition",
        "Speech recognition",
        (
            Definition(
                "asr_final",
                "Decode latency, finals",
                f"{P}asr_latency_seconds",
                "histogram",
                "s",
                "From asking for its text to having it.",
                only={"kind": frozenset({"final"})},
            ),
            Definition(
                "asr_caption",
                "Decode latency, partials",
                f"{P}asr_latency_seconds",
                "histogram",
                "s",
                "From asking for its text to having it.",
                only={"kind": frozenset({"partial", "commit"})},
            ),
            Definition(
                "batch_size",
                "Batch size",
                f"{P}batch_size",
                "histogram",
                "windows",
                "Windows of audio that one decode processes, across meetings.",
            ),
            Definition(
                "degradation",
                "Degradation level",
                f"{P}degradation_level",
                "gauge",
                "",
                "0: full quality; 4: new meetings are refused.",
                alert=Alert("SteppedDown", "value", 3, 5 * MINUTE, "The machine is full."),
            ),
            Definition(
                "coalesced",
                "Partials coalesced",
                f"{P}tickets_coalesced_total",
                "counter",
                "",
                "Requests for a partial that a newer request replaced before it was decoded.",
            ),
            Definition(
                "diarization",
                "Diarization latency",
                f"{P}diarization_latency_seconds",
                "histogram",
                "s",
                "From the end of an utterance until its speaker is known.",
            ),
        ),
        only_where="one machine",
    ),
    GroupDefinition(
        "work",
        "Background jobs",
        (
            Definition(
                "queue",
                "Queued jobs",
                f"{P}inference_queue_depth",
                "gauge",
                "",
                "Jobs that have not started.",
                alert=Alert(
                    "QueueGrows", "value", 5, 5 * MINUTE, "Add workers, or find out why they are slow."
                ),
            ),
            Definition("jobs", "Jobs started", f"{P}inference_jobs_total", "counter", parts_by="kind"),
            Definition(
                "failures",
                "Failed jobs",
                f"{P}inference_failures_total",
                "counter",
                "",
                "The errors of each meeting name the remedy.",
                parts_by="kind",
                alert=Alert("JobsFail", "increase", 3, 10 * MINUTE, "See the log and the meetings' errors."),
            ),
            Definition("job_time", "Job duration", f"{P}inference_job_duration_seconds", "histogram", "s"),
            Definition(
                "llm",
                "Response time of {}",
                f"{P}llm_latency_seconds",
                "histogram",
                "s",
                "Time this provider took to answer or to fail.",
                split_by="provider",
            ),
        ),
    ),
    GroupDefinition(
        "deliveries",
        "Deliveries",
        (
            Definition(
                "outbox",
                "Pending deliveries",
                f"{P}outbox_pending",
                "gauge",
                "",
                "Deliveries to other systems that are not complete, and actions that wait for approval.",
                without={"state": frozenset({"parked"})},
                parts_by="state",
            ),
            Definition(
                "parked",
                "Parked deliveries",
                f"{P}outbox_pending",
                "gauge",
                "",
                "Deliveries that failed for good and wait for a retry.",
                only={"state": frozenset({"parked"})},
                alert=Alert(
                    "OutboxStands",
                    "value",
                    0,
                    10 * MINUTE,
                    "`meeting-assistant workflows deliveries` lists the errors; fix them and retry.",
                ),
            ),
            Definition(
                "deliveries", "Delivery attempts", f"{P}deliveries_total", "counter", parts_by="outcome"
            ),
        ),
    ),
    GroupDefinition(
        "recordings",
        "Recordings",
        (
            Definition(
                "audio_store",
                "Archive backlog",
                f"{P}audio_store_pending",
                "gauge",
                "",
                "Finished recordings that are not in the object store yet, and objects that are to be deleted from it.",
                parts_by="work",
                alert=Alert(
                    "RecordingsWait",
                    "value",
                    0,
                    30 * MINUTE,
                    "See /health: the store is unavailable or denies access. Recordings stay on the disk until then.",
                ),
            ),
        ),
    ),
    FLEET,
    GroupDefinition(
        "process",
        "Process",
        (
            Definition(
                "stall",
                "Event loop stalls",
                f"{P}event_loop_stall_seconds",
                "histogram",
                "s",
                "How much later than scheduled the event loop woke up.",
                alert=Alert("EventLoopStalls", "p99", 0.25, 5 * MINUTE, "Another process takes the CPU."),
            ),
            Definition("memory", "Memory", "process_resident_memory_bytes", "gauge", "bytes"),
            Definition("cpu", "CPU", "process_cpu_seconds_total", "rate", "cores"),
        ),
    ),
)
