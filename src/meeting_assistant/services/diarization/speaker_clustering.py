"""Online clustering of the speaker embeddings of a meeting, corrected as more is heard. Pure.

Each utterance brings a speaker embedding. It joins the cluster with the most similar centroid if the similarity is high
enough; the threshold depends on how much was spoken, since a short utterance says little about a voice. From time to
time all embeddings are clustered again (agglomerative, on the means of clusters), which splits clusters that hold two
speakers, joins those of one speaker and places utterances that were too short at first. The number of speakers is not
limited.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from meeting_assistant.domain.ports import VoiceVector
from meeting_assistant.services.diarization.agglomerative import agglomerate, similarity_threshold


@dataclass(frozen=True, slots=True)
class ClusteringOptions:
    """Limits of the clustering; lengths of speech in milliseconds."""

    min_utterance_ms: int = 400
    """Shorter utterances get no cluster."""
    min_new_cluster_ms: int = 1500
    """Speech that opens a new cluster: less may be a laugh, or two people at once."""
    full_weight_ms: int = 10_000
    """Speech beyond this does not add weight to an utterance."""
    min_similarity: float = 0.0
    """An utterance less similar than this to every centroid belongs to no cluster."""
    max_embeddings: int = 1200
    """Embeddings that are clustered again; older ones keep their cluster. So many take a third of a second."""


@dataclass(frozen=True, slots=True)
class LabelledVoice:
    """The speaker embedding of an utterance that got its label before the session was resumed."""

    utterance: int
    label: str
    vector: VoiceVector
    spoken_ms: int


@dataclass(slots=True)
class _Embedding:
    utterance: int
    vector: NDArray[np.float16]
    spoken_ms: int
    cluster: int | None


@dataclass(slots=True)
class _Cluster:
    """The sum of its embeddings, weighted by the length of speech, and the same as a unit vector."""

    total: VoiceVector
    spoken_ms: int
    centroid: VoiceVector = field(init=False)

    def __post_init__(self) -> None:
        self.centroid = _unit(self.total)


class SpeakerClustering:
    """The speakers of one session. Clusters are numbered from 0 in the order in which they open."""

    def __init__(self, options: ClusteringOptions | None = None) -> None:
        self._options = options or ClusteringOptions()
        self._embeddings: list[_Embedding] = []
        self._archived: dict[int, _Cluster] = {}
        """Sums of the embeddings that are no longer kept one by one."""
        self._clusters: dict[int, _Cluster] = {}
        self._next = 0
        self._added = 0
        """Embeddings added since the last `recluster`."""

    def __len__(self) -> int:
        return len(self._clusters)

    def assign(self, utterance: int, vector: VoiceVector, spoken_ms: int) -> int | None:
        """Add an utterance and return its cluster; None while it cannot be placed."""
        options = self._options
        if spoken_ms < options.min_utterance_ms:
            return None
        cluster = self.nearest(vector, spoken_ms)
        if cluster is None and spoken_ms >= options.min_new_cluster_ms:
            cluster = self._new_number()
        self._add(utterance, vector, spoken_ms, cluster)
        return cluster

    def nearest(self, vector: VoiceVector, spoken_ms: int) -> int | None:
        """Return the cluster that an embedding belongs to, if any, without adding it."""
        clusters = self._clusters  # `recluster`, on another thread, replaces the mapping
        if not clusters:
            return None
        numbers = list(clusters)
        similarity = [float(clusters[number].centroid @ vector) for number in numbers]
        best = int(np.argmax(similarity))
        shorter_ms = min(spoken_ms, max(clusters[numbers[best]].spoken_ms, self._options.min_new_cluster_ms))
        return numbers[best] if similarity[best] >= similarity_threshold(shorter_ms / 1000) else None

    def add_labelled(self, known: LabelledVoice, cluster: int | None) -> int:
        """Add an utterance of a known speaker to that cluster, or to a new one for None; return the cluster."""
        number = self._new_number() if cluster is None else cluster
        self._add(known.utterance, known.vector, known.spoken_ms, number)
        return number

    def add_unlabelled(self, known: LabelledVoice) -> None:
        """Add an utterance that was too short to be placed before."""
        self._add(known.utterance, known.vector, known.spoken_ms, None)

    @property
    def is_due(self) -> bool:
        """True when enough was added for the next `recluster`. The steps grow, so that the total cost stays low."""
        return self._added >= max(1, len(self._embeddings) // 8)

    def recluster(self) -> dict[int, int | None]:
        """Cluster all embeddings again. Return the utterances whose cluster changed, each with its new one.

        Every utterance has one embedding: an utterance with two speakers is split before it is added.
        """
        self._added = 0
        if not self._embeddings:
            return {}
        groups = self._grouped()
        numbers = self._numbers_for(groups)
        changed: dict[int, int | None] = {}
        for embedding, group in zip(self._embeddings, groups, strict=True):
            cluster = None if group is None else numbers[group]
            if cluster != embedding.cluster:
                changed[embedding.utterance] = embedding.cluster = cluster
        self._recompute()
        return changed

    def centroids(self) -> dict[int, tuple[VoiceVector, int]]:
        """Return the centroid of each cluster and how many milliseconds of speech it holds."""
        return {number: (cluster.centroid, cluster.spoken_ms) for number, cluster in self._clusters.items()}

    # --- embeddings and clusters

    def _new_number(self) -> int:
        self._next += 1
        return self._next - 1

    def _add(self, utterance: int, vector: VoiceVector, spoken_ms: int, cluster: int | None) -> None:
        self._embeddings.append(_Embedding(utterance, vector.astype(np.float16), spoken_ms, cluster))
        self._added += 1
        if cluster is not None and (
            spoken_ms >= self._options.min_new_cluster_ms or cluster not in self._clusters
        ):
            _accumulate(self._clusters, cluster, self._weighted(vector, spoken_ms), spoken_ms)
        if len(self._embeddings) > self._options.max_embeddings:
            self._archive(len(self._embeddings) // 2)

    def _archive(self, count: int) -> None:
        """Drop the oldest embeddings; the sums of their clusters stay."""
        for embedding in self._embeddings[:count]:
            if embedding.cluster is not None:
                vector = embedding.vector.astype(np.float32)
                _accumulate(
                    self._archived,
                    embedding.cluster,
                    self._weighted(vector, embedding.spoken_ms),
                    embedding.spoken_ms,
                )
        del self._embeddings[:count]

    def _weighted(self, vector: VoiceVector, spoken_ms: int) -> VoiceVector:
        weight = min(spoken_ms, self._options.full_weight_ms) / 1000
        return (vector * weight).astype(np.float32)

    def _recompute(self) -> None:
        clusters = {number: _Cluster(v.total, v.spoken_ms) for number, v in self._archived.items()}
        for least_ms in (self._options.min_new_cluster_ms, 0):
            missing = set(clusters)
            for embedding in self._embeddings:
                if (
                    embedding.cluster is None
                    or embedding.spoken_ms < least_ms
                    or (least_ms == 0 and embedding.cluster in missing)
                ):
                    continue
                vector = self._weighted(embedding.vector.astype(np.float32), embedding.spoken_ms)
                _accumulate(clusters, embedding.cluster, vector, embedding.spoken_ms)
        self._clusters = clusters

    # --- grouping

    def _grouped(self) -> list[int | None]:
        """Return the group of each embedding. The first groups are the archived clusters, in their order."""
        vectors = np.stack([embedding.vector for embedding in self._embeddings]).astype(np.float32)
        spoken = np.array([embedding.spoken_ms for embedding in self._embeddings])
        weights = np.minimum(spoken, self._options.full_weight_ms) / 1000
        long = np.flatnonzero(spoken >= self._options.min_new_cluster_ms)
        anchors = list(self._archived.values())
        totals = np.concatenate(
            [
                np.stack([a.total for a in anchors]) if anchors else vectors[:0],
                vectors[long] * weights[long, None],
            ]
        )
        if len(totals) == 0:
            return [None] * len(self._embeddings)
        seconds = np.concatenate([np.array([a.spoken_ms for a in anchors]), spoken[long]]) / 1000
        group_of_node = agglomerate(totals.astype(np.float32), seconds)
        for _ in range(2):
            groups = sorted(set(group_of_node.tolist()))
            means = np.stack([_unit(totals[group_of_node == group].sum(axis=0)) for group in groups])
            similarity = vectors @ means.T
            nearest = np.array(groups)[similarity.argmax(axis=1)]
            group_of_node[len(anchors) :] = nearest[long]
        best = similarity.max(axis=1)
        return [
            int(group) if score >= self._options.min_similarity else None
            for group, score in zip(nearest, best, strict=True)
        ]

    def _numbers_for(self, groups: list[int | None]) -> dict[int, int]:
        """Give each group the number that most of its speech had; no two groups share a number."""
        shared: Counter[tuple[int, int]] = Counter()
        for embedding, group in zip(self._embeddings, groups, strict=True):
            if group is not None and embedding.cluster is not None:
                shared[group, embedding.cluster] += embedding.spoken_ms
        for index, (number, cluster) in enumerate(self._archived.items()):
            # Archived embeddings keep their cluster for good: its number goes with them.
            group = index if index in groups else None
            if group is not None:
                shared[group, number] += cluster.spoken_ms * 1000
        numbers: dict[int, int] = {}
        taken: set[int] = set()
        for (group, number), _ in shared.most_common():
            if group not in numbers and number not in taken:
                numbers[group] = number
                taken.add(number)
        for group in groups:
            if group is not None and group not in numbers:
                numbers[group] = self._new_number()
        return numbers


def _accumulate(clusters: dict[int, _Cluster], number: int, weighted: VoiceVector, spoken_ms: int) -> None:
    known = clusters.get(number)
    if known is None:
        clusters[number] = _Cluster(weighted, spoken_ms)
    else:
        clusters[number] = _Cluster(known.total + weighted, known.spoken_ms + spoken_ms)


def _unit(vector: NDArray[np.float32]) -> NDArray[np.float32]:
    return vector / np.float32(max(float(np.linalg.norm(vector)), 1e-9))
