"""Checks of results before they are stored: times of a meeting lie within its recording."""

from __future__ import annotations

from collections.abc import Iterable

from meeting_assistant.domain.audio import SAMPLE_RATE_HZ, samples_to_ms
from meeting_assistant.services.fleet.messages import (
    NumberedBody,
    Relabel,
    Silence,
    Untranscribed,
    Utterances,
)
from meeting_assistant.services.transcription.session_types import CommitPoint

MAX_AHEAD_S = 60
"""How far a time may lie behind the end of the recording: more than any window that an engine fills up."""
MAX_UTTERANCES = 2**31


def check_times(body: NumberedBody, received_sample: int) -> None:
    """Raise ValueError when a result speaks of what cannot be in a recording of this length."""
    end_sample = received_sample + MAX_AHEAD_S * SAMPLE_RATE_HZ
    end_ms = samples_to_ms(end_sample)
    match body:
        case Utterances(utterances=utterances, commit_point=point):
            _check_within((one.utterance for one in utterances), MAX_UTTERANCES)
            for one in utterances:
                times = [time for word in one.words for time in (word.start_ms, word.end_ms)]
                _check_within((one.start_ms, one.end_ms, *times), end_ms)
            _check_point(point, end_sample)
        case Untranscribed(gap=gap, commit_point=point):
            _check_within((gap.start_ms, gap.end_ms), end_ms)
            _check_point(point, end_sample)
        case Silence(commit_point=point):
            _check_point(point, end_sample)
        case Relabel(speakers=speakers):
            _check_within(speakers, MAX_UTTERANCES)
        case _:
            return


def _check_point(point: CommitPoint, end_sample: int) -> None:
    resume = point.resume
    _check_within((point.committed_sample, resume.start_sample, resume.resume_sample), end_sample)


def _check_within(values: Iterable[int], end: int) -> None:
    if any(not 0 <= value <= end for value in values):
        raise ValueError("a result lies outside of the recording")
