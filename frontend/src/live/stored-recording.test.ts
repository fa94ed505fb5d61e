import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { Liveness } from "./liveness";
import { clearRecording, isAlive, loadRecording, type StoredRecording } from "./stored-recording";

const MEETING = { meetingId: "m", kind: "microphone", title: "Weekly", sampleRate: 48_000, channels: 1 } as const;
let listeners: Record<string, () => void>;

beforeEach(() => {
  const storage = new Map<string, string>();
  listeners = {};
  vi.stubGlobal("localStorage", {
    getItem: (key: string) => storage.get(key) ?? null,
    setItem: (key: string, value: string) => storage.set(key, value),
    removeItem: (key: string) => storage.delete(key),
  });
  vi.stubGlobal("addEventListener", (name: string, listener: () => void) => (listeners[name] = listener));
  vi.stubGlobal("removeEventListener", (name: string) => delete listeners[name]);
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

const stored = (): StoredRecording => loadRecording() as StoredRecording;

it("is not offered to other tabs while the recording tab lives, also paused", () => {
  const liveness = new Liveness();
  liveness.begin(MEETING);
  vi.advanceTimersByTime(60_000);
  expect(isAlive(stored())).toBe(true);
  expect(stored().lastAudioAt).toBeNull();
});

it("is offered at once when the tab is left, and soon after it crashed", () => {
  const liveness = new Liveness();
  liveness.begin(MEETING);
  liveness.audio();
  listeners["pagehide"]?.();
  expect(isAlive(stored())).toBe(false);
  expect(stored()).toMatchObject({ ...MEETING, lastAudioAt: Date.now() });
  liveness.begin(MEETING);
  const crashed = stored();
  expect(isAlive(crashed)).toBe(true);
  expect(isAlive(crashed, Date.now() + 20_000)).toBe(false);
});

it("is forgotten with its own meeting only", () => {
  new Liveness().begin(MEETING);
  clearRecording("another");
  expect(loadRecording()?.meetingId).toBe("m");
  clearRecording("m");
  expect(loadRecording()).toBeNull();
});

it("reads nothing from a damaged entry or where storage is disabled", () => {
  localStorage.setItem("meeting-assistant.recording", "{");
  expect(loadRecording()).toBeNull();
  vi.stubGlobal("localStorage", undefined);
  expect(loadRecording()).toBeNull();
  clearRecording("m");
});
