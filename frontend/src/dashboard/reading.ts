// Metrics as text.

import type { Metric } from "../api/types";
import { duration, fileSize } from "../text/format";
import { ratePerSecond, recentChange, type History } from "./history";

/** Format a time: `340 ms`, `1.2 s`, `3 min`. */
export function seconds(value: number): string {
  if (value < 0.0095) return `${(value * 1000).toFixed(1)} ms`;
  if (value < 0.995) return `${Math.round(value * 1000)} ms`;
  if (value < 9.95) return `${value.toFixed(1)} s`;
  return duration(value * 1000);
}

/** Format a number: `0.4`, `7.5`, `1,204`. */
function number(value: number): string {
  return value.toLocaleString(undefined, { maximumFractionDigits: value < 10 ? 1 : 0 });
}

export function formatValue(value: number, unit: Metric["unit"]): string {
  if (unit === "s") return seconds(value);
  if (unit === "bytes") return fileSize(value);
  if (unit === "cores") return `${Math.round(value * 100)} %`;
  return number(value);
}

/** Return the large number of a tile and the lines below it. */
export function reading(metric: Metric, history: History): { value: string; notes: string[] } {
  if (metric.kind === "histogram") return distribution(metric, history);
  const parts = Object.entries(metric.parts).map(([name, value]) => `${name}: ${number(value)}`);
  const notes = parts.length > 0 ? [parts.join(", ")] : [];
  if (metric.kind === "rate") {
    const rate = ratePerSecond(history, metric.key);
    return { value: rate === null ? "…" : formatValue(rate, metric.unit), notes: ["of one core"] };
  }
  if (metric.value === null) return { value: "–", notes };
  if (metric.kind === "counter") {
    const recent = recentChange(history, metric.key);
    if (recent !== null && recent.increase > 0) notes.unshift(`${number(recent.increase)} ${within(recent.spanMs)}`);
  }
  return { value: formatValue(metric.value, metric.unit), notes };
}

function distribution(metric: Metric, history: History): { value: string; notes: string[] } {
  const recent = recentChange(history, metric.key);
  const isRecent = recent !== null && recent.increase > 0;
  const quantiles = isRecent ? recent : metric;
  if (quantiles.p50 === null || quantiles.p95 === null) return { value: "–", notes: ["nothing yet"] };
  const [share, upper] = metric.alert?.measure === "p99" ? [99, quantiles.p99 ?? quantiles.p95] : [95, quantiles.p95];
  // A batch size is a whole number, for which an interpolated median means little; the mean is shown instead.
  const mean = isRecent ? recent.mean : (metric.value ?? 0) / (metric.count ?? 1);
  const typical = metric.unit === "windows" && mean !== null ? mean : quantiles.p50;
  return {
    value: formatValue(typical, metric.unit),
    notes: [
      `${share} % ${metric.unit === "windows" ? "at most" : "within"} ${formatValue(upper, metric.unit)}`,
      isRecent
        ? `${number(recent.increase)} ${within(recent.spanMs)}`
        : `${number(metric.count ?? 0)} since the start`,
    ],
  };
}

const within = (spanMs: number): string => `in the last ${duration(spanMs)}`;
