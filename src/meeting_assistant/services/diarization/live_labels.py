"""Speaker labels during a session: assigned as early as possible, corrected when more was heard."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from meeting_assistant import observability as obs
from meeting_assistant.domain.audio import (
    BYTES_PER_SAMPLE,
    SAMPLE_RATE_HZ,
    Waveform,
    ms_to_samples,
    pcm_to_samples,
    to_waveform,
)
from meeting_assistant.domain.errors import MeetingAssistantError
from meeting_assistant.domain.meeting import YOU
from meeting_assistant.domain.ports import VoiceVector
from meeting_assistant.domain.transcript import PROVISIONAL, Transcript, Utterance
from meeting_assistant.services.diarization.attribution import SpeakerLabels
from meeting_assistant.services.diarization.speaker_clustering import LabelledVoice, SpeakerClustering
from meeting_assistant.services.diarization.speaker_embedding import SpeakerEmbeddingService

logger = logging.getLogger(__name__)

PARTIAL_SAMPLES = 3 * SAMPLE_RATE_HZ
"""Newest audio of an open utterance from which its speaker is estimated."""
IDENTIFY_MS = 6000
IDENTIFY_SIMILARITY = 0.5
IDENTIFY_MARGIN = 0.1
"""A wrong name is worse than none: a speaker is identified only with enough speech, a high similarity and a clear lead
over every other enrolled speaker."""
UTTERANCES_PER_SPEAKER = 40
"""Utterances embedded again per speaker, the longest ones: their mean is close to that of all."""
MIN_SPOKEN_MS = 500
"""Shorter speech was embedded with the silence around it."""


@dataclass(frozen=True, slots=True)
class EnrolledSpeaker:
    """A voice that the owner asked to be recognised in later meetings."""

    name: str
    vector: VoiceVector


class LiveLabels:
    """The speaker labels of one session."""

    def __init__(
        self,
        embeddings: SpeakerEmbeddingService | None,
        *,
        taken_labels: Iterable[str] = (),
        known: Sequence[LabelledVoice] = (),
        enrolled: Sequence[EnrolledSpeaker] = (),
    ) -> None:
        """Set up the labels of a session; without `embeddings` no utterance gets one.

        `known`: utterances that were labelled before the session was resumed; `enrolled`: speakers to identify.
        """
        self._embeddings = embeddings
        self._enrolled = enrolled
        self._identified: dict[int, str] = {}
        self._clustering = SpeakerClustering()
        self._labels = SpeakerLabels(taken_labels)
        self._provisional: set[int] = set()
        clusters: dict[str, int] = {}
        for voice in known:
            if voice.label == PROVISIONAL:
                self._clustering.add_unlabelled(voice)
                self._provisional.add(voice.utterance)
                continue
            clusters[voice.label] = self._clustering.add_labelled(voice, clusters.get(voice.label))
            self._labels.keep(clusters[voice.label], voice.label)

    def label_for(self, utterance: int, vector: VoiceVector | None, spoken_ms: int) -> str | None:
        """Return the label of a finished utterance; None when it will never have one."""
        if self._embeddings is None or vector is None:
            return None
        cluster = self._clustering.assign(utterance, vector, spoken_ms)
        if cluster is None:
            self._provisional.add(utterance)
            return PROVISIONAL
        return self._labels.label(cluster)

    async def label_partial(self, sound: Waveform) -> str | None:
        """Return the likely label of an utterance that is still open. `sound`, shape `(n,)`."""
        if self._embeddings is None:
            return None
        newest = sound[-PARTIAL_SAMPLES:]
        vector = await self._embeddings.embed(newest)
        if vector is None:
            return PROVISIONAL
        cluster = self._clustering.nearest(vector, len(newest) * 1000 // SAMPLE_RATE_HZ)
        # Only a finished utterance may give a new label: when captions are decoded depends on the load.
        return (None if cluster is None else self._labels.existing(cluster)) or PROVISIONAL

    async def recluster(
        self, relabel: Callable[[Mapping[int, str | None]], Awaitable[None]], *, is_last: bool = False
    ) -> None:
        """Cluster all utterances again when it is time, and call `relabel` with the labels that changed.

        With `is_last`, utterances that are still provisional lose their label.
        """
        if self._embeddings is None or not (is_last or self._clustering.is_due):
            return
        try:
            moved = await self._embeddings.run_clustering(self._clustering.recluster)
        except Exception as error:  # noqa: BLE001 - a failing label must not cost the session its words
            logger.warning("Speaker clustering failed.", extra=obs.log_fields(error=type(error).__name__))
            moved = {}
        changed = {utterance: self._labels.label(cluster) for utterance, cluster in moved.items()}
        self._provisional -= {utterance for utterance, label in changed.items() if label is not None}
        if is_last:
            changed |= dict.fromkeys(self._provisional)
            self._provisional.clear()
        else:
            changed = {u: PROVISIONAL if label is None else label for u, label in changed.items()}
        if changed:
            await relabel(changed)

    def identified(self) -> dict[str, str]:
        """Return the labels that were identified since the last call, with the names of their speakers."""
        found: dict[str, str] = {}
        for cluster, (centroid, spoken_ms) in self._clustering.centroids().items():
            if cluster in self._identified or spoken_ms < IDENTIFY_MS:
                continue
            similarity = sorted(
                ((float(speaker.vector @ centroid), speaker.name) for speaker in self._enrolled), reverse=True
            )
            second = similarity[1][0] if len(similarity) > 1 else 0.0
            label = self._labels.label(cluster)
            if (
                label is not None
                and similarity
                and similarity[0][0] >= max(IDENTIFY_SIMILARITY, second + IDENTIFY_MARGIN)
            ):
                found[label] = self._identified[cluster] = similarity[0][1]
        return found


# --- resuming a session


async def reembed_known_speakers(
    transcript: Transcript,
    read: Callable[[int, int], Awaitable[bytes]],
    embeddings: SpeakerEmbeddingService,
    *,
    channels: int = 1,
) -> list[LabelledVoice]:
    """Embed labelled utterances again from the stored audio: embeddings are not stored with a meeting.

    `read(offset, length)` returns canonical PCM. Speakers come in the order of their first utterance. Where the audio
    cannot be read the list ends, and labels go on with new numbers.
    """
    known: list[LabelledVoice] = []
    frame_bytes = BYTES_PER_SAMPLE * channels
    try:
        for label, utterances in _longest(transcript).items():
            if channels > 1 and label == YOU:
                continue
            for utterance in utterances:
                start_ms, end_ms = _spoken(utterance)
                start, end = ms_to_samples(start_ms), ms_to_samples(end_ms)
                pcm = await read(start * frame_bytes, (end - start) * frame_bytes)
                sound = to_waveform(pcm_to_samples(pcm, channels))
                # The first channel has one speaker, who needs no embedding.
                vector = await embeddings.embed(sound if channels == 1 else sound[:, 1])
                if vector is not None:
                    known.append(LabelledVoice(utterance.utterance, label, vector, end_ms - start_ms))
    except MeetingAssistantError:
        return known
    return known


def _spoken(utterance: Utterance) -> tuple[int, int]:
    """Return the time span that was embedded live.

    It runs from the first word to the last; when that is under `MIN_SPOKEN_MS`, it is the whole utterance.
    """
    if utterance.words:
        start_ms, end_ms = utterance.words[0].start_ms, utterance.words[-1].end_ms
        if end_ms - start_ms >= MIN_SPOKEN_MS:
            return start_ms, end_ms
    return utterance.start_ms, utterance.end_ms


def _longest(transcript: Transcript) -> dict[str, list[Utterance]]:
    by_label: dict[str, list[Utterance]] = defaultdict(list)
    for utterance in transcript.utterances:
        if utterance.speaker is not None:
            by_label[utterance.speaker].append(utterance)
    return {
        # Later clustering places provisional utterances: all of them are needed.
        label: sorted(utterances, key=lambda u: u.start_ms - u.end_ms)[
            : None if label == PROVISIONAL else UTTERANCES_PER_SPEAKER
        ]
        for label, utterances in by_label.items()
    }
