"""Definitions of what the dashboard shows: a metric, in words, with the threshold of its alert."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

Kind = Literal["gauge", "counter", "histogram", "rate"]
"""`rate`: a counter shown as its increase per second."""
Unit = Literal["", "s", "bytes", "cores", "windows"]
Measure = Literal["value", "increase", "p95", "p99"]
GroupKey = Literal[
    "meetings", "captions", "recognition", "work", "deliveries", "recordings", "fleet", "process"
]

MINUTE = 60


@dataclass(frozen=True, slots=True)
class Alert:
    """Act when `measure` over the last `window_s` is above `above`."""

    name: str
    """Name of the alerting rule, without the prefix `MeetingAssistant`."""
    measure: Measure
    above: float
    window_s: int
    action: str


@dataclass(frozen=True, slots=True)
class Definition:
    """Definition of one entry of the dashboard."""

    key: str
    label: str
    metric: str
    kind: Kind
    unit: Unit = ""
    hint: str = ""
    only: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Label values that a series must have to be counted."""
    without: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Label values that exclude a series."""
    parts_by: str | None = None
    """The label that the value is broken down by."""
    split_by: str | None = None
    """The label whose every value gets an entry of its own."""
    alert: Alert | None = None

    def takes(self, labels: Mapping[str, str]) -> bool:
        """Return True when a series with these labels is counted."""
        return all(labels.get(name) in values for name, values in self.only.items()) and all(
            labels.get(name) not in values for name, values in self.without.items()
        )

    def of(self, value: str) -> Definition:
        """Return the definition for one value of the label that it is split by."""
        assert self.split_by is not None
        return replace(
            self,
            key=f"{self.key}_{value}",
            label=self.label.format(value),
            only={**self.only, self.split_by: frozenset({value})},
        )

    def words(self) -> dict[str, Any]:
        """Return the fields that the definition passes on to its summary."""
        return {
            name: getattr(self, name) for name in ("key", "label", "hint", "metric", "kind", "unit", "alert")
        }


@dataclass(frozen=True, slots=True)
class GroupDefinition:
    """Definitions that are shown under one heading."""

    key: GroupKey
    title: str
    definitions: Sequence[Definition]
    only_where: Literal["fleet", "one machine"] | None = None


P = "meeting_assistant_"
"""What our metrics begin with."""
