import { expect, test } from "vitest";
import type { ModelCall } from "../api/types";
import { summarizeCalls } from "./provider-calls";

const call = (provider: string, isLocal: boolean, purpose: ModelCall["purpose"], at_ms: number) => ({
  provider,
  is_local: isLocal,
  purpose,
  at_ms,
});

test("each provider is listed once, remote ones first", () => {
  const providers = summarizeCalls([
    call("vllm", true, "notes", 1),
    call("openai", false, "minutes", 2),
    call("vllm", true, "minutes", 3),
    call("vllm", true, "minutes", 4),
  ]);
  expect(providers.map((one) => one.provider)).toEqual(["openai", "vllm"]);
  expect(providers[1]).toMatchObject({ purposes: ["live notes", "minutes"], count: 3, lastMs: 4, isLocal: true });
});

test("one remote call makes a provider remote", () => {
  const [provider] = summarizeCalls([call("vllm", false, "minutes", 1), call("vllm", true, "minutes", 2)]);
  expect(provider?.isLocal).toBe(false);
});

test("without calls no provider is listed", () => {
  expect(summarizeCalls([])).toEqual([]);
});
