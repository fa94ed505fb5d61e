"""What one voice says in an utterance. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from meeting_assistant.domain.ports import VAD_FRAME_SAMPLES, AsrResult, VoiceVector
from meeting_assistant.services.asr.endpointing import SpeechEnded


@dataclass(frozen=True, slots=True)
class SpeakerSegment:
    """What one voice says in an utterance."""

    span: SpeechEnded
    """In samples of the meeting."""
    result: AsrResult
    """Word times from the start of `span`."""
    channel: int | None = None
    """None when there is only one."""
    voice: VoiceVector | None = None
    spoken_ms: int = 0
    overlap: bool = False
    echo: str | None = None


def part_of(span: SpeechEnded, start: int, end: int) -> SpeechEnded:
    """A piece of a span; samples from its start."""
    first, last = start // VAD_FRAME_SAMPLES, -(-end // VAD_FRAME_SAMPLES)
    return replace(
        span,
        start_sample=span.start_sample + start,
        end_sample=span.start_sample + end,
        voiced=span.voiced[first:last],
    )
