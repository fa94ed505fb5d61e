import { expect, test } from "vitest";
import type { ModelCall } from "../api/types";
import { seenBy } from "./model-calls";

const call = (provider: string, isLocal: boolean, purpose: string, at_ms: number): ModelCall => ({
  id: `${at_ms}`,
  provider,
  is_local: isLocal,
  purpose,
  at_ms,
  outcome: "ok",
});

test("providers are told once each, those outside first", () => {
  const seen = seenBy([
    call("vllm", true, "notes", 1),
    call("openai", false, "minutes", 2),
    call("vllm", true, "minutes", 3),
    call("vllm", true, "minutes", 4),
  ]);
  expect(seen.map((one) => one.provider)).toEqual(["openai", "vllm"]);
  expect(seen[1]).toMatchObject({ purposes: ["live notes", "minutes"], times: 3, lastMs: 4, isLocal: true });
});

test("a provider that was outside once has been outside", () => {
  const [seen] = seenBy([call("vllm", false, "minutes", 1), call("vllm", true, "minutes", 2)]);
  expect(seen?.isLocal).toBe(false);
});

test("nobody was asked", () => {
  expect(seenBy([])).toEqual([]);
});
