"""Speaker clustering by embeddings, and reclustering when earlier labels prove wrong."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meeting_assistant.domain.ports import VoiceVector
from meeting_assistant.services.diarization.agglomerative import agglomerate, similarity_threshold
from meeting_assistant.services.diarization.attribution import SpeakerLabels
from meeting_assistant.services.diarization.change_detection import (
    HOP_SAMPLES,
    WINDOW_SAMPLES,
    VoiceWindow,
    single_speaker_spans,
    window_starts,
)
from meeting_assistant.services.diarization.speaker_clustering import (
    ClusteringOptions,
    LabelledVoice,
    SpeakerClustering,
)


def voice(number: int, wobble: float = 0.0, seed: int = 0) -> VoiceVector:
    """Return a unit vector near one axis."""
    vector = np.zeros(32, np.float32)
    vector[number] = 1.0
    vector += wobble * np.random.default_rng(seed).standard_normal(32).astype(np.float32)
    return vector / np.float32(np.linalg.norm(vector))


def assign_all(
    clustering: SpeakerClustering, utterances: Sequence[tuple[VoiceVector, int]]
) -> list[int | None]:
    return [clustering.assign(number, vector, ms) for number, (vector, ms) in enumerate(utterances, start=1)]


def test_speakers_are_numbered_in_order_of_appearance() -> None:
    utterances = [voice(5), voice(2), voice(5, 0.05), voice(9), voice(2, 0.05)]
    assert assign_all(SpeakerClustering(), [(vector, 3000) for vector in utterances]) == [0, 1, 0, 2, 1]


def test_more_than_four_speakers_are_supported() -> None:
    assert assign_all(SpeakerClustering(), [(voice(n), 3000) for n in range(12)]) == list(range(12))


def test_a_short_utterance_joins_a_speaker_but_creates_none() -> None:
    clustering = SpeakerClustering()
    assert assign_all(
        clustering, [(voice(1), 700), (voice(1), 3000), (voice(1, 0.1), 700), (voice(2), 700)]
    ) == [
        None,
        0,
        0,
        None,
    ]
    assert len(clustering) == 1


def test_a_short_utterance_is_labelled_once_its_speaker_is_known() -> None:
    clustering = SpeakerClustering()
    assert clustering.assign(1, voice(1, 0.05), 800) is None
    assert clustering.assign(2, voice(7), 4000) == 0
    assert clustering.assign(3, voice(1), 4000) == 1
    assert clustering.recluster() == {1: 1}


def test_reclustering_merges_two_labels_of_one_voice() -> None:
    between = voice(1) + voice(2)
    between = between / np.float32(np.linalg.norm(between))
    clustering = SpeakerClustering()
    # The first two embeddings look like two speakers; later ones lie between them and show that they are one.
    assert assign_all(clustering, [(voice(1), 2000), (voice(2), 2000)]) == [0, 1]
    for number in range(3, 13):
        clustering.assign(number, between, 5000)
    changed = clustering.recluster()
    assert changed
    assert len(clustering) == 1


def test_reclustering_splits_one_label_of_two_voices() -> None:
    clustering = SpeakerClustering()
    # A first short piece that is like both draws both in.
    mixed = voice(1) + voice(2)
    mixed = mixed / np.float32(np.linalg.norm(mixed))
    assert clustering.assign(1, mixed, 1500) == 0
    assert clustering.assign(2, voice(1), 1600) == 0
    for number in range(3, 9):
        clustering.assign(number, voice(1 + number % 2, 0.05, number), 6000)
    clustering.recluster()
    heard = {number: clustering.nearest(voice(number), 6000) for number in (1, 2)}
    assert heard[1] != heard[2]
    assert len(clustering) == 2


def test_the_cluster_with_most_of_the_speech_keeps_the_label() -> None:
    clustering = SpeakerClustering()
    assign_all(
        clustering, [(voice(3), 9000), (voice(4), 3000), (voice(3, 0.05), 9000), (voice(4, 0.05), 3000)]
    )
    assert clustering.recluster() == {}
    assert clustering.nearest(voice(3), 5000) == 0
    assert clustering.nearest(voice(4), 5000) == 1


def test_too_little_audio_leaves_the_speaker_unknown() -> None:
    clustering = SpeakerClustering()
    clustering.assign(1, voice(1), 3000)
    assert clustering.assign(2, voice(1), 200) is None
    assert clustering.recluster() == {}


def test_a_long_meeting_keeps_its_newest_embeddings_and_all_centroids() -> None:
    clustering = SpeakerClustering(ClusteringOptions(max_embeddings=40))
    for number in range(200):
        clustering.assign(number, voice(number % 3, 0.05, number), 3000)
        if clustering.is_due:
            assert clustering.recluster() == {}
    assert [clustering.nearest(voice(n), 3000) for n in range(3)] == [0, 1, 2]
    assert len(clustering) == 3


def test_reclustering_becomes_rarer_as_the_meeting_gets_longer() -> None:
    clustering = SpeakerClustering()
    times = 0
    for number in range(400):
        clustering.assign(number, voice(number % 4), 3000)
        if clustering.is_due:
            times += 1
            clustering.recluster()
    assert times < 60


def test_a_speaker_keeps_the_label_across_a_restart() -> None:
    clustering, labels = SpeakerClustering(), SpeakerLabels(["S1", "S2"])
    for number, label in ((1, "S1"), (2, "S2")):
        labels.keep(clustering.add_labelled(LabelledVoice(number, label, voice(number), 5000), None), label)
    assert labels.label(clustering.assign(3, voice(2, 0.05), 3000)) == "S2"
    assert labels.label(clustering.assign(4, voice(9), 3000)) == "S3"


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 999)), min_size=1, max_size=40))
def test_a_speaker_keeps_the_same_label_throughout(turns: list[tuple[int, int]]) -> None:
    clustering = SpeakerClustering()
    numbers: dict[int, int | None] = {}
    for at, (person, seed) in enumerate(turns):
        number = clustering.assign(at, voice(person, 0.05, seed), 3000)
        assert numbers.setdefault(person, number) == number
    assert clustering.recluster() == {}
    assert len(set(numbers.values())) == len(numbers)


def joined_one_by_one(totals: np.ndarray, seconds: np.ndarray) -> list[int]:
    """Agglomerate like `agglomerate`, recomputing all similarities for each step."""
    groups = [[at] for at in range(len(totals))]
    while True:
        sums = [totals[group].astype(np.float64).sum(axis=0) for group in groups]
        spoken = [seconds[group].sum() for group in groups]
        best, pair = 0.0, None
        for a, b in combinations(range(len(groups)), 2):
            alike = sums[a] @ sums[b] / np.linalg.norm(sums[a]) / np.linalg.norm(sums[b])
            margin = alike - similarity_threshold(min(spoken[a], spoken[b]))
            if margin >= best:
                best, pair = margin, (a, b)
        if pair is None:
            return [min(group) for at in range(len(totals)) for group in groups if at in group]
        groups[pair[0]] += groups.pop(pair[1])


@given(st.integers(1, 30), st.integers(0, 9999), st.integers(1, 6))
def test_clusters_equal_those_of_stepwise_agglomeration(count: int, seed: int, people: int) -> None:
    draw = np.random.default_rng(seed)
    centres = draw.standard_normal((people, 16))
    vectors = centres[draw.integers(people, size=count)] + 0.7 * draw.standard_normal((count, 16))
    seconds = draw.uniform(0.5, 20, count)
    totals = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True) * seconds[:, None]).astype(np.float32)
    assert agglomerate(totals, seconds).tolist() == joined_one_by_one(totals, seconds)


@pytest.mark.parametrize("seconds", [0.5, 1.5, 3, 6, 15, 60])
def test_longer_speech_needs_a_higher_similarity(seconds: float) -> None:
    assert similarity_threshold(seconds) >= similarity_threshold(seconds / 2)


# --- a change of speaker inside an utterance


def windows_of(speakers: Sequence[int], seconds_each: float) -> tuple[VoiceVector, list[VoiceWindow]]:
    """Return audio with a pause between two speakers, and the embeddings of windows over it."""
    each = int(seconds_each * 16_000)
    sound = np.ones(each * len(speakers), np.float32)
    for edge in range(each, len(sound), each):
        sound[edge - 1600 : edge + 1600] = 0
    windows = []
    for start in window_starts(len(sound)):
        inside = np.arange(start, start + WINDOW_SAMPLES) // each
        mix = sum(((inside == at).mean() * voice(who) for at, who in enumerate(speakers)), np.zeros(32))
        windows.append(VoiceWindow(start, start + WINDOW_SAMPLES, np.asarray(mix, np.float32)))
    return sound, windows


def test_an_utterance_is_split_in_the_pause_between_two_speakers() -> None:
    sound, windows = windows_of([1, 2, 1], 3.0)
    found = single_speaker_spans(sound, windows)
    assert (found[0][0], found[-1][1]) == (0, len(sound))
    for (_, end), wanted in zip(found[:-1], (48_000, 96_000), strict=True):
        assert abs(end - wanted) <= 1600, "the cut lies in the pause"


def test_an_utterance_of_one_speaker_is_not_split() -> None:
    sound, windows = windows_of([1, 1, 1], 3.0)
    assert single_speaker_spans(sound, windows) == [(0, len(sound))]


def test_windows_cover_an_utterance_to_its_end() -> None:
    starts = window_starts(100_000)
    assert starts[0] == 0
    assert starts[-1] + WINDOW_SAMPLES == 100_000
    assert max(b - a for a, b in pairwise(starts)) <= HOP_SAMPLES
    assert window_starts(16_000) == [], "too short for two"
