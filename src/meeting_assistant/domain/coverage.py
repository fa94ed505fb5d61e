"""Coverage of a meeting: the audio captured, stored, transcribed and used for its minutes. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from meeting_assistant.domain.audio import SAMPLE_RATE_HZ
from meeting_assistant.domain.meeting import Coverage, Meeting
from meeting_assistant.domain.transcript import Gap, Transcript


def coverage_of(meeting: Meeting, transcript: Transcript, *, has_minutes: bool) -> Coverage:
    """Compute the seconds of audio at each step."""
    spoken_s = sum(u.end_ms - u.start_ms for u in transcript.utterances) / 1000
    committed_s = meeting.committed_sample / SAMPLE_RATE_HZ
    gaps_s = _union_ms(transcript.gaps, round(committed_s * 1000)) / 1000
    received_s = meeting.received_bytes / (SAMPLE_RATE_HZ * meeting.frame_bytes)
    return Coverage(
        captured_s=round(received_s, 3),
        stored_s=round(received_s, 3),
        transcribed_s=round(max(0.0, committed_s - gaps_s), 3),
        in_minutes_s=round(spoken_s if has_minutes else 0.0, 3),
        spoken_s=round(spoken_s, 3),
    )


def duration_ms_of(meeting: Meeting) -> int:
    """Return the duration of the audio in milliseconds."""
    return meeting.received_bytes * 1000 // (SAMPLE_RATE_HZ * meeting.frame_bytes)


def _union_ms(gaps: Sequence[Gap], until_ms: int) -> int:
    """Return the milliseconds inside any gap; overlapping gaps count once, and nothing after `until_ms`."""
    total = reached = 0
    for gap in sorted(gaps, key=lambda gap: gap.start_ms):
        end_ms = min(gap.end_ms, until_ms)
        total += max(0, end_ms - max(gap.start_ms, reached))
        reached = max(reached, end_ms)
    return total
