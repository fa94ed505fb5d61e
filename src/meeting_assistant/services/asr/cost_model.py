"""Predicts how long decodes take on this machine, learned while it runs. Pure.

For each key (kind of decode and length bucket) the time of a batch of `n` windows is modelled as `a * n + b`: `b` is
the fixed cost of a batch, `a` the cost of each window. Both are fitted by least squares with decaying weights.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

FORGETTING = 0.95
"""Decay of the weights at each new batch: about the last twenty count."""
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
        """Return `a` and `b`; neither is below zero."""
        mean_n, mean_t = self.n / self.weight, self.t / self.weight
        spread = self.nn / self.weight - mean_n * mean_n
        if spread < MIN_SPREAD:
            return mean_t / mean_n, 0.0
        a = (self.nt / self.weight - mean_n * mean_t) / spread
        a = min(max(a, 0.0), mean_t / mean_n)
        return a, mean_t - a * mean_n


class CostModel:
    """Predicts how many seconds of the engine a batch takes."""

    def __init__(self, prior_s: float = 0.1) -> None:
        """`prior_s`: the prediction for one window before anything was observed."""
        self._prior_s = prior_s
        self._sums: dict[Hashable, _Sums] = {}
        self._all = _Sums()

    def observe(self, key: Hashable, n: int, seconds: float) -> None:
        """Learn that a batch of `n` windows took that long."""
        self._sums.setdefault(key, _Sums()).add(n, seconds)
        self._all.add(n, seconds)

    def predict(self, key: Hashable, n: int = 1) -> float:
        """Return the seconds for a batch of `n` windows; an unknown key gets the average of all keys."""
        sums = self._sums.get(key, self._all)
        if sums.weight == 0.0:
            return self._prior_s * n
        a, b = sums.line()
        return a * n + b
