"""Who speaks in a session: told at once as far as it can be, and told anew when more was heard."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from meeting_assistant import observability as obs
from meeting_assistant.domain.audio import SAMPLE_RATE_HZ, Waveform
from meeting_assistant.domain.ports import VoiceVector
from meeting_assistant.domain.transcript import PROVISIONAL
from meeting_assistant.services.diarization.attribution import SpeakerLabels
from meeting_assistant.services.diarization.diarization_service import DiarizationService
from meeting_assistant.services.diarization.speaker_clustering import LabelledVoice, SpeakerClustering

logger = logging.getLogger(__name__)

GUESS_SAMPLES = 3 * SAMPLE_RATE_HZ
"""The newest sound of an utterance that is still open, to guess who speaks."""


RECOGNISE_MS = 6000
RECOGNISE_LIKENESS = 0.5
RECOGNISE_MARGIN = 0.1
"""A wrong name is worse than none: a voice is only known again when it is sure, and like nobody else's."""


@dataclass(frozen=True, slots=True)
class EnrolledSpeaker:
    """A voice that somebody asked to be known again."""

    name: str
    vector: VoiceVector


class LiveLabels:
    """Of one session."""

    def __init__(
        self,
        diarization: DiarizationService | None,
        *,
        taken_labels: Iterable[str] = (),
        known: Sequence[LabelledVoice] = (),
        people: Sequence[EnrolledSpeaker] = (),
    ) -> None:
        """None: nobody is told apart. `people`: voices that somebody asked to be known again."""
        self._people = people
        self._recognised: dict[int, str] = {}
        self._diarization = diarization
        self._voices = SpeakerClustering()
        self._labels = SpeakerLabels(taken_labels)
        numbers: dict[str, int] = {}
        self._provisional: set[int] = set()
        for voice in known:
            if voice.label == PROVISIONAL:
                self._voices.add_unlabelled(voice)
                self._provisional.add(voice.utterance)
                continue
            numbers[voice.label] = self._voices.recall(voice, numbers.get(voice.label))
            self._labels.know(numbers[voice.label], voice.label)

    def tell(self, utterance: int, vector: VoiceVector | None, spoken_ms: int) -> str | None:
        """The label of a finished utterance; None when it will never be known."""
        if self._diarization is None or vector is None:
            return None
        voice = self._voices.hear(utterance, vector, spoken_ms)
        if voice is None:
            self._provisional.add(utterance)
            return PROVISIONAL
        return self._labels.label(voice)

    async def guess(self, sound: Waveform) -> str | None:
        """Who speaks in an utterance that is still open, as far as it can be told. `sound`, shape `(n,)`."""
        if self._diarization is None:
            return None
        newest = sound[-GUESS_SAMPLES:]
        vector = await self._diarization.embed(newest)
        if vector is None:
            return PROVISIONAL
        voice = self._voices.nearest(vector, len(newest) * 1000 // SAMPLE_RATE_HZ)
        return PROVISIONAL if voice is None else self._labels.label(voice)

    async def repair(
        self, relabel: Callable[[Mapping[int, str | None]], Awaitable[None]], *, is_last: bool = False
    ) -> None:
        """Group all voices anew, if it is time, and tell what changed. At the end nothing stays provisional."""
        if self._diarization is None or not (is_last or self._voices.is_due):
            return
        try:
            moved = await self._diarization.compute(self._voices.regroup)
        except Exception as error:  # noqa: BLE001 - a label is never worth an utterance
            logger.warning("Voices could not be grouped.", extra=obs.log_fields(error=type(error).__name__))
            moved = {}
        changed = {utterance: self._labels.label(voice) for utterance, voice in moved.items()}
        self._provisional -= {utterance for utterance, label in changed.items() if label is not None}
        if is_last:
            changed |= dict.fromkeys(self._provisional)
            self._provisional.clear()
        else:
            changed = {u: PROVISIONAL if label is None else label for u, label in changed.items()}
        if changed:
            await relabel(changed)

    def recognised(self) -> dict[str, str]:
        """Labels of voices that were known again since this was last asked, with their names."""
        found: dict[str, str] = {}
        for voice, (direction, spoken_ms) in self._voices.directions().items():
            if voice in self._recognised or spoken_ms < RECOGNISE_MS:
                continue
            likeness = sorted(
                ((float(person.vector @ direction), person.name) for person in self._people), reverse=True
            )
            second = likeness[1][0] if len(likeness) > 1 else 0.0
            label = self._labels.label(voice)
            if (
                label is not None
                and likeness
                and likeness[0][0] >= max(RECOGNISE_LIKENESS, second + RECOGNISE_MARGIN)
            ):
                found[label] = self._recognised[voice] = likeness[0][1]
        return found
