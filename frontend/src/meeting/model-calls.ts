import type { ModelCall } from "../api/types";

/** One provider, and what it was asked about a meeting. */
export interface Seen {
  provider: string;
  isLocal: boolean;
  purposes: string[];
  times: number;
  lastMs: number;
}

const PURPOSES: Record<string, string> = { minutes: "minutes", notes: "live notes", ask: "a question" };

/** Those outside first, then in the order in which they were asked. */
export function seenBy(calls: readonly ModelCall[]): Seen[] {
  const found = new Map<string, Seen>();
  for (const call of calls) {
    const seen = found.get(call.provider) ?? {
      provider: call.provider,
      isLocal: true,
      purposes: [],
      times: 0,
      lastMs: 0,
    };
    const purpose = PURPOSES[call.purpose] ?? call.purpose;
    found.set(call.provider, {
      ...seen,
      // An address may have changed between two questions: once outside is outside.
      isLocal: seen.isLocal && call.is_local,
      purposes: seen.purposes.includes(purpose) ? seen.purposes : [...seen.purposes, purpose],
      times: seen.times + 1,
      lastMs: Math.max(seen.lastMs, call.at_ms),
    });
  }
  return [...found.values()].sort((one, other) => Number(one.isLocal) - Number(other.isLocal));
}
