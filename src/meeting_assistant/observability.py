"""Metrics and logs. They never contain transcripts, typed text or secrets."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
import time
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import Literal

from prometheus_client import Counter, Gauge, Histogram

from meeting_assistant import tracing

_LATENCY_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0)
_JOB_BUCKETS = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)

queue_depth = Gauge(
    "meeting_assistant_inference_queue_depth", "Inference jobs that wait for a worker.", ["backend"]
)
jobs_total = Counter("meeting_assistant_inference_jobs_total", "Inference jobs started.", ["kind"])
job_failures_total = Counter(
    "meeting_assistant_inference_failures_total", "Inference jobs that failed.", ["kind"]
)
job_duration_seconds = Histogram(
    "meeting_assistant_inference_job_duration_seconds",
    "Time an inference job ran.",
    ["kind"],
    buckets=_JOB_BUCKETS,
)
asr_latency_seconds = Histogram(
    "meeting_assistant_asr_latency_seconds",
    "From asking for a decode to its result.",
    ["engine", "kind"],
    buckets=_LATENCY_BUCKETS,
)
diarization_latency_seconds = Histogram(
    "meeting_assistant_diarization_latency_seconds",
    "From the end of an utterance to its speaker label.",
    ["engine"],
    buckets=_LATENCY_BUCKETS,
)
llm_latency_seconds = Histogram(
    "meeting_assistant_llm_latency_seconds",
    "Time a provider took to answer, or to fail.",
    ["provider"],
    buckets=_JOB_BUCKETS,
)
live_sessions = Gauge("meeting_assistant_live_sessions", "Meetings that are recording.")
caption_lag_seconds = Histogram(
    "meeting_assistant_caption_lag_seconds",
    "Sound received minus sound reflected in the caption, when a caption is sent.",
    buckets=_LATENCY_BUCKETS,
)
word_commit_seconds = Histogram(
    "meeting_assistant_word_commit_seconds",
    "From the end of a word to its place in text that is not taken back, in sound received.",
    buckets=_LATENCY_BUCKETS,
)
batch_size = Histogram(
    "meeting_assistant_batch_size", "Windows decoded together.", buckets=(1, 2, 4, 8, 16, 32, 64)
)
tickets_coalesced_total = Counter(
    "meeting_assistant_tickets_coalesced_total",
    "Decode requests replaced by a newer one of the same session.",
)
decoding_fallbacks_total = Counter(
    "meeting_assistant_decoding_fallbacks_total", "Finished utterances whose text did not convince."
)
degradation_level = Gauge(
    "meeting_assistant_degradation_level", "How far the live service has stepped down, 0 (not) to 4."
)
gaps_total = Counter(
    "meeting_assistant_gaps_total", "Stretches of sound left out of a transcript.", ["reason"]
)
suppressed_hypotheses_total = Counter(
    "meeting_assistant_suppressed_hypotheses_total", "Decodes that were not shown.", ["guard"]
)
outbox_pending = Gauge(
    "meeting_assistant_outbox_pending", "Deliveries after meetings that are not settled.", ["state"]
)
deliveries_total = Counter(
    "meeting_assistant_deliveries_total",
    "Attempts to deliver something after a meeting, by what came of them.",
    ["integration", "outcome"],
)
delivery_seconds = Histogram(
    "meeting_assistant_delivery_seconds", "Time an attempt took.", ["integration"], buckets=_JOB_BUCKETS
)
audio_store_pending = Gauge(
    "meeting_assistant_audio_store_pending",
    "Finished recordings that wait to be moved to the object store, and objects that wait to be removed there.",
    ["work"],
)
audio_store_moves_total = Counter(
    "meeting_assistant_audio_store_moves_total",
    "Attempts to move a recording to the object store.",
    ["outcome"],
)
fleet_reoffered_total = Counter(
    "meeting_assistant_fleet_reoffered_total", "Jobs that Redis had forgotten and that were offered again."
)
fleet_takeovers_total = Counter(
    "meeting_assistant_fleet_takeovers_total", "Meetings that another worker went on with."
)
fleet_fenced_total = Counter(
    "meeting_assistant_fleet_fenced_total", "Results of workers that did not have the meeting any more."
)
fleet_refused_total = Counter(
    "meeting_assistant_fleet_refused_total",
    "What was dropped unread, by kind: no machine with the fleet's secret sent it, it came twice, or no lease stands "
    "behind it.",
    ["kind"],
)
fleet_results_total = Counter(
    "meeting_assistant_fleet_results_total", "Results that this worker brought to gateways.", ["channel"]
)
fleet_leases_lost_total = Counter(
    "meeting_assistant_fleet_leases_lost_total", "Meetings that this worker lost to another one."
)
fleet_expired_total = Counter(
    "meeting_assistant_fleet_expired_total", "Jobs that were dropped because their offer was too old."
)
fleet_foreign_total = Counter(
    "meeting_assistant_fleet_foreign_total", "Jobs of another version that were left to other workers."
)
fleet_stream_lag = Gauge(
    "meeting_assistant_fleet_stream_lag", "Jobs that no worker has taken yet, by stream.", ["stream"]
)
fleet_waiting_oldest_seconds = Gauge(
    "meeting_assistant_fleet_waiting_oldest_seconds",
    "How long the first of the jobs that no worker has taken has waited.",
    ["stream"],
)
fleet_pending_oldest_seconds = Gauge(
    "meeting_assistant_fleet_pending_oldest_seconds",
    "Of the jobs that workers have: the longest time since a lease was renewed.",
    ["stream"],
)
fleet_slots = Gauge(
    "meeting_assistant_fleet_slots", "Places for meetings on all workers, as a gateway sees them.", ["state"]
)
worker_slots = Gauge("meeting_assistant_worker_slots", "Places for meetings on this worker.", ["state"])
fleet_dead_total = Counter(
    "meeting_assistant_fleet_dead_total",
    "Jobs in dead letters: started too often, or of a version that no worker understands.",
)
fleet_given_up_total = Counter(
    "meeting_assistant_fleet_given_up_total", "Meetings of this gateway that workers died of."
)
event_loop_stall_seconds = Histogram(
    "meeting_assistant_event_loop_stall_seconds",
    "How much later than asked the event loop woke up.",
    buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0),
)

STALL_PROBE_SECONDS = 0.1


async def watch_event_loop() -> None:
    """Measure how late the event loop wakes up, until cancelled."""
    while True:
        asked = time.monotonic()
        await asyncio.sleep(STALL_PROBE_SECONDS)
        event_loop_stall_seconds.observe(max(0.0, time.monotonic() - asked - STALL_PROBE_SECONDS))


# --- logs -------------------------------------------------------------------------------------------------

LogFormat = Literal["console", "json"]
_FIELDS = "meeting_fields"
_about: ContextVar[str | None] = ContextVar("about", default=None)
_QUERY = re.compile(r"\?[^\s\"]*")


def log_fields(**fields: str | float | bool | None) -> Mapping[str, object]:
    """Return the fields of a log line: `logger.info("static message", extra=log_fields(meeting=id, seconds=2.5))`."""
    return {_FIELDS: fields}


@contextlib.contextmanager
def about(meeting_id: str) -> Iterator[None]:
    """Add the meeting to every log line within the context, also to those of tasks that are created in it."""
    token = _about.set(meeting_id)
    try:
        yield
    finally:
        _about.reset(token)


def configure_logging(level: str, style: LogFormat) -> None:
    """Send all logs to standard error in one format, with the queries of URLs removed."""
    handler = logging.StreamHandler()
    handler.setFormatter(_JsonFormatter() if style == "json" else _ConsoleFormatter())
    handler.addFilter(_without_queries)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    # uvicorn tells of every socket that opens and closes; its own start-up lines repeat ours.
    logging.getLogger("uvicorn.error").setLevel(max(logging.WARNING, root.level))
    logging.getLogger("alembic").setLevel(max(logging.WARNING, root.level))
    logging.getLogger("httpx").setLevel(max(logging.WARNING, root.level))
    # A receiver of traces that is unreachable is logged once for each batch, and not for each attempt.
    logging.getLogger("opentelemetry").setLevel(max(logging.ERROR, root.level))
    # At `debug` these write requests with their signatures down.
    for name in ("botocore", "aiobotocore", "s3fs", "fsspec"):
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))


def _without_queries(record: logging.LogRecord) -> bool:
    """Removes the queries of URLs, which may hold tickets and tokens."""
    if record.name.startswith("uvicorn"):
        record.msg = _QUERY.sub("?…", record.getMessage())
        record.args = None
        if record.exc_info and isinstance(record.exc_info[1], UnicodeError):
            record.exc_info = None  # what somebody sent is no fault of ours, and may be anything
    return True


def _fields_of(record: logging.LogRecord) -> dict[str, object]:
    fields = dict(getattr(record, _FIELDS, {}))
    meeting = _about.get()
    return fields if meeting is None or "meeting" in fields else {"meeting": meeting, **fields}


class _ConsoleFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = " ".join(f"{name}={value}" for name, value in _fields_of(record).items())
        stamp = time.strftime("%H:%M:%S", time.localtime(record.created))
        line = f"{stamp} {record.levelname.lower():7} {record.getMessage()}"
        line = f"{line}  {fields}" if fields else line
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = _fields_of(record)
        meeting = fields.get("meeting")
        entry: dict[str, object] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **fields,
            **tracing.ids(meeting if isinstance(meeting, str) else None),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str)
