// When to reconnect a lost socket.

const STEPS_MS = [250, 500, 1000, 2000, 4000];
const LAST_MS = 5000;

/** Return the delay before attempt number `attempt` (from 0), with jitter so that pages do not reconnect in step. */
export function backoffMs(attempt: number, random: () => number = Math.random): number {
  return (STEPS_MS[attempt] ?? LAST_MS) * (0.75 + random() / 2);
}

/** Close codes after which the server would refuse the same request again. */
export const FINAL_CLOSE_CODES: ReadonlySet<number> = new Set([1003, 1008, 1009, 4401, 4403, 4404, 4409]);
