// How long to wait before trying again.

const STEPS_MS = [250, 500, 1000, 2000, 4000];
const LAST_MS = 5000;

/** Milliseconds before attempt number `attempt` (from 0), spread so that many pages do not come back at once. */
export function backoffMs(attempt: number, random: () => number = Math.random): number {
  return (STEPS_MS[attempt] ?? LAST_MS) * (0.75 + random() / 2);
}

/** Close codes after which the same request would be refused again. */
export const FINAL_CLOSE_CODES: ReadonlySet<number> = new Set([1003, 1008, 1009, 4401, 4403, 4404, 4409]);
