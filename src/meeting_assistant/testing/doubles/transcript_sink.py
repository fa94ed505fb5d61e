"""A sink that keeps the transcript of a session in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from meeting_assistant.domain.events import PartialTranscript
from meeting_assistant.domain.transcript import Gap, Utterance
from meeting_assistant.services.transcription.session_types import CommitPoint


@dataclass
class TranscriptSink:
    """Implements `SessionSink`."""

    has_viewers: bool = True
    commit_s: float = 0.0
    """How long it takes to store utterances."""
    utterances: dict[int, Utterance] = field(default_factory=dict)
    partials: list[PartialTranscript] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)

    def received_sample(self) -> int:
        return 0

    def send_partial(self, partial: PartialTranscript) -> None:
        self.partials.append(partial)

    async def commit_utterances(
        self, utterances: Sequence[Utterance], commit_point: CommitPoint, *, takes_back: bool
    ) -> None:
        await asyncio.sleep(self.commit_s)
        self.utterances |= {utterance.utterance: utterance for utterance in utterances}

    async def relabel(self, speakers: Mapping[int, str | None]) -> None:
        for number, speaker in speakers.items():
            self.utterances[number] = self.utterances[number].model_copy(update={"speaker": speaker})

    async def name_speaker(self, label: str, name: str) -> None:
        """Do nothing: names are no part of the transcript."""

    async def commit_silence(self, commit_point: CommitPoint) -> None:
        """Do nothing: there is nothing to remember."""

    async def record_gap(self, gap: Gap, commit_point: CommitPoint) -> None:
        self.gaps.append(gap)

    def transcript(self) -> list[Utterance]:
        """Return the utterances in the order of time.

        Without their ids: those of the parts of an utterance depend on what was opened before it was committed.
        """
        return [
            utterance.model_copy(update={"utterance": 0})
            for utterance in sorted(self.utterances.values(), key=lambda u: (u.start_ms, u.end_ms, u.text))
        ]
