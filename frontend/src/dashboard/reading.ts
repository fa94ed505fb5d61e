// Figures as people read them.

import type { Figure } from "../api/types";
import { growth, recent, type History } from "./history";
import { duration, fileSize } from "../text/format";

/** `340 ms`, `1.2 s`, `3 min` */
export function seconds(value: number): string {
  if (value < 0.0095) return `${(value * 1000).toFixed(1)} ms`;
  if (value < 0.995) return `${Math.round(value * 1000)} ms`;
  if (value < 9.95) return `${value.toFixed(1)} s`;
  return duration(value * 1000);
}

/** `0.42`, `7.5`, `1,204` */
function number(value: number): string {
  return value.toLocaleString(undefined, { maximumFractionDigits: value < 10 ? 1 : 0 });
}

export function inUnit(value: number, unit: Figure["unit"]): string {
  if (unit === "s") return seconds(value);
  if (unit === "bytes") return fileSize(value);
  if (unit === "cores") return `${Math.round(value * 100)} %`;
  return number(value);
}

/** The large number and the lines below it. */
export function reading(figure: Figure, history: History): { value: string; notes: string[] } {
  if (figure.kind === "histogram") return distribution(figure, history);
  const parts = Object.entries(figure.parts).map(([name, value]) => `${name}: ${number(value)}`);
  const notes = parts.length > 0 ? [parts.join(", ")] : [];
  if (figure.kind === "rate") {
    const speed = growth(history, figure.key);
    return { value: speed === null ? "…" : inUnit(speed, figure.unit), notes: ["of one core"] };
  }
  if (figure.value === null) return { value: "–", notes };
  if (figure.kind === "counter") {
    const lately = recent(history, figure.key);
    if (lately !== null && lately.increase > 0) notes.unshift(`${number(lately.increase)} ${within(lately.spanMs)}`);
  }
  return { value: inUnit(figure.value, figure.unit), notes };
}

function distribution(figure: Figure, history: History): { value: string; notes: string[] } {
  const lately = recent(history, figure.key);
  const isRecent = lately !== null && lately.increase > 0;
  const told = isRecent ? lately : figure;
  if (told.p50 === null || told.p95 === null) return { value: "–", notes: ["nothing yet"] };
  const [share, upper] = figure.alert?.measure === "p99" ? [99, told.p99 ?? told.p95] : [95, told.p95];
  // How many were recognised together is a whole number: in between there is nothing to tell, but there is a mean.
  const mean = isRecent ? lately.mean : (figure.value ?? 0) / (figure.count ?? 1);
  const usual = figure.unit === "windows" && mean !== null ? mean : told.p50;
  return {
    value: inUnit(usual, figure.unit),
    notes: [
      `${share} % ${figure.unit === "windows" ? "at most" : "within"} ${inUnit(upper, figure.unit)}`,
      isRecent
        ? `${number(lately.increase)} ${within(lately.spanMs)}`
        : `${number(figure.count ?? 0)} since the start`,
    ],
  };
}

const within = (spanMs: number): string => `in the last ${duration(spanMs)}`;
