"""Runs paced sessions against a server and makes figures of what came back."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from prometheus_client.parser import text_string_to_metric_families

from meeting_assistant.bench.timeline import Clip, Timeline
from meeting_assistant.client import LiveClient, Message, paced
from meeting_assistant.launcher import open_url

STAGGER_S = 0.37
"""Meetings do not begin at the same moment."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Counters of the server at one moment."""

    cpu_s: float | None
    """None where the platform does not tell."""
    stalls: Mapping[float, float]
    """Upper bound in seconds -> wake-ups of the event loop at most so late."""

    @classmethod
    def take(cls, url: str) -> Snapshot:
        """Read the counters from `/metrics`."""
        with open_url(f"{url}/metrics", timeout_s=30) as answer:
            text = answer.read().decode()
        cpu: float | None = None
        stalls: dict[float, float] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == "process_cpu_seconds_total":
                    cpu = sample.value
                elif sample.name == "meeting_assistant_event_loop_stall_seconds_bucket":
                    stalls[float(sample.labels["le"])] = sample.value
        return cls(cpu, stalls)


@dataclass(frozen=True, slots=True)
class Run:
    """Sessions that ran at the same time."""

    timelines: Sequence[Timeline]
    before: Snapshot
    after: Snapshot

    @property
    def audio_s(self) -> float:
        """Duration of the audio of all sessions together, in seconds."""
        return sum(timeline.clip.seconds for timeline in self.timelines)


async def run_sessions(url: str, clips: Sequence[Clip], *, start: Mapping[str, object] | None = None) -> Run:
    """Run one session per clip, at the pace of speech. Raises MeetingRefusedError."""
    before = await asyncio.to_thread(Snapshot.take, url)
    sessions = [
        _session(url, clip, wait_s=index * STAGGER_S, start=start or {}) for index, clip in enumerate(clips)
    ]
    timelines = await asyncio.gather(*sessions)
    return Run(timelines, before, await asyncio.to_thread(Snapshot.take, url))


async def _session(url: str, clip: Clip, *, wait_s: float, start: Mapping[str, object]) -> Timeline:
    await asyncio.sleep(wait_s)
    loop = asyncio.get_running_loop()
    timeline = Timeline(clip)
    began = loop.time()

    def take(message: Message) -> None:
        timeline.take(loop.time() - began, message)

    client = LiveClient(url.replace("http", "ws", 1), on_message=take, start={"title": clip.name, **start})
    await client.stream(paced(clip.pcm))
    return timeline


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """Seconds: p50, p95, max; empty without values."""
    if not len(values):
        return {}
    p50, p95 = np.percentile(values, [50, 95])
    return {"p50": round(float(p50), 3), "p95": round(float(p95), 3), "max": round(float(max(values)), 3)}


def figures(run: Run) -> dict[str, Any]:
    """Compute the figures of the live path in a run."""
    lines = run.timelines
    alignments = [line.alignment() for line in lines]
    words = sum(len(line.reference) for line in lines)
    stable = sum(line.stable_words() for line in lines)
    erased = sum(line.erased_words() for line in lines)
    cpu = None
    if run.before.cpu_s is not None and run.after.cpu_s is not None:
        cpu = round((run.after.cpu_s - run.before.cpu_s) / run.audio_s, 3)
    return {
        "sessions": len(lines),
        "audio_seconds": round(run.audio_s, 1),
        "cpu_seconds_per_audio_second": cpu,
        "first_partial": percentiles([d for line in lines for d in line.first_partial_delays_s()]),
        "word_commit": percentiles([d for line in lines for d in line.word_commit_delays_s()]),
        "final": percentiles([d for line in lines for d in line.final_delays_s()]),
        "lag": percentiles([d for line in lines for d in line.lags_s]),
        "stop_to_final": percentiles(
            [line.final_at_s - line.clip.seconds for line in lines if line.final_at_s is not None]
        ),
        "wer_live": round(sum(a.errors for a in alignments) / max(1, words), 4),
        "erased_share_of_stable_words": round(erased / max(1, stable), 4),
        "unfinished_utterances": sum(line.unfinished() for line in lines),
        "highest_level": max((level for line in lines for level in line.levels), default=0),
        "event_loop_stall_s": stall_bound(run.before, run.after),
    }


def stall_bound(before: Snapshot, after: Snapshot, share: float = 1.0) -> float | None:
    """The smallest bucket bound under which that share of the wake-ups came."""
    total = after.stalls.get(float("inf"), 0.0) - before.stalls.get(float("inf"), 0.0)
    for bound in sorted(after.stalls):
        if total and after.stalls[bound] - before.stalls.get(bound, 0.0) >= share * total:
            return bound
    return None
