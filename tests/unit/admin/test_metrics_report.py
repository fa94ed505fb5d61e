"""The summaries on the dashboard: aggregated from a registry, labelled, without the name of any meeting."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from meeting_assistant.services.admin.dashboard import MAX_PARTS, MetricSummary, quantile, summarise_metrics
from meeting_assistant.services.admin.metrics_catalogue import CATALOGUE


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def read(registry: CollectorRegistry, key: str, *, has_fleet: bool = False) -> MetricSummary:
    (found,) = [
        figure
        for group in summarise_metrics(registry.collect(), has_fleet=has_fleet)
        for figure in group.figures
        if figure.key == key
    ]
    return found


def test_a_gauge_is_reported_as_it_is(registry: CollectorRegistry) -> None:
    Gauge("meeting_assistant_live_sessions", "", registry=registry).set(3)
    figure = read(registry, "live")
    assert (figure.value, figure.kind, figure.metric) == (3, "gauge", "meeting_assistant_live_sessions")


def test_a_counter_is_summed_and_reported_by_reason(registry: CollectorRegistry) -> None:
    gaps = Counter("meeting_assistant_gaps_total", "", ["reason"], registry=registry)
    assert read(registry, "gaps").value == 0, "what never happened is known to be nothing"
    gaps.labels("engine_failed").inc(2)
    gaps.labels("off_the_record").inc(5)
    figure = read(registry, "gaps")
    assert figure.value == 2, "what people took off the record is no fault"
    assert figure.parts == {"engine failed": 2}
    assert figure.alert is not None
    assert (figure.alert.measure, figure.alert.above) == ("increase", 0)


def test_a_histogram_is_reported_by_quantiles_and_buckets(registry: CollectorRegistry) -> None:
    lag = Histogram("meeting_assistant_caption_lag_seconds", "", buckets=(1, 2, 4), registry=registry)
    assert read(registry, "caption_lag").p95 is None, "of nothing there is no quantile"
    for seconds in (0.5, 0.5, 1.5, 3.0):
        lag.observe(seconds)
    figure = read(registry, "caption_lag")
    assert figure.count == 4
    assert figure.buckets == [(1.0, 2), (2.0, 3), (4.0, 4)]
    assert figure.p50 == 1.0
    assert figure.p95 == pytest.approx(3.6)


@pytest.mark.parametrize(("share", "expected"), [(0.25, 0.5), (0.5, 1.0), (0.75, 2.0), (0.99, 2.0)])
def test_quantiles_equal_those_of_prometheus(share: float, expected: float) -> None:
    # Four observations: two up to 1, one up to 2, one above all bounds.
    assert quantile([(1.0, 2), (2.0, 3)], 4, share) == pytest.approx(expected)


def test_language_models_are_reported_one_by_one(registry: CollectorRegistry) -> None:
    answers = Histogram(
        "meeting_assistant_llm_latency_seconds", "", ["provider"], buckets=(1, 10), registry=registry
    )
    answers.labels("vllm").observe(5)
    answers.labels("embedded").observe(0.1)
    groups = summarise_metrics(registry.collect(), has_fleet=False)
    labels = [figure.label for group in groups for figure in group.figures]
    assert labels == ["Response time of embedded", "Response time of vllm"]
    assert read(registry, "llm_vllm").count == 1


def test_with_a_fleet_the_report_covers_its_workers_and_not_the_idle_engine(
    registry: CollectorRegistry,
) -> None:
    Counter("meeting_assistant_fleet_takeovers_total", "", registry=registry)
    Histogram("meeting_assistant_batch_size", "", registry=registry)

    def keys(has_fleet: bool) -> list[str]:
        return [group.key for group in summarise_metrics(registry.collect(), has_fleet=has_fleet)]

    assert keys(True) == ["fleet"]
    assert keys(False) == ["recognition"]


def test_the_report_is_bounded(registry: CollectorRegistry) -> None:
    jobs = Counter("meeting_assistant_inference_jobs_total", "", ["kind"], registry=registry)
    answers = Histogram("meeting_assistant_llm_latency_seconds", "", ["provider"], registry=registry)
    for number in range(100):
        jobs.labels(f"kind {number}").inc()
        answers.labels(f"provider {number}").observe(1)
    groups = summarise_metrics(registry.collect(), has_fleet=False)
    assert len(read(registry, "jobs").parts) == MAX_PARTS
    assert sum(len(group.figures) for group in groups) == MAX_PARTS + 1


def test_every_metric_summary_has_a_unique_key_and_a_label() -> None:
    definitions = [one for group in CATALOGUE for one in group.definitions]
    assert len({one.key for one in definitions}) == len(definitions)
    assert all(one.label and "_" not in one.label for one in definitions)
