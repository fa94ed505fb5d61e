"""Faults injected many times: so many cycles of one kind, each with its seed, counted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass
class Campaign:
    """A number of cycles of one fault, with the figures that are counted for the report."""

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
        """Yield one seed per cycle; a failure is reported with `current_seed`."""
        for cycle in range(self.cycles):
            self.current_seed = self.seed + cycle
            yield self.current_seed
