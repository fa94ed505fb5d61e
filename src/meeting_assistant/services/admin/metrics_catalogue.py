"""The catalogue of the dashboard: which metrics it shows, in which order, with which labels and alert thresholds.

The thresholds are those of deploy/prometheus/alerts.yml; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

Kind = Literal["gauge", "counter", "histogram", "rate"]
"""`rate`: a counter shown as its increase per second."""
Unit = Literal["", "s", "bytes", "cores", "windows"]
Measure = Literal["value", "increase", "p95", "p99"]
GroupKey = Literal[
    "meetings", "captions", "recognition", "work", "deliveries", "recordings", "fleet", "process"
]

MINUTE = 60


@dataclass(frozen=True, slots=True)
class Alert:
    """Act when `measure` over the last `window_s` is above `above`."""

    name: str
    """Name of the alerting rule, without the prefix `MeetingAssistant`."""
    measure: Measure
    above: float
    window_s: int
    action: str


@dataclass(frozen=True, slots=True)
class Definition:
    """Definition of one entry of the dashboard."""

    key: str
    label: str
    metric: str
    kind: Kind
    unit: Unit = ""
    hint: str = ""
    only: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Label values that a series must have to be counted."""
    without: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Label values that exclude a series."""
    parts_by: str | None = None
    """The label that the value is broken down by."""
    split_by: str | None = None
    """The label whose every value gets an entry of its own."""
    alert: Alert | None = None

    def takes(self, labels: Mapping[str, str]) -> bool:
        """Return True when a series with these labels is counted."""
        return all(labels.get(name) in values for name, values in self.only.items()) and all(
            labels.get(name) not in values for name, values in self.without.items()
        )

    def of(self, value: str) -> Definition:
        """Return the definition for one value of the label that it is split by."""
        assert self.split_by is not None
        return replace(
            self,
            key=f"{self.key}_{value}",
            label=self.label.format(value),
            only={**self.only, self.split_by: frozenset({value})},
        )

    def words(self) -> dict[str, Any]:
        """Return the fields that the definition passes on to its summary."""
        return {
            name: getattr(self, name) for name in ("key", "label", "hint", "metric", "kind", "unit", "alert")
        }


@dataclass(frozen=True, slots=True)
class GroupDefinition:
    """Definitions that are shown under one heading."""

    key: GroupKey
    title: str
    definitions: Sequence[Definition]
    only_where: Literal["fleet", "one machine"] | None = None


P = "meeting_assistant_"

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
    GroupDefinition(
        "fleet",
        "Fleet",
        (
            Definition(
                "waiting",
                "Longest wait for a worker",
                f"{P}fleet_waiting_oldest_seconds",
                "gauge",
                "s",
                "Age of the oldest live meeting without a worker. Its audio is stored.",
                only={"stream": frozenset({"live"})},
                alert=Alert(
                    "LiveMeetingsWait",
                    "value",
                    10,
                    MINUTE,
                    "Add workers, or find out why the running ones accept no jobs.",
                ),
            ),
            Definition(
                "pending",
                "Oldest lease without renewal, {}",
                f"{P}fleet_pending_oldest_seconds",
                "gauge",
                "s",
                "Above FLEET__LEASE_SECONDS the worker counts as lost, and another takes the job over.",
                split_by="stream",
                alert=Alert(
                    "LeasesAreNotRenewed",
                    "value",
                    30,
                    MINUTE,
                    "Check that a worker is running, has a free slot (FLEET__SLOTS) and has the same version.",
                ),
            ),
            Definition(
                "takeovers",
                "Worker takeovers",
                f"{P}fleet_takeovers_total",
                "counter",
                "",
                "Meetings that another worker continued.",
                alert=Alert(
                    "WorkersChange",
                    "increase",
                    5,
                    15 * MINUTE,
                    "Workers crash, or are too slow for FLEET__LEASE_SECONDS.",
                ),
            ),
            Definition(
                "reoffered",
                "Jobs offered again",
                f"{P}fleet_reoffered_total",
                "counter",
                "",
                "Jobs that Redis had lost.",
            ),
            Definition(
                "fenced",
                "Stale results dropped",
                f"{P}fleet_fenced_total",
                "counter",
                "",
                "Results of workers that no longer held the meeting.",
            ),
            Definition(
                "given_up",
                "Dead letters",
                f"{P}fleet_given_up_total",
                "counter",
                "",
                "Meetings of this gateway that every worker crashed on. Their pages offer a retry.",
                alert=Alert("GivenUp", "increase", 0, 15 * MINUTE, "See the logs of the workers."),
            ),
        ),
        only_where="fleet",
    ),
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
