"""Summaries of the series in `/metrics` for the dashboard: aggregated, grouped and labelled. Pure.

Series are added up over their labels, except for labels that an operator acts upon (a provider, a reason). No label
names a meeting or a person, and the number of label values is limited.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from prometheus_client.core import Metric

from meeting_assistant.services.admin.metric_definitions import Alert, Definition, GroupKey, Kind, Unit
from meeting_assistant.services.admin.metrics_catalogue import CATALOGUE

MAX_PARTS = 12
"""The most values of one label that are shown; `/metrics` has all of them."""

Labels = Mapping[str, str]
Samples = Mapping[str, Sequence[tuple[Labels, float]]]


@dataclass(frozen=True, slots=True)
class MetricSummary:
    """One value or one distribution, counted since the process started."""

    key: str
    label: str
    """The text on the page."""
    hint: str
    metric: str
    """The name in `/metrics`; empty when the value has another source."""
    kind: Kind
    unit: Unit
    value: float | None
    """The present value of a gauge, the total of a counter or the sum of a histogram."""
    count: int | None = None
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    buckets: Sequence[tuple[float, int]] = ()
    """Upper bounds with their cumulative counts; the difference of two reports describes the time between them."""
    parts: Mapping[str, float] = field(default_factory=dict)
    """The value for each value of a label, where the catalogue breaks it down."""
    alert: Alert | None = None
    """The alerting rule of the same name in deploy/prometheus/alerts.yml."""


@dataclass(frozen=True, slots=True)
class MetricGroup:
    """Summaries that are shown under one heading."""

    key: GroupKey
    title: str
    figures: Sequence[MetricSummary]


def summarise_metrics(families: Iterable[Metric], *, has_fleet: bool) -> list[MetricGroup]:
    """Summarise the metrics of a registry by the catalogue, without those that the registry lacks.

    `has_fleet`: speech is recognised by workers, whose metrics are not in this registry.
    """
    families = list(families)
    samples = _samples_by_name(families)
    known = {family.name for family in families}
    groups = []
    for group in CATALOGUE:
        if group.only_where is not None and (group.only_where == "fleet") != has_fleet:
            continue
        there = [one for one in group.definitions if one.metric.removesuffix("_total") in known]
        shown = [figure for one in there for figure in _summaries(one, samples)]
        if shown:
            groups.append(MetricGroup(group.key, group.title, shown))
    return groups


def quantile(buckets: Sequence[tuple[float, int]], count: int, share: float) -> float | None:
    """Return a quantile, interpolated within its bucket as Prometheus does; None without observations.

    Above the last bound it is that bound.
    """
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


def _summaries(definition: Definition, samples: Samples) -> list[MetricSummary]:
    """Return one summary, or one for each value of the label that the definition is split by."""
    name = f"{definition.metric}_bucket" if definition.kind == "histogram" else definition.metric
    there = [one for one in samples.get(name, ()) if definition.takes(one[0])]
    if definition.split_by is None:
        return [_summary(definition, there, samples)]
    values = sorted({labels[definition.split_by] for labels, _ in there})[:MAX_PARTS]
    return [
        _summary(
            definition.of(value),
            [one for one in there if one[0][definition.split_by] == value],
            samples,
        )
        for value in values
    ]


def _summary(
    definition: Definition, there: Sequence[tuple[Labels, float]], samples: Samples
) -> MetricSummary:
    if definition.kind == "histogram":
        return _distribution(definition, there, samples)
    return MetricSummary(
        **definition.words(),
        value=sum(value for _, value in there),
        parts=_parts(definition, there),
    )


def _distribution(
    definition: Definition, there: Sequence[tuple[Labels, float]], samples: Samples
) -> MetricSummary:
    at_most: dict[float, int] = {}
    for labels, value in there:
        bound = float(labels["le"])
        at_most[bound] = at_most.get(bound, 0) + int(value)
    count = at_most.pop(float("inf"), 0)
    buckets = sorted(at_most.items())
    total = sum(
        value for labels, value in samples.get(f"{definition.metric}_sum", ()) if definition.takes(labels)
    )
    return MetricSummary(
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
