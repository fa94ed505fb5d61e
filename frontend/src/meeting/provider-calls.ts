import type { ModelCall } from "../api/types";

/** The calls to one provider about one meeting. */
export interface ProviderCalls {
  provider: string;
  isLocal: boolean;
  /** What the model was asked for, in words. */
  purposes: string[];
  count: number;
  lastMs: number;
}

const PURPOSES: Record<ModelCall["purpose"], string> = {
  minutes: "minutes",
  notes: "live notes",
  ask: "a question",
  probe: "a connection test",
};

type Call = Pick<ModelCall, "provider" | "is_local" | "purpose" | "at_ms">;

/** Group calls by provider: remote providers first, each group in order of the first call. */
export function summarizeCalls(calls: readonly Call[]): ProviderCalls[] {
  const found = new Map<string, ProviderCalls>();
  for (const call of calls) {
    const before = found.get(call.provider);
    const purpose = PURPOSES[call.purpose];
    found.set(call.provider, {
      provider: call.provider,
      // A provider's address may change between two calls; one remote call makes it remote.
      isLocal: (before?.isLocal ?? true) && call.is_local,
      purposes: [...new Set([...(before?.purposes ?? []), purpose])],
      count: (before?.count ?? 0) + 1,
      lastMs: Math.max(before?.lastMs ?? 0, call.at_ms),
    });
  }
  return [...found.values()].sort((one, other) => Number(one.isLocal) - Number(other.isLocal));
}
