"""Length of the pause before another attempt. Pure."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential backoff: each pause is `factor` times the one before, up to the longest."""

    first_s: float
    factor: float = 2.0
    longest_s: float = math.inf
    jitter: float = 0.0
    """Share of each pause that is left to chance, so that many clients do not return at the same moment: with 0.5 a
    pause is between half of its length and all of it."""

    def pause_s(self, failures: int, chance: Callable[[], float] = random.random) -> float:
        """Return the pause after so many failures in a row, the first of which is number 1.

        `chance` gives numbers from 0 to 1.
        """
        try:
            full_s = min(self.longest_s, self.first_s * self.factor ** (failures - 1))
        except OverflowError:
            full_s = self.longest_s
        return full_s * (1 - self.jitter * chance()) if self.jitter else full_s
