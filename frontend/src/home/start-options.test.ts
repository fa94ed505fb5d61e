import { afterEach, expect, it, vi } from "vitest";
import { problem, stubServer } from "../testing";
import { StartOptions } from "./start-options.svelte";

const INTEGRATIONS = [{ name: "slack" }, { name: "github" }];

afterEach(() => void vi.unstubAllGlobals());

async function load(): Promise<StartOptions> {
  stubServer({ "GET /api/integrations": INTEGRATIONS });
  const options = new StartOptions();
  await options.load();
  return options;
}

it("leaves the integrations to the server until one is excluded", async () => {
  const options = await load();
  expect(options.toMeetingOptions()).not.toHaveProperty("workflows");
  options.include("slack", false);
  expect(options.toMeetingOptions().workflows).toEqual(["github"]);
  options.include("slack", true);
  expect(options.toMeetingOptions()).not.toHaveProperty("workflows");
});

it("splits names and words into lists", async () => {
  const options = await load();
  options.title = " Weekly ";
  options.attendees = "Ana, Ben";
  options.vocabulary = "Kubernetes; etcd";
  expect(options.toMeetingOptions()).toEqual({
    title: "Weekly",
    attendees: ["Ana", "Ben"],
    vocabulary: ["Kubernetes", "etcd"],
    local_only: false,
  });
});

it("allows a meeting to begin although the integrations cannot be read", async () => {
  stubServer({ "GET /api/integrations": () => problem(500, "Failed.") });
  const options = new StartOptions();
  await options.load();
  expect(options.integrations).toEqual([]);
});
