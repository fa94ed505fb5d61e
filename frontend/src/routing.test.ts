import { beforeAll, expect, it, vi } from "vitest";

let routing: typeof import("./routing.svelte");

beforeAll(async () => {
  vi.stubGlobal("location", { hash: "" });
  vi.stubGlobal("addEventListener", () => undefined);
  routing = await import("./routing.svelte");
});

it("reads back every address that it makes", () => {
  const { meetingHash, parseRoute } = routing;
  expect(parseRoute(meetingHash("m"))).toEqual({ page: "meeting", id: "m" });
  expect(parseRoute(meetingHash("m", 7))).toEqual({ page: "meeting", id: "m", utterance: 7 });
  for (const start of ["", "#", "#/"]) expect(parseRoute(start)).toEqual({ page: "home" });
});

it("does not take an address that it does not know for the start page", () => {
  for (const hash of ["#/meeting/m", "#/nowhere", "#/meetings", "#/shared/m"]) {
    expect(routing.parseRoute(hash)).toEqual({ page: "unknown" });
  }
});
