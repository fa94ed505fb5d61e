// What the server's figures were in the last minutes: the server keeps no history, this page does. Pure.

import type { Figure, FiguresAnswer } from "../api/types";

/** The longest window of an alert. */
export const HISTORY_MS = 15 * 60_000;
/** What a figure and its line show. */
export const SHOWN_MS = 5 * 60_000;

export type History = readonly FiguresAnswer[];

/** What happened between two answers. */
export interface Recent {
  spanMs: number;
  /** Of a counter, or the observations of a histogram. */
  increase: number;
  /** Of the observations of a histogram. */
  mean: number | null;
  p50: number | null;
  p95: number | null;
  p99: number | null;
}

/** Add an answer; forget what is too old, and everything before a restart of the server. */
export function remember(history: History, answer: FiguresAnswer): History {
  const last = history.at(-1);
  const goesOn = last !== undefined && last.started_at_ms === answer.started_at_ms && last.at_ms < answer.at_ms;
  const kept = goesOn ? history.filter((one) => answer.at_ms - one.at_ms <= HISTORY_MS) : [];
  return [...kept, answer];
}

export function figureIn(answer: FiguresAnswer, key: string): Figure | undefined {
  for (const group of answer.groups) {
    const found = group.figures.find((figure) => figure.key === key);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** Between the newest answer and the oldest one that is at most `windowMs` older; null with a single answer. */
export function recent(history: History, key: string, windowMs = SHOWN_MS): Recent | null {
  const newest = history.at(-1);
  if (newest === undefined) return null;
  const oldest = history.find((one) => newest.at_ms - one.at_ms <= windowMs);
  if (oldest === undefined || oldest === newest) return null;
  return between(oldest, newest, key);
}

function between(oldest: FiguresAnswer, newest: FiguresAnswer, key: string): Recent | null {
  const now = figureIn(newest, key);
  if (now === undefined) return null;
  const before = figureIn(oldest, key);
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

/** As Prometheus has it: evenly spread within a bucket; above the last bound, that bound. */
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

/** True when somebody should act: the threshold of the alert is passed within its window. */
export function isAlarming(history: History, figure: Figure): boolean {
  const alert = figure.alert;
  if (alert === null) return false;
  if (alert.measure === "value") return (figure.value ?? 0) > alert.above;
  const what = recent(history, figure.key, alert.window_s * 1000);
  if (alert.measure === "increase") return (what?.increase ?? 0) > alert.above;
  return (what?.[alert.measure] ?? 0) > alert.above;
}

/** How fast it grows, per second, between the last two answers; null with a single one. */
export function growth(history: History, key: string): number | null {
  const [before, now] = [history.at(-2), history.at(-1)];
  const step = before && now ? between(before, now, key) : null;
  return step === null ? null : perSecond(step);
}

/** What a line spans: the last five minutes, or as long as this page has been looking. */
export function shownSpan(history: History): number {
  const watched = (history.at(-1)?.at_ms ?? 0) - (history[0]?.at_ms ?? 0);
  return Math.min(SHOWN_MS, Math.max(60_000, watched));
}

/** A point for each answer of the last minutes: the value of a gauge, and what a counter or a histogram did since the
 * answer before. Null where there is nothing to show. */
export function line(history: History, key: string): { at_ms: number; value: number | null }[] {
  const newest = history.at(-1);
  if (newest === undefined) return [];
  const shown = history.filter((one) => newest.at_ms - one.at_ms <= SHOWN_MS);
  return shown.map((answer, index) => {
    const figure = figureIn(answer, key);
    if (figure === undefined) return { at_ms: answer.at_ms, value: null };
    if (figure.kind === "gauge") return { at_ms: answer.at_ms, value: figure.value };
    const before = shown[index - 1];
    const step = before === undefined ? null : between(before, answer, key);
    if (step === null) return { at_ms: answer.at_ms, value: null };
    if (figure.kind === "histogram") return { at_ms: answer.at_ms, value: step.p95 };
    return { at_ms: answer.at_ms, value: figure.kind === "rate" ? perSecond(step) : step.increase };
  });
}

const perSecond = (step: Recent): number => Math.max(0, step.increase) / (step.spanMs / 1000);
