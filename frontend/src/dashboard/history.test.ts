import { describe, expect, it } from "vitest";
import type { Figure, FiguresAnswer } from "../api/types";
import { growth, HISTORY_MS, isAlarming, line, quantile, recent, remember, type History } from "./history";

const figure = (rest: Partial<Figure>): Figure => ({
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

const answer = (second: number, rest: Partial<Figure>, started = 0): FiguresAnswer => ({
  at_ms: second * 1000,
  started_at_ms: started,
  groups: [{ key: "group", title: "Group", figures: [figure(rest)] }],
  room: { live: 0, total: 4, more: 4 },
  workers: null,
});

const play = (...answers: FiguresAnswer[]): History => answers.reduce(remember, [] as History);

const lag = (second: number, quick: number, slow: number): FiguresAnswer =>
  answer(second, {
    kind: "histogram",
    count: quick + slow,
    buckets: [
      [1, quick],
      [5, quick + slow],
    ],
    alert: { name: "Lag", measure: "p95", above: 3, window_s: 300, action: "" },
  });

describe("the history of figures", () => {
  it("forgets what is older than the longest window", () => {
    const minutes = HISTORY_MS / 60_000;
    const history = play(...Array.from({ length: minutes + 10 }, (_, minute) => answer(minute * 60, {})));
    expect(history).toHaveLength(minutes + 1);
  });

  it("begins anew when the server was restarted, whose counters begin again", () => {
    const history = play(answer(0, { value: 90 }), answer(5, { value: 2 }, 4000));
    expect(history).toHaveLength(1);
    expect(recent(history, "one")).toBeNull();
  });

  it("tells what a counter did in the last minutes", () => {
    const history = play(answer(0, { value: 1 }), answer(200, { value: 4 }), answer(400, { value: 6 }));
    expect(recent(history, "one")).toMatchObject({ increase: 2, spanMs: 200_000 });
    expect(growth(history, "one")).toBeCloseTo(0.01);
  });

  it("tells quantiles of what was observed since, not since the server started", () => {
    const history = play(lag(0, 1000, 0), lag(60, 1000, 10));
    expect(recent(history, "one")?.p50).toBeCloseTo(3);
  });

  it("draws a point for each answer, and none where nothing was observed", () => {
    const history = play(lag(0, 10, 0), lag(5, 10, 0), lag(10, 20, 0));
    expect(line(history, "one").map((point) => point.value)).toEqual([null, null, 0.95]);
  });
});

describe("quantiles", () => {
  it("are spread evenly within a bucket", () => {
    expect(quantile([[1, 2], [2, 3]], 4, 0.25)).toBeCloseTo(0.5);
  });
  it("stop at the last bound", () => {
    expect(quantile([[1, 2], [2, 3]], 4, 0.99)).toBe(2);
  });
  it("do not exist for nothing", () => {
    expect(quantile([[1, 0]], 0, 0.5)).toBeNull();
  });
});

describe("a warning", () => {
  const gaps = { name: "Gaps", measure: "increase", above: 0, window_s: 900, action: "" } as const;
  const parked = { name: "Outbox", measure: "value", above: 0, window_s: 600, action: "" } as const;

  it("is given for what happened while somebody looked, not for what is long over", () => {
    expect(isAlarming(play(answer(0, { value: 7 })), figure({ value: 7, alert: gaps }))).toBe(false);
    const history = play(answer(0, { value: 7 }), answer(5, { value: 8 }));
    expect(isAlarming(history, figure({ value: 8, alert: gaps }))).toBe(true);
  });

  it("is given at once for a state", () => {
    expect(isAlarming(play(answer(0, {})), figure({ kind: "gauge", value: 1, alert: parked }))).toBe(true);
    expect(isAlarming(play(answer(0, {})), figure({ kind: "gauge", value: 0, alert: parked }))).toBe(false);
  });

  it("looks at the slowest of the last minutes", () => {
    const late = play(lag(0, 1000, 0), lag(60, 1000, 10));
    expect(isAlarming(late, late.at(-1)!.groups[0]!.figures[0]!)).toBe(true);
    const well = play(lag(0, 0, 10), lag(60, 1000, 10));
    expect(isAlarming(well, well.at(-1)!.groups[0]!.figures[0]!)).toBe(false);
  });
});
