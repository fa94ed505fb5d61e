"""How long decoding takes on this machine, learned while it runs. Pure.

For each key (kind of decode and length bucket) the time of a batch of `n` windows is taken to be `a * n + b`: `b` is
what the engine costs at all, `a` what one more window adds. Both are fitted by least squares in which older batches
count less and less.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

FORGETTING = 0.95
"""Weight of everything older at each new batch: about the last twenty count."""
MIN_SPREAD = 0.05
"""Variance of batch sizes below which `a` and `b` cannot be told apart."""


@dataclass(slots=True)
class _Sums:
    weight: float = 0.0
    n: float = 0.0
    nn: float = 0.0
    t: float = 0.0
    nt: float = 0.0

    def add(self, n: int, seconds: float) -> None:
        self.weight = self.weight * FORGETTING + 1.0
        self.n = self.n * FORGETTING + n
        self.nn = self.nn * FORGETTING + n * n
        self.t = self.t * FORGETTING + seconds
        self.nt = self.nt * FORGETTING + n * seconds

    def line(self) -> tuple[float, float]:
        """`a`, `b`; neither below zero."""
        mean_n, mean_t = self.n / self.weight, self.t / self.weight
        spread = self.nn / self.weight - mean_n * mean_n
        if spread < MIN_SPREAD:
            return mean_t / mean_n, 0.0
        a = (self.nt / self.weight - mean_n * mean_t) / spread
        a = min(max(a, 0.0), mean_t / mean_n)
        return a, mean_t - a * mean_n


class CostModel:
    """Predicts seconds of the engine."""

    def __init__(self, prior_s: float = 0.1) -> None:
        """`prior_s`: one window, as long as nothing is known."""
        self._prior_s = prior_s
        self._sums: dict[Hashable, _Sums] = {}
        self._all = _Sums()

    def observe(self, key: Hashable, n: int, seconds: float) -> None:
        """A batch of `n` windows took that long."""
        self._sums.setdefault(key, _Sums()).add(n, seconds)
        self._all.add(n, seconds)

    def predict(self, key: Hashable, n: int = 1) -> float:
        """Seconds for a batch of `n`; for an unknown key what batches take in general."""
        sums = self._sums.get(key, self._all)
        if sums.weight == 0.0:
            return self._prior_s * n
        a, b = sums.line()
        return a * n + b
