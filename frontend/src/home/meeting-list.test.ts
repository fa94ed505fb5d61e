import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { stubServer } from "../testing";
import { MeetingList } from "./meeting-list.svelte";

const FIRST = "GET /api/meetings?limit=25";
const meetings = (...ids: string[]): object[] => ids.map((id) => ({ id }));

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal("document", Object.assign(new EventTarget(), { visibilityState: "visible" }));
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

it("shows new meetings, and keeps the older ones that were loaded", async () => {
  const answers: Record<string, object> = {
    [FIRST]: { meetings: meetings("6", "5"), next: "5" },
    "GET /api/meetings?limit=25&before=5": { meetings: meetings("4", "3"), next: null },
  };
  stubServer(answers);
  const list = new MeetingList();
  await list.refresh();
  await list.loadMore();
  answers[FIRST] = { meetings: meetings("7", "6"), next: "6" };
  await list.refresh();
  expect(list.meetings.map(({ id }) => id)).toEqual(["7", "6", "5", "4", "3"]);
  expect(list.next).toBeNull();
  answers[FIRST] = { meetings: meetings("7"), next: null };
  await list.refresh();
  expect(list.meetings.map(({ id }) => id)).toEqual(["7"]);
});

it("asks a few times a minute while it is looked at, and not at all otherwise", async () => {
  const requests = stubServer({ [FIRST]: { meetings: [], next: null } });
  const stop = new MeetingList().follow();
  await vi.advanceTimersByTimeAsync(60_000);
  expect(requests.length).toBeLessThanOrEqual(4);
  const { length } = requests;
  Object.assign(document, { visibilityState: "hidden" });
  await vi.advanceTimersByTimeAsync(600_000);
  expect(requests).toHaveLength(length);
  Object.assign(document, { visibilityState: "visible" });
  document.dispatchEvent(new Event("visibilitychange"));
  expect(requests).toHaveLength(length + 1);
  stop();
  await vi.advanceTimersByTimeAsync(600_000);
  expect(requests).toHaveLength(length + 1);
});
