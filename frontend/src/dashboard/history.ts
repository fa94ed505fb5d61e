// The history of the server's metrics over the last minutes. The server keeps none, so this page does.

import type { Metric, MetricsReport } from "../api/types";

/** The longest window of an alert. */
export const HISTORY_MS = 15 * 60_000;
/** The span of a tile and its line. */
export const SHOWN_MS = 5 * 60_000;

export type History = readonly MetricsReport[];

/** The change of a metric between two reports. */
export interface Change {
  spanMs: number;
  /** Increase of a counter, or number of observations of a histogram. */
  increase: number;
  /** Mean of the observations of a histogram. */
  mean: number | null;
  p50: number | null;
  p95: number | null;
  p99: number | null;
}

/** Add a report; drop reports that are too old, and all from before a restart of the server. */
export function append(history: History, report: MetricsReport): History {
  const last = history.at(-1);
  const isSameProcess = last !== undefined && last.started_at_ms === report.started_at_ms && last.at_ms < report.at_ms;
  const kept = isSameProcess ? history.filter((one) => report.at_ms - one.at_ms <= HISTORY_MS) : [];
  return [...kept, report];
}

export function findMetric(report: MetricsReport, key: string): Metric | undefined {
  for (const group of report.groups) {
    const found = group.figures.find((metric) => metric.key === key);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** Return the change from the oldest report of the window to the newest; null with a single report. */
export function recentChange(history: History, key: string, windowMs = SHOWN_MS): Change | null {
  const newest = history.at(-1);
  if (newest === undefined) return null;
  const oldest = history.find((one) => newest.at_ms - one.at_ms <= windowMs);
  if (oldest === undefined || oldest === newest) return null;
  return between(oldest, newest, key);
}

function between(oldest: MetricsReport, newest: MetricsReport, key: string): Change | null {
  const now = findMetric(newest, key);
  if (now === undefined) return null;
  const before = findMetric(oldest, key);
  const count = (now.count ?? 0) - (before?.count ?? 0);
  const buckets = now.buckets.map(([bound, at], index): [number, number] => [
    bound,
    at - (before?.buckets[index]?.[1] ?? 0),
  ]);
  const isCounted = now.kind === "histogram";
  return {
    spanMs: newest.at_ms - oldest.at_ms,
    increase: isCounted ? count : (now.value ?? 0) - (before?.value ?? 0),
    mean: isCounted && count > 0 ? ((now.value ?? 0) - (before?.value ?? 0)) / count : null,
    p50: quantile(buckets, count, 0.5),
    p95: quantile(buckets, count, 0.95),
    p99: quantile(buckets, count, 0.99),
  };
}

/** Estimate a quantile as Prometheus does: linear within a bucket, and the last bound above it. */
export function quantile(buckets: readonly [number, number][], count: number, share: number): number | null {
  if (count <= 0 || buckets.length === 0) return null;
  const rank = share * count;
  let [below, lower] = [0, 0];
  for (const [upper, cumulative] of buckets) {
    if (cumulative >= rank) {
      const inside = cumulative - below;
      return lower + (upper - lower) * (inside > 0 ? (rank - below) / inside : 1);
    }
    [below, lower] = [cumulative, upper];
  }
  return lower;
}

/** Return whether the metric is over the threshold of its alert within the alert's window. */
export function isAlerting(history: History, metric: Metric): boolean {
  const alert = metric.alert;
  if (alert === null) return false;
  if (alert.measure === "value") return (metric.value ?? 0) > alert.above;
  const change = recentChange(history, metric.key, alert.window_s * 1000);
  if (alert.measure === "increase") return (change?.increase ?? 0) > alert.above;
  return (change?.[alert.measure] ?? 0) > alert.above;
}

/** Return the increase per second between the last two reports; null with a single one. */
export function ratePerSecond(history: History, key: string): number | null {
  const [before, now] = [history.at(-2), history.at(-1)];
  const step = before && now ? between(before, now, key) : null;
  return step === null ? null : perSecond(step);
}

/** Return the span of the lines: the last five minutes, or the time since the dashboard was opened. */
export function shownSpan(history: History): number {
  const watched = (history.at(-1)?.at_ms ?? 0) - (history[0]?.at_ms ?? 0);
  return Math.min(SHOWN_MS, Math.max(60_000, watched));
}

/** Return a point per report of the last minutes: the value of a gauge, or the change of a counter or histogram since
 * the previous report; null where there is nothing to show. */
export function series(history: History, key: string): { at_ms: number; value: number | null }[] {
  const newest = history.at(-1);
  if (newest === undefined) return [];
  const shown = history.filter((one) => newest.at_ms - one.at_ms <= SHOWN_MS);
  return shown.map((report, index) => {
    const metric = findMetric(report, key);
    if (metric === undefined) return { at_ms: report.at_ms, value: null };
    if (metric.kind === "gauge") return { at_ms: report.at_ms, value: metric.value };
    const before = shown[index - 1];
    const step = before === undefined ? null : between(before, report, key);
    if (step === null) return { at_ms: report.at_ms, value: null };
    if (metric.kind === "histogram") return { at_ms: report.at_ms, value: step.p95 };
    return { at_ms: report.at_ms, value: metric.kind === "rate" ? perSecond(step) : step.increase };
  });
}

const perSecond = (step: Change): number => Math.max(0, step.increase) / (step.spanMs / 1000);
