"""Agglomerative clustering of speaker embeddings, and the similarity from which two of them are one voice. Pure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_SPOKEN_S = (0.5, 1.5, 3.0, 6.0, 15.0)
_THRESHOLDS = (0.12, 0.22, 0.33, 0.38, 0.45)


def similarity_threshold(spoken_s: float) -> float:
    """Return the cosine similarity from which two stretches of speech count as one voice.

    `spoken_s` is the length of the shorter one. Measured on utterances of 25 voices, clean, in a noisy room and on the
    telephone: one voice stays above the threshold and different ones below it (`docs/decisions/0018-speakers.md`).
    """
    return float(np.interp(spoken_s, _SPOKEN_S, _THRESHOLDS))


def agglomerate(totals: NDArray[np.float32], seconds: NDArray[np.float64]) -> NDArray[np.int64]:
    """Join the two most similar groups until none are similar enough; takes about n² steps.

    `totals`, shape `(n, d)`: sums of embeddings, weighted by seconds; `seconds`, shape `(n,)`: speech in each.
    Returns the group of each, shape `(n,)`: the index of its first member.
    """
    count = len(totals)
    group = np.arange(count)
    spoken = np.asarray(seconds, np.float64).copy()
    sums = totals.astype(np.float64)
    # The product of a sum with a third vector is the sum of the products: from here on the vectors are not needed.
    products = sums @ sums.T
    lengths = np.sqrt(np.maximum(np.diagonal(products), 1e-18))
    thresholds = np.interp(np.minimum.outer(spoken, spoken), _SPOKEN_S, _THRESHOLDS)
    table = products / np.multiply.outer(lengths, lengths) - thresholds
    np.fill_diagonal(table, -np.inf)
    partner = table.argmax(axis=1)
    margin = table[group, partner]
    """For each group the most similar other one, and how far their similarity exceeds the threshold."""
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
        row -= np.interp(np.minimum(spoken[first], spoken), _SPOKEN_S, _THRESHOLDS)
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
