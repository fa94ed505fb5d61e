"""The engines that tell speakers apart, and what takes their place when the configured one is missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from meeting_assistant.domain.errors import EngineError
from meeting_assistant.domain.ports import Diarizer, VoiceEmbedder
from meeting_assistant.services.diarization.recording_diarization import (
    RecordingDiarizationService,
    RecordingDiarizer,
)
from meeting_assistant.services.diarization.speaker_embedding import SpeakerEmbeddingService


@dataclass(frozen=True, slots=True)
class DiarizationChoice:
    """The engines to try, in this order."""

    chain: tuple[str, ...]
    """Any of `nemo`, `pyannote`, `embedded`; empty when speakers are not told apart."""


def choose_diarization(wanted: str, *, is_nemo_wanted: bool) -> DiarizationChoice:
    """Return the configured engine and its fallbacks, so that no meeting lacks labels for want of a package."""
    if wanted == "off":
        return DiarizationChoice(())
    if is_nemo_wanted or wanted == "nemo":
        return DiarizationChoice(("nemo", "pyannote", "embedded"))
    return DiarizationChoice(("pyannote", "embedded") if wanted == "pyannote" else ("embedded",))


class DiarizationService:
    """Two services with one life: speaker embeddings during a meeting, diarization of the recording after it."""

    def __init__(
        self,
        embedder: VoiceEmbedder | None,
        finals: Sequence[Diarizer] = (),
        *,
        remote: RecordingDiarizer | None = None,
    ) -> None:
        """Set up diarization; without an `embedder`, live meetings have no speaker labels.

        The first of `finals` that loads diarizes recordings; `remote` replaces all of them.
        """
        self.live = SpeakerEmbeddingService(embedder)
        self.recordings = RecordingDiarizationService(finals, remote=remote)

    @property
    def name(self) -> str:
        """The engine that decides the final labels, or `off`."""
        return self.recordings.name or self.live.name or "off"

    @property
    def load_errors(self) -> list[EngineError]:
        """The reasons why configured engines are not in use; complete after `start`."""
        return [*self.live.load_errors, *self.recordings.load_errors]

    async def start(self) -> None:
        """Load the models. An engine that fails to load is left out and reported in `load_errors`."""
        await self.live.start()
        await self.recordings.start()

    def close(self) -> None:
        """Release threads and models; idempotent."""
        self.live.close()
        self.recordings.close()
