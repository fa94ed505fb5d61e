import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { problem, stubServer } from "../testing";
import { Deliveries } from "./deliveries.svelte";

const SLACK = { name: "slack", title: "Slack", target: "#team" };
const delivery = (id: string, state: string) => ({ id, integration: "slack", state, action: { key: id } });

beforeEach(() => void vi.useFakeTimers());
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

it("asks again while something is on its way, and no longer", async () => {
  const states = ["pending", "sending", "done"];
  const requests = stubServer({
    "GET /api/integrations": [SLACK],
    "GET /api/meetings/m/deliveries": () => [delivery("d", states.shift() ?? "done")],
  });
  const deliveries = new Deliveries("m");
  await deliveries.load();
  await vi.advanceTimersByTimeAsync(60_000);
  expect(deliveries.deliveries[0]?.state).toBe("done");
  expect(requests.filter((one) => one.endsWith("/deliveries"))).toHaveLength(3);
});

it("stops asking when it is closed", async () => {
  const requests = stubServer({
    "GET /api/integrations": [SLACK],
    "GET /api/meetings/m/deliveries": [delivery("d", "pending")],
  });
  const deliveries = new Deliveries("m");
  await deliveries.load();
  deliveries.close();
  await vi.advanceTimersByTimeAsync(60_000);
  expect(requests.filter((one) => one.endsWith("/deliveries"))).toHaveLength(1);
});

it("asks for no deliveries where no integration is configured", async () => {
  const requests = stubServer({ "GET /api/integrations": [] });
  await new Deliveries("m").load();
  expect(requests).toEqual(["GET /api/integrations"]);
});

it("decides every delivery although one is refused, and shows the refusal", async () => {
  const requests = stubServer({
    "GET /api/integrations": [SLACK],
    "GET /api/meetings/m/deliveries": [delivery("a", "proposed"), delivery("b", "proposed")],
    "POST /api/meetings/m/deliveries/a/approve": () => problem(409, "Already decided."),
    "POST /api/meetings/m/deliveries/b/approve": delivery("b", "pending"),
  });
  const deliveries = new Deliveries("m");
  await deliveries.load();
  expect(deliveries.groups.map((group) => group.deliveries.length)).toEqual([2]);
  await deliveries.decide(deliveries.proposed, "approve");
  expect(requests).toContain("POST /api/meetings/m/deliveries/b/approve");
  expect(deliveries.problem?.message).toBe("Already decided.");
});
