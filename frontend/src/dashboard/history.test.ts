import { describe, expect, it } from "vitest";
import type { Metric, MetricsReport } from "../api/types";
import { append, HISTORY_MS, isAlerting, quantile, ratePerSecond, recentChange, series, type History } from "./history";

const metric = (rest: Partial<Metric>): Metric => ({
  key: "one",
  label: "One",
  hint: "",
  metric: "one_total",
  kind: "counter",
  unit: "",
  value: 0,
  count: null,
  p50: null,
  p95: null,
  p99: null,
  buckets: [],
  parts: {},
  alert: null,
  ...rest,
});

const report = (second: number, rest: Partial<Metric>, started = 0): MetricsReport => ({
  at_ms: second * 1000,
  started_at_ms: started,
  groups: [{ key: "meetings", title: "Meetings", figures: [metric(rest)] }],
  room: { live: 0, total: 4, more: 4 },
  workers: null,
});

const play = (...reports: MetricsReport[]): History => reports.reduce(append, [] as History);

const lag = (second: number, quick: number, slow: number): MetricsReport =>
  report(second, {
    kind: "histogram",
    count: quick + slow,
    buckets: [
      [1, quick],
      [5, quick + slow],
    ],
    alert: { name: "Lag", measure: "p95", above: 3, window_s: 300, action: "" },
  });

describe("the history of metrics", () => {
  it("drops reports older than the longest window", () => {
    const minutes = HISTORY_MS / 60_000;
    const history = play(...Array.from({ length: minutes + 10 }, (_, minute) => report(minute * 60, {})));
    expect(history).toHaveLength(minutes + 1);
  });

  it("starts over when the server was restarted, as its counters are reset", () => {
    const history = play(report(0, { value: 90 }), report(5, { value: 2 }, 4000));
    expect(history).toHaveLength(1);
    expect(recentChange(history, "one")).toBeNull();
  });

  it("gives the increase of a counter in the last minutes", () => {
    const history = play(report(0, { value: 1 }), report(200, { value: 4 }), report(400, { value: 6 }));
    expect(recentChange(history, "one")).toMatchObject({ increase: 2, spanMs: 200_000 });
    expect(ratePerSecond(history, "one")).toBeCloseTo(0.01);
  });

  it("gives quantiles of recent observations, not of all since the server started", () => {
    const history = play(lag(0, 1000, 0), lag(60, 1000, 10));
    expect(recentChange(history, "one")?.p50).toBeCloseTo(3);
  });

  it("has a point per report, and none where nothing was observed", () => {
    const history = play(lag(0, 10, 0), lag(5, 10, 0), lag(10, 20, 0));
    expect(series(history, "one").map((point) => point.value)).toEqual([null, null, 0.95]);
  });
});

describe("quantiles", () => {
  it("are interpolated within a bucket", () => {
    expect(quantile([[1, 2], [2, 3]], 4, 0.25)).toBeCloseTo(0.5);
  });
  it("stop at the last bound", () => {
    expect(quantile([[1, 2], [2, 3]], 4, 0.99)).toBe(2);
  });
  it("do not exist for nothing", () => {
    expect(quantile([[1, 0]], 0, 0.5)).toBeNull();
  });
});

describe("an alert", () => {
  const gaps = { name: "Gaps", measure: "increase", above: 0, window_s: 900, action: "" } as const;
  const parked = { name: "Outbox", measure: "value", above: 0, window_s: 600, action: "" } as const;

  it("is raised for an increase while the dashboard is open, not for an earlier one", () => {
    expect(isAlerting(play(report(0, { value: 7 })), metric({ value: 7, alert: gaps }))).toBe(false);
    const history = play(report(0, { value: 7 }), report(5, { value: 8 }));
    expect(isAlerting(history, metric({ value: 8, alert: gaps }))).toBe(true);
  });

  it("is raised at once for a value", () => {
    expect(isAlerting(play(report(0, {})), metric({ kind: "gauge", value: 1, alert: parked }))).toBe(true);
    expect(isAlerting(play(report(0, {})), metric({ kind: "gauge", value: 0, alert: parked }))).toBe(false);
  });

  it("considers the slowest observations of the last minutes", () => {
    const late = play(lag(0, 1000, 0), lag(60, 1000, 10));
    expect(isAlerting(late, late.at(-1)!.groups[0]!.figures[0]!)).toBe(true);
    const well = play(lag(0, 0, 10), lag(60, 1000, 10));
    expect(isAlerting(well, well.at(-1)!.groups[0]!.figures[0]!)).toBe(false);
  });
});
