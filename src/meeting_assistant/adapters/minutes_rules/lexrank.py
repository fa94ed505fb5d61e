"""The sentences that carry a meeting: LexRank, then maximal marginal relevance, in order of time.

LexRank: Erkan & Radev, "LexRank: Graph-based Lexical Centrality as Salience in Text Summarization", 2004.
MMR: Carbonell & Goldstein, "The Use of MMR, Diversity-Based Reranking", 1998.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float32]

_DAMPING = 0.85
_THRESHOLD = 0.1
_MMR = 0.6
_BLOCK = 1200
"""Sentences ranked at once: the graph of a block takes 6 MB, however long the meeting is."""
_PER_BLOCK = 150
"""Best sentences of a block that go on to the last round."""
_ITERATIONS = 60
_TOLERANCE = 1e-6


def rank_sentences(terms: Sequence[Sequence[str]]) -> NDArray[np.float64]:
    """A score per sentence, highest for the most central; 0 for sentences that lost an early round."""
    n = len(terms)
    scores = np.zeros(n)
    if n == 0:
        return scores
    finalists = list(range(n))
    if n > _BLOCK:
        blocks = math.ceil(n / _BLOCK)
        finalists = []
        for part in np.array_split(np.arange(n), blocks):
            local = _lexrank(similarity([terms[i] for i in part]))
            best = np.argsort(-local, kind="stable")[: min(_PER_BLOCK, _BLOCK // blocks or 1)]
            finalists.extend(sorted(int(part[b]) for b in best))
    scores[finalists] = _lexrank(similarity([terms[i] for i in finalists]))
    return scores


def similarity(terms: Sequence[Sequence[str]]) -> Matrix:
    """Cosine of log-tf by idf between all sentences, float32 of shape (n, n)."""
    n = len(terms)
    frequency: Counter[str] = Counter()
    for sentence in terms:
        frequency.update(set(sentence))
    # A term of a single sentence adds to that sentence's length and to no product.
    shared = {term: k for k, term in enumerate(t for t, count in sorted(frequency.items()) if count > 1)}
    vectors: Matrix = np.zeros((n, max(1, len(shared))), dtype=np.float32)
    norms = np.zeros(n, dtype=np.float64)
    for i, sentence in enumerate(terms):
        for term, count in Counter(sentence).items():
            weight = (1.0 + math.log(count)) * (math.log((1 + n) / (1 + frequency[term])) + 1.0)
            norms[i] += weight * weight
            column = shared.get(term)
            if column is not None:
                vectors[i, column] = weight
    vectors /= np.sqrt(np.maximum(norms, 1e-12))[:, None].astype(np.float32)
    result: Matrix = vectors @ vectors.T
    return result


def _lexrank(cosine: Matrix) -> NDArray[np.float64]:
    n = len(cosine)
    graph = np.where(cosine >= _THRESHOLD, cosine, np.float32(0))
    np.fill_diagonal(graph, 0)
    degree = graph.sum(axis=1)
    is_linked = degree > 0
    graph[is_linked] /= degree[is_linked, None]
    rank: Matrix = np.full(n, 1.0 / n, dtype=np.float32)
    for _ in range(_ITERATIONS):
        unlinked = rank[~is_linked].sum() / n
        following: Matrix = (1 - _DAMPING) / n + _DAMPING * (rank @ graph + unlinked)
        change = np.abs(following - rank).sum()
        rank = following
        if change < _TOLERANCE:
            break
    return rank.astype(np.float64)


def choose_diverse(
    scores: NDArray[np.float64],
    terms: Sequence[Sequence[str]],
    lengths: Sequence[float],
    *,
    budget: float,
    most: int,
) -> list[int]:
    """The best sentences that do not repeat one another, as indices in order of time.

    Stops at `most` sentences or when the next one would pass the budget (in words) by more than half of itself;
    always gives one when there is one.
    """
    pool = [int(i) for i in np.argsort(-scores, kind="stable")[: max(60, 6 * most)] if scores[i] > 0]
    if not pool:
        return []
    cosine = similarity([terms[i] for i in pool])
    relevance = scores[pool] / scores[pool].max()
    chosen: list[int] = []
    nearest = np.zeros(len(pool))
    left = budget
    while len(chosen) < min(most, len(pool)):
        gain = _MMR * relevance - (1 - _MMR) * nearest
        gain[chosen] = -np.inf
        for best in np.argsort(-gain, kind="stable"):
            if not chosen or (gain[best] > -np.inf and lengths[pool[best]] / 2 <= left):
                break
        else:
            break
        chosen.append(int(best))
        left -= lengths[pool[best]]
        nearest = np.maximum(nearest, cosine[best])
        if left <= 0:
            break
    return sorted(pool[k] for k in chosen)
