"""Telling the voices of a meeting apart while it runs, and repairing what was told too early. Pure.

Every piece of speech brings a vector of its voice. A new piece goes to the nearest known voice if it is near enough;
how near that is depends on how much was spoken, since a short piece says little about a voice. Now and then all pieces
are grouped anew (agglomerative clustering on the means of groups), which parts what was taken for one voice, joins what
was taken for two and places what was too short when it was heard. There is no limit to the number of voices.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from meeting_assistant.domain.ports import VoiceVector

_SPOKEN_S = (0.5, 1.5, 3.0, 6.0, 15.0)
_WANTED = (0.12, 0.22, 0.33, 0.38, 0.45)


def similarity_threshold(spoken_s: float) -> float:
    """The cosine from which two stretches of speech are taken for one voice, by the length of the shorter one.

    Measured on utterances of 25 voices, clean, in a noisy room and on the telephone: the same voice stays above it and
    different ones below it (`docs/decisions/0018-speakers.md`).
    """
    return float(np.interp(spoken_s, _SPOKEN_S, _WANTED))


@dataclass(frozen=True, slots=True)
class VoiceOptions:
    """Lengths of speech, in milliseconds."""

    min_any_ms: int = 400
    """Less is never told apart."""
    min_new_ms: int = 1500
    """Speech that a new voice needs: less may be a laugh, or two people at once."""
    full_weight_ms: int = 10_000
    """More speech in one piece does not count more."""
    unlike: float = 0.0
    """A piece less alike than this to every voice belongs to none of them."""
    max_pieces: int = 1200
    """Remembered one by one; older ones stay where they are. Grouping so many anew takes a third of a second."""


@dataclass(frozen=True, slots=True)
class LabelledVoice:
    """An utterance whose speaker was told before the session was taken up."""

    utterance: int
    label: str
    vector: VoiceVector
    spoken_ms: int


@dataclass(slots=True)
class _Piece:
    utterance: int
    vector: NDArray[np.float16]
    spoken_ms: int
    voice: int | None


@dataclass(slots=True)
class _Voice:
    """The sum of its pieces' vectors, weighted by what was spoken; the mean's direction is the voice."""

    total: VoiceVector
    spoken_ms: int
    direction: VoiceVector = field(init=False)

    def __post_init__(self) -> None:
        self.direction = _unit(self.total)


class SpeakerClustering:
    """Of one session. Voices are numbered from 0 in the order in which they are first told."""

    def __init__(self, options: VoiceOptions | None = None) -> None:
        self._options = options or VoiceOptions()
        self._pieces: list[_Piece] = []
        self._settled: dict[int, _Voice] = {}
        """What pieces say that are not remembered one by one any more."""
        self._voices: dict[int, _Voice] = {}
        self._next = 0
        self._new_pieces = 0

    def __len__(self) -> int:
        return len(self._voices)

    def hear(self, utterance: int, vector: VoiceVector, spoken_ms: int) -> int | None:
        """The voice of a piece of speech, as far as it can be told now; None while it cannot."""
        options = self._options
        if spoken_ms < options.min_any_ms:
            return None
        voice = self.nearest(vector, spoken_ms)
        if voice is None and spoken_ms >= options.min_new_ms:
            voice = self._new_number()
        self._remember(utterance, vector, spoken_ms, voice)
        return voice

    def nearest(self, vector: VoiceVector, spoken_ms: int) -> int | None:
        """The known voice that this is, if it is one. Remembers nothing."""
        voices = self._voices  # grouping anew, on another thread, puts others in their place
        if not voices:
            return None
        numbers = list(voices)
        likeness = [float(voices[number].direction @ vector) for number in numbers]
        best = int(np.argmax(likeness))
        shorter_ms = min(spoken_ms, max(voices[numbers[best]].spoken_ms, self._options.min_new_ms))
        return numbers[best] if likeness[best] >= similarity_threshold(shorter_ms / 1000) else None

    def recall(self, known: LabelledVoice, voice: int | None) -> int:
        """A voice that was told before, as a new one or as that of an earlier call; returns its number."""
        number = self._new_number() if voice is None else voice
        self._remember(known.utterance, known.vector, known.spoken_ms, number)
        return number

    def add_unlabelled(self, known: LabelledVoice) -> None:
        """A piece that was too short to be told before."""
        self._remember(known.utterance, known.vector, known.spoken_ms, None)

    @property
    def is_due(self) -> bool:
        """True when enough was heard since the last `regroup`: seldom enough to cost little however long it lasts."""
        return self._new_pieces >= max(1, len(self._pieces) // 8)

    def regroup(self) -> dict[int, int | None]:
        """Group all pieces anew. Returns utterances whose voice changed, with the voice that each belongs to now.

        An utterance of several pieces is not expected: each has its own number.
        """
        self._new_pieces = 0
        if not self._pieces:
            return {}
        groups = self._grouped()
        numbers = self._numbers_for(groups)
        changed: dict[int, int | None] = {}
        for piece, group in zip(self._pieces, groups, strict=True):
            voice = None if group is None else numbers[group]
            if voice != piece.voice:
                changed[piece.utterance] = piece.voice = voice
        self._weigh_anew()
        return changed

    def directions(self) -> dict[int, tuple[VoiceVector, int]]:
        """Every voice: its vector, and how many milliseconds of it were heard."""
        return {number: (voice.direction, voice.spoken_ms) for number, voice in self._voices.items()}

    # --- pieces and voices

    def _new_number(self) -> int:
        self._next += 1
        return self._next - 1

    def _remember(self, utterance: int, vector: VoiceVector, spoken_ms: int, voice: int | None) -> None:
        self._pieces.append(_Piece(utterance, vector.astype(np.float16), spoken_ms, voice))
        self._new_pieces += 1
        if voice is not None and (spoken_ms >= self._options.min_new_ms or voice not in self._voices):
            _add(self._voices, voice, self._weighted(vector, spoken_ms), spoken_ms)
        if len(self._pieces) > self._options.max_pieces:
            self._settle(len(self._pieces) // 2)

    def _settle(self, count: int) -> None:
        """Let go of the oldest pieces; what they say of their voices stays."""
        for piece in self._pieces[:count]:
            if piece.voice is not None:
                vector = piece.vector.astype(np.float32)
                _add(self._settled, piece.voice, self._weighted(vector, piece.spoken_ms), piece.spoken_ms)
        del self._pieces[:count]

    def _weighted(self, vector: VoiceVector, spoken_ms: int) -> VoiceVector:
        weight = min(spoken_ms, self._options.full_weight_ms) / 1000
        return (vector * weight).astype(np.float32)

    def _weigh_anew(self) -> None:
        voices = {number: _Voice(v.total, v.spoken_ms) for number, v in self._settled.items()}
        for least_ms in (self._options.min_new_ms, 0):
            missing = set(voices)
            for piece in self._pieces:
                if (
                    piece.voice is None
                    or piece.spoken_ms < least_ms
                    or (least_ms == 0 and piece.voice in missing)
                ):
                    continue
                vector = self._weighted(piece.vector.astype(np.float32), piece.spoken_ms)
                _add(voices, piece.voice, vector, piece.spoken_ms)
        self._voices = voices

    # --- grouping

    def _grouped(self) -> list[int | None]:
        """The group of each piece. The first groups are the settled voices, in their order."""
        vectors = np.stack([piece.vector for piece in self._pieces]).astype(np.float32)
        spoken = np.array([piece.spoken_ms for piece in self._pieces])
        weights = np.minimum(spoken, self._options.full_weight_ms) / 1000
        long = np.flatnonzero(spoken >= self._options.min_new_ms)
        anchors = list(self._settled.values())
        totals = np.concatenate(
            [
                np.stack([a.total for a in anchors]) if anchors else vectors[:0],
                vectors[long] * weights[long, None],
            ]
        )
        if len(totals) == 0:
            return [None] * len(self._pieces)
        seconds = np.concatenate([np.array([a.spoken_ms for a in anchors]), spoken[long]]) / 1000
        group_of_node = agglomerate(totals.astype(np.float32), seconds)
        for _ in range(2):
            groups = sorted(set(group_of_node.tolist()))
            means = np.stack([_unit(totals[group_of_node == group].sum(axis=0)) for group in groups])
            likeness = vectors @ means.T
            nearest = np.array(groups)[likeness.argmax(axis=1)]
            group_of_node[len(anchors) :] = nearest[long]
        best = likeness.max(axis=1)
        return [
            int(group) if like >= self._options.unlike else None
            for group, like in zip(nearest, best, strict=True)
        ]

    def _numbers_for(self, groups: list[int | None]) -> dict[int, int]:
        """Each group keeps the number that most of its speech had; a number goes to one group only."""
        shared: Counter[tuple[int, int]] = Counter()
        for piece, group in zip(self._pieces, groups, strict=True):
            if group is not None and piece.voice is not None:
                shared[group, piece.voice] += piece.spoken_ms
        for index, (number, voice) in enumerate(self._settled.items()):
            # Settled pieces are told for good: their number goes with them.
            group = index if index in groups else None
            if group is not None:
                shared[group, number] += voice.spoken_ms * 1000
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


def agglomerate(totals: NDArray[np.float32], seconds: NDArray[np.float64]) -> NDArray[np.int64]:
    """Join the two most alike groups until none are alike enough. Pure; takes about n² steps for n pieces.

    `totals`, shape `(n, d)`: sums of vectors, weighted by seconds; `seconds`, shape `(n,)`: what was spoken in each.
    Returns the group of each, shape `(n,)`: the index of its first member.
    """
    count = len(totals)
    group = np.arange(count)
    spoken = np.asarray(seconds, np.float64).copy()
    sums = totals.astype(np.float64)
    # The product of a sum with a third vector is the sum of products: after this the vectors are not needed any more.
    products = sums @ sums.T
    lengths = np.sqrt(np.maximum(np.diagonal(products), 1e-18))
    wanted = np.interp(np.minimum.outer(spoken, spoken), _SPOKEN_S, _WANTED)
    table = products / np.multiply.outer(lengths, lengths) - wanted
    np.fill_diagonal(table, -np.inf)
    partner = table.argmax(axis=1)
    margin = table[group, partner]
    """Of each group, who is most like it, and by how much more than is wanted."""
    gone = np.zeros(count, bool)
    while True:
        one = int(margin.argmax())
        if margin[one] < 0:
            return group
        first, second = sorted((one, int(partner[one])))
        length = products[first, first] + 2 * products[first, second] + products[second, second]
        products[first] += products[second]
        products[:, first] = products[first]
        products[first, first] = length
        lengths[first] = np.sqrt(max(float(length), 1e-18))
        spoken[first] += spoken[second]
        group[group == second] = first
        gone[second] = True
        row = products[first] / (lengths[first] * lengths)
        row -= np.interp(np.minimum(spoken[first], spoken), _SPOKEN_S, _WANTED)
        row[gone] = row[first] = -np.inf
        table[first], table[:, first] = row, row
        table[second], table[:, second] = -np.inf, -np.inf
        nearer = row > margin
        partner[nearer], margin[nearer] = first, row[nearer]
        margin[second] = -np.inf
        stale = np.flatnonzero(~gone & ~nearer & ((partner == first) | (partner == second)))
        stale = np.append(stale, first)
        partner[stale] = table[stale].argmax(axis=1)
        margin[stale] = table[stale, partner[stale]]


def _add(voices: dict[int, _Voice], number: int, weighted: VoiceVector, spoken_ms: int) -> None:
    known = voices.get(number)
    if known is None:
        voices[number] = _Voice(weighted, spoken_ms)
    else:
        voices[number] = _Voice(known.total + weighted, known.spoken_ms + spoken_ms)


def _unit(vector: NDArray[np.float32]) -> NDArray[np.float32]:
    return vector / np.float32(max(float(np.linalg.norm(vector)), 1e-9))
