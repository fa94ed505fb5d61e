"""Which figures an operator is shown, in which order, in which words, and from where on somebody has to act.

The thresholds are those of deploy/prometheus/alerts.yml; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

Kind = Literal["gauge", "counter", "histogram", "rate"]
"""`rate`: a counter that is read as how fast it grows."""
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
    """Of the rule, without `MeetingAssistant`."""
    measure: Measure
    above: float
    window_s: int
    action: str


@dataclass(frozen=True, slots=True)
class Definition:
    """One figure."""

    key: str
    label: str
    metric: str
    kind: Kind
    unit: Unit = ""
    hint: str = ""
    only: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Labels and their values that count."""
    without: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Labels and their values that do not count."""
    parts_by: str | None = None
    """Its value is also told by this label."""
    split_by: str | None = None
    """It is a figure for each value of this label."""
    alert: Alert | None = None

    def takes(self, labels: Mapping[str, str]) -> bool:
        """True when a series with these labels counts."""
        return all(labels.get(name) in values for name, values in self.only.items()) and all(
            labels.get(name) not in values for name, values in self.without.items()
        )

    def of(self, value: str) -> Definition:
        """For one value of the label that it is split by."""
        assert self.split_by is not None
        return replace(
            self,
            key=f"{self.key}_{value}",
            label=self.label.format(value),
            only={**self.only, self.split_by: frozenset({value})},
        )

    def words(self) -> dict[str, Any]:
        """What a figure says of itself."""
        return {
            name: getattr(self, name) for name in ("key", "label", "hint", "metric", "kind", "unit", "alert")
        }


@dataclass(frozen=True, slots=True)
class GroupDefinition:
    """What belongs together."""

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
        "What people see",
        (
            Definition(
                "caption_lag",
                "Captions behind speech",
                f"{P}caption_lag_seconds",
                "histogram",
                "s",
                "Sound received that a caption does not show yet, when it is sent.",
                alert=Alert("CaptionsLag", "p95", 3, 5 * MINUTE, "Fewer meetings, or more workers."),
            ),
            Definition(
                "word_commit",
                "Until a word is certain",
                f"{P}word_commit_seconds",
                "histogram",
                "s",
                "From the end of a word until it is shown as text that is not taken back.",
            ),
            Definition(
                "gaps",
                "Stretches left out",
                f"{P}gaps_total",
                "counter",
                "",
                "Sound that could not be transcribed. It is stored. Off the record does not count.",
                without={"reason": frozenset({"off_the_record"})},
                parts_by="reason",
                alert=Alert(
                    "Gaps", "increase", 0, 15 * MINUTE, "See the log for the engine's fault, then try again."
                ),
            ),
            Definition(
                "suppressed",
                "Inventions held back",
                f"{P}suppressed_hypotheses_total",
                "counter",
                "",
                "Text that the recogniser wrote for silence or noise, and that nobody was shown.",
                parts_by="guard",
            ),
        ),
    ),
    GroupDefinition(
        "recognition",
        "Recognising speech",
        (
            Definition(
                "asr_final",
                "A finished sentence",
                f"{P}asr_latency_seconds",
                "histogram",
                "s",
                "From asking for its text to having it.",
                only={"kind": frozenset({"final"})},
            ),
            Definition(
                "asr_caption",
                "A caption",
                f"{P}asr_latency_seconds",
                "histogram",
                "s",
                "From asking for its text to having it.",
                only={"kind": frozenset({"partial", "commit"})},
            ),
            Definition(
                "batch_size",
                "Recognised together",
                f"{P}batch_size",
                "histogram",
                "windows",
                "Pieces of sound, of different meetings, in one go.",
            ),
            Definition(
                "degradation",
                "Captions slowed down",
                f"{P}degradation_level",
                "gauge",
                "",
                "0: not at all; 4: new meetings are refused.",
                alert=Alert("SteppedDown", "value", 3, 5 * MINUTE, "The machine is full."),
            ),
            Definition(
                "coalesced",
                "Captions overtaken",
                f"{P}tickets_coalesced_total",
                "counter",
                "",
                "Requests for a caption that a newer one replaced before it was made.",
            ),
            Definition(
                "diarization",
                "Telling speakers apart",
                f"{P}diarization_latency_seconds",
                "histogram",
                "s",
                "From the end of an utterance to its speaker.",
            ),
        ),
        only_where="one machine",
    ),
    GroupDefinition(
        "work",
        "Work in the background",
        (
            Definition(
                "queue",
                "Jobs that wait",
                f"{P}inference_queue_depth",
                "gauge",
                "",
                "Jobs that no worker has started yet.",
                alert=Alert("QueueGrows", "value", 5, 5 * MINUTE, "Add workers, or see why they are slow."),
            ),
            Definition("jobs", "Jobs started", f"{P}inference_jobs_total", "counter", parts_by="kind"),
            Definition(
                "failures",
                "Jobs that failed",
                f"{P}inference_failures_total",
                "counter",
                "",
                "The meeting says in its errors what to do.",
                parts_by="kind",
                alert=Alert("JobsFail", "increase", 3, 10 * MINUTE, "See the log and the meetings' errors."),
            ),
            Definition("job_time", "Time of a job", f"{P}inference_job_duration_seconds", "histogram", "s"),
            Definition(
                "llm",
                "Answers of {}",
                f"{P}llm_latency_seconds",
                "histogram",
                "s",
                "Time this writer of minutes took to answer, or to fail.",
                split_by="provider",
            ),
        ),
    ),
    GroupDefinition(
        "deliveries",
        "After meetings",
        (
            Definition(
                "outbox",
                "On their way",
                f"{P}outbox_pending",
                "gauge",
                "",
                "Deliveries to other tools that are not settled, and proposals that wait for somebody.",
                without={"state": frozenset({"parked"})},
                parts_by="state",
            ),
            Definition(
                "parked",
                "Deliveries given up",
                f"{P}outbox_pending",
                "gauge",
                "",
                "Deliveries that failed too often.",
                only={"state": frozenset({"parked"})},
                alert=Alert(
                    "OutboxStands",
                    "value",
                    0,
                    10 * MINUTE,
                    "`meeting-assistant workflows deliveries` says why; mend it and retry.",
                ),
            ),
            Definition(
                "deliveries", "Attempts to deliver", f"{P}deliveries_total", "counter", parts_by="outcome"
            ),
        ),
    ),
    GroupDefinition(
        "recordings",
        "Recordings",
        (
            Definition(
                "audio_store",
                "Wait for the object store",
                f"{P}audio_store_pending",
                "gauge",
                "",
                "Finished recordings that are still on this server's disk, and objects that wait to be removed there.",
                parts_by="work",
                alert=Alert(
                    "RecordingsWait",
                    "value",
                    0,
                    30 * MINUTE,
                    "See /health: the store is away, or does not permit it. They are on the disk meanwhile.",
                ),
            ),
        ),
    ),
    GroupDefinition(
        "fleet",
        "The fleet",
        (
            Definition(
                "waiting",
                "A live meeting waits for a worker",
                f"{P}fleet_waiting_oldest_seconds",
                "gauge",
                "s",
                "The first of those that no worker has taken. Its sound is stored.",
                only={"stream": frozenset({"live"})},
                alert=Alert(
                    "LiveMeetingsWait",
                    "value",
                    10,
                    MINUTE,
                    "Add workers, or see why those that are there take nothing.",
                ),
            ),
            Definition(
                "pending",
                "A lease was not renewed for",
                f"{P}fleet_pending_oldest_seconds",
                "gauge",
                "s",
                "Longer than FLEET__LEASE_SECONDS: its worker is gone, and another takes the job over.",
                split_by="stream",
                alert=Alert(
                    "LeasesAreNotRenewed",
                    "value",
                    30,
                    MINUTE,
                    "See whether any worker is there, has a free place (FLEET__SLOTS) and is of the same version.",
                ),
            ),
            Definition(
                "takeovers",
                "Meetings that changed worker",
                f"{P}fleet_takeovers_total",
                "counter",
                "",
                "Another worker went on with them.",
                alert=Alert(
                    "WorkersChange",
                    "increase",
                    5,
                    15 * MINUTE,
                    "Workers die, or are too slow for FLEET__LEASE_SECONDS.",
                ),
            ),
            Definition(
                "reoffered",
                "Offered again",
                f"{P}fleet_reoffered_total",
                "counter",
                "",
                "Jobs that Redis had forgotten.",
            ),
            Definition(
                "fenced",
                "Late results dropped",
                f"{P}fleet_fenced_total",
                "counter",
                "",
                "Of workers that did not have the meeting any more.",
            ),
            Definition(
                "given_up",
                "Dead letters",
                f"{P}fleet_given_up_total",
                "counter",
                "",
                "Meetings of this gateway that workers died of. Their pages have a button to try again.",
                alert=Alert("GivenUp", "increase", 0, 15 * MINUTE, "See the logs of the workers."),
            ),
        ),
        only_where="fleet",
    ),
    GroupDefinition(
        "process",
        "This process",
        (
            Definition(
                "stall",
                "Standing still",
                f"{P}event_loop_stall_seconds",
                "histogram",
                "s",
                "How much later than asked the event loop woke up.",
                alert=Alert(
                    "EventLoopStalls", "p99", 0.25, 5 * MINUTE, "Something else takes the processor."
                ),
            ),
            Definition("memory", "Memory", "process_resident_memory_bytes", "gauge", "bytes"),
            Definition("cpu", "Processor", "process_cpu_seconds_total", "rate", "cores"),
        ),
    ),
)
