"""Results whose times cannot be in the recording are refused, whatever a worker says."""

from __future__ import annotations

import pytest

from meeting_assistant.domain.meeting import ResumePoint
from meeting_assistant.domain.transcript import Gap, Utterance, Word
from meeting_assistant.services.fleet.messages import (
    Done,
    NumberedBody,
    Relabel,
    Silence,
    Untranscribed,
    Utterances,
)
from meeting_assistant.services.fleet.result_checks import MAX_AHEAD_S, check_times
from meeting_assistant.services.transcription.session_types import CommitPoint

RECEIVED = 10 * 16_000
FAR = RECEIVED + MAX_AHEAD_S * 16_000
WITHIN = CommitPoint(RECEIVED, ResumePoint(start_sample=0, resume_sample=RECEIVED))


def utterances(*, number: int = 1, start_ms: int = 0, end_ms: int = 900, word_ms: int = 0) -> Utterances:
    words = [Word(text="Hello.", start_ms=word_ms, end_ms=word_ms)]
    one = Utterance(utterance=number, start_ms=start_ms, end_ms=end_ms, text="Hello.", words=words)
    return Utterances(utterances=[one], commit_point=WITHIN, takes_back=False)


@pytest.mark.parametrize(
    "body",
    [
        utterances(end_ms=10_000),
        utterances(end_ms=10_400),  # a window that the engine filled up
        Silence(commit_point=WITHIN),
        Untranscribed(gap=Gap(start_ms=0, end_ms=1, reason="engine_failed"), commit_point=WITHIN),
        Relabel(speakers={1: "S1"}),
        Done(),
    ],
)
def test_times_within_the_recording_are_accepted(body: NumberedBody) -> None:
    check_times(body, RECEIVED)


@pytest.mark.parametrize(
    "body",
    [
        utterances(number=-1),
        utterances(number=2**63),
        utterances(start_ms=-1),
        utterances(end_ms=10**9),
        utterances(word_ms=-5),
        Relabel(speakers={2**70: "S1"}),
        Untranscribed(gap=Gap(start_ms=0, end_ms=10**9, reason="engine_failed"), commit_point=WITHIN),
        Silence(commit_point=CommitPoint(FAR + 1, WITHIN.resume)),
        Silence(commit_point=CommitPoint(-1, WITHIN.resume)),
        Silence(commit_point=CommitPoint(0, ResumePoint(start_sample=10**12))),
        Silence(commit_point=CommitPoint(0, ResumePoint(resume_sample=-1))),
    ],
)
def test_times_outside_the_recording_are_refused(body: NumberedBody) -> None:
    with pytest.raises(ValueError, match="outside of the recording"):
        check_times(body, RECEIVED)
