"""What `/metrics` tells, for a person: the same series, added up, grouped, with words. Pure.

Labels that a series has are added up, except where they say something that an operator acts upon (a provider, a
reason). None of them names a meeting or a person, and there is a limit on how many are told.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from prometheus_client.core import Metric

from meeting_assistant.services.admin.metrics_catalogue import (
    CATALOGUE,
    Alert,
    Definition,
    GroupKey,
    Kind,
    Unit,
)

MAX_PARTS = 12
"""Values of one label that are shown; the rest is in `/metrics`."""

Labels = Mapping[str, str]
Samples = Mapping[str, Sequence[tuple[Labels, float]]]


@dataclass(frozen=True, slots=True)
class Figure:
    """One number, or one distribution, since the process started."""

    key: str
    label: str
    """Text on the page."""
    hint: str
    metric: str
    """Its name in `/metrics`; empty where the number is not from there."""
    kind: Kind
    unit: Unit
    value: float | None
    """Of a gauge: now; of a counter: the total; of a histogram: the sum."""
    count: int | None = None
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    buckets: Sequence[tuple[float, int]] = ()
    """Upper bounds and how many observations were at most that: two answers give what happened between them."""
    parts: Mapping[str, float] = field(default_factory=dict)
    """The value by what it is about, where that is told."""
    alert: Alert | None = None
    """When it is time to act: the rule of the same name in deploy/prometheus/alerts.yml."""


@dataclass(frozen=True, slots=True)
class FigureGroup:
    """Figures that are shown together."""

    key: GroupKey
    title: str
    figures: Sequence[Figure]


def figures_of(families: Iterable[Metric], *, has_fleet: bool) -> list[FigureGroup]:
    """From all there is in a registry; what the catalogue names and the registry lacks is left out. `has_fleet`: speech
    is recognised by workers, whose figures are not in this registry."""
    families = list(families)
    samples = _samples_by_name(families)
    known = {family.name for family in families}
    groups = []
    for group in CATALOGUE:
        if group.only_where is not None and (group.only_where == "fleet") != has_fleet:
            continue
        there = [one for one in group.definitions if one.metric.removesuffix("_total") in known]
        shown = [figure for one in there for figure in _figures(one, samples)]
        if shown:
            groups.append(FigureGroup(group.key, group.title, shown))
    return groups


def quantile(buckets: Sequence[tuple[float, int]], count: int, share: float) -> float | None:
    """By Prometheus' own rule: evenly spread within a bucket; above the last bound, that bound. None without any."""
    if count == 0 or not buckets:
        return None
    rank = share * count
    below, lower = 0, 0.0
    for upper, cumulative in buckets:
        if cumulative >= rank:
            inside = cumulative - below
            return lower + (upper - lower) * ((rank - below) / inside if inside else 1.0)
        below, lower = cumulative, upper
    return buckets[-1][0]


def _samples_by_name(families: Iterable[Metric]) -> Samples:
    found: dict[str, list[tuple[Labels, float]]] = {}
    for family in families:
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def _figures(definition: Definition, samples: Samples) -> list[Figure]:
    """Return one figure, or one for each value of the label that it is split by."""
    name = f"{definition.metric}_bucket" if definition.kind == "histogram" else definition.metric
    there = [one for one in samples.get(name, ()) if definition.takes(one[0])]
    if definition.split_by is None:
        return [_figure(definition, there, samples)]
    values = sorted({labels[definition.split_by] for labels, _ in there})[:MAX_PARTS]
    return [
        _figure(
            definition.of(value),
            [one for one in there if one[0][definition.split_by] == value],
            samples,
        )
        for value in values
    ]


def _figure(definition: Definition, there: Sequence[tuple[Labels, float]], samples: Samples) -> Figure:
    if definition.kind == "histogram":
        return _distribution(definition, there, samples)
    return Figure(
        **definition.words(),
        value=sum(value for _, value in there),
        parts=_parts(definition, there),
    )


def _distribution(definition: Definition, there: Sequence[tuple[Labels, float]], samples: Samples) -> Figure:
    at_most: dict[float, int] = {}
    for labels, value in there:
        bound = float(labels["le"])
        at_most[bound] = at_most.get(bound, 0) + int(value)
    count = at_most.pop(float("inf"), 0)
    buckets = sorted(at_most.items())
    total = sum(
        value for labels, value in samples.get(f"{definition.metric}_sum", ()) if definition.takes(labels)
    )
    return Figure(
        **definition.words(),
        value=total,
        count=count,
        p50=quantile(buckets, count, 0.5),
        p95=quantile(buckets, count, 0.95),
        p99=quantile(buckets, count, 0.99),
        buckets=buckets,
    )


def _parts(definition: Definition, there: Sequence[tuple[Labels, float]]) -> dict[str, float]:
    """Return the values by label, the largest first."""
    if definition.parts_by is None:
        return {}
    parts: dict[str, float] = {}
    for labels, value in there:
        name = labels[definition.parts_by].replace("_", " ")
        parts[name] = parts.get(name, 0.0) + value
    largest = sorted((item for item in parts.items() if item[1]), key=lambda item: (-item[1], item[0]))
    return dict(largest[:MAX_PARTS])
