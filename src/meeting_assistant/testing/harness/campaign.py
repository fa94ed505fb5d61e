"""Faults injected many times: so many cycles of one kind, each with its seed, counted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass
class Campaign:
    """So many cycles of one fault; what was counted goes into a report."""

    name: str
    cycles: int
    seed: int
    current_seed: int = 0
    counted: dict[str, float] = field(default_factory=dict)

    def count(self, **figures: float) -> None:
        """Add to the figures."""
        for name, value in figures.items():
            self.counted[name] = self.counted.get(name, 0) + value

    def seeds(self) -> Iterator[int]:
        """One for each cycle; `current_seed` is what a failure is reported with."""
        for cycle in range(self.cycles):
            self.current_seed = self.seed + cycle
            yield self.current_seed
