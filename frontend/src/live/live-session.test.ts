import { afterEach, beforeEach, expect, it, vi } from "vitest";
import type { ServerMessage } from "../api/types";
import { stubServer } from "../testing";
import { SourceError, type AudioSourceEvents } from "./audio-source";
import { LiveSession } from "./live-session.svelte";
import type { UplinkOptions } from "./uplink";

/** The parts of the session that the test plays: the microphone and the connection. */
const parts = vi.hoisted(() => ({
  uplink: null as unknown as UplinkOptions,
  source: null as unknown as AudioSourceEvents,
  sent: [] as string[],
  messages: [] as { type: string; lasted_ms?: number | null }[],
  restored: [] as unknown[],
  refusal: null as Error | null,
  isClosed: false,
}));

vi.mock("./uplink", () => ({
  Uplink: class {
    recordedBytes = 0;
    unackedBytes = 0;
    constructor(options: UplinkOptions) {
      parts.uplink = options;
    }
    open = (): unknown => parts.sent.push("open");
    close = (): unknown => parts.sent.push("close");
    send = (message: { type: string }): unknown => (parts.messages.push(message), parts.sent.push(message.type));
    sendAudio = (bytes: Uint8Array): void => {
      this.recordedBytes += bytes.length;
      parts.sent.push(`audio ${bytes.length}`);
    };
    restore = async (...given: unknown[]): Promise<unknown> => parts.restored.push(given);
    persist = async (id: string): Promise<unknown> => parts.sent.push(`persist ${id}`);
    unackedAudio = (): [] => [];
  },
}));
vi.mock("./microphone", () => ({
  Microphone: class {
    kind = "microphone";
    sampleRate = 16_000;
    async open(): Promise<void> {
      if (parts.refusal !== null) throw parts.refusal;
    }
    start(events: AudioSourceEvents): void {
      parts.source = events;
    }
    pause = async (): Promise<void> => undefined;
    resume = async (): Promise<void> => undefined;
    close = async (): Promise<void> => void (parts.isClosed = true);
  },
}));
vi.mock("./wake-lock", () => ({ acquireWakeLock: () => () => undefined }));

const OPTIONS = { title: "Weekly", attendees: [], vocabulary: [], local_only: false };
const INTERRUPTED = { meetingId: "m", kind: "microphone", title: "Weekly", sampleRate: 48_000, channels: 1, lastAudioAt: null, aliveAt: 0 } as const;
const envelope = { seq: 0, meeting_id: "m" };
const started = {
  ...envelope,
  type: "started",
  received_bytes: 0,
  resumed: false,
  protocol: 1,
  epoch: 1,
  storage: "journal",
  engines: {},
} satisfies ServerMessage;

beforeEach(() => {
  const storage = new Map<string, string>();
  vi.stubGlobal("localStorage", {
    getItem: (key: string) => storage.get(key) ?? null,
    setItem: (key: string, value: string) => storage.set(key, value),
    removeItem: (key: string) => storage.delete(key),
  });
  vi.stubGlobal("addEventListener", () => undefined);
  vi.stubGlobal("removeEventListener", () => undefined);
  stubServer({ "GET /api/meetings/m": { meeting: { bookmarks: [{ at_ms: 1, note: "" }] } } });
  vi.useFakeTimers({ toFake: ["Date", "setInterval", "clearInterval"] });
  Object.assign(parts, { messages: [], sent: [], restored: [], refusal: null, isClosed: false });
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

const stored = (): unknown => JSON.parse(localStorage.getItem("meeting-assistant.recording") ?? "null");

async function record(): Promise<LiveSession> {
  const session = new LiveSession("microphone", OPTIONS);
  await session.begin();
  return session;
}

it("records before the connection is up, so that nothing said is lost", async () => {
  const session = await record();
  expect(session.phase).toBe("recording");
  parts.source.onAudio(new Uint8Array(32_000));
  expect(session.recordedMs).toBe(1000);
  expect(parts.uplink.start()).toMatchObject({ type: "start", meeting_id: null, title: "Weekly", sample_rate: 16_000 });
});

it("opens no meeting without a microphone, and says why", async () => {
  parts.refusal = new SourceError({ code: "microphone_denied", message: "Blocked.", remedy: "Allow it." });
  const session = await record();
  expect([session.phase, session.problem?.code]).toEqual(["failed", "microphone_denied"]);
  expect(parts.sent).toEqual([]);
});

it("remembers the meeting for a reload until it is over", async () => {
  const session = await record();
  parts.uplink.onMessage(started);
  expect(stored()).toMatchObject({ meetingId: "m", title: "Weekly", sampleRate: 16_000 });
  expect(parts.sent).toContain("persist m");
  await session.stop();
  const final = { ...envelope, type: "final", transcript: { utterances: [], speakers: [], gaps: [] } };
  parts.uplink.onMessage({ ...final, seq: 1 } as unknown as ServerMessage);
  expect([session.phase, stored(), parts.isClosed]).toEqual(["done", null, true]);
});

it("pauses when the microphone is lost, and resumes with it", async () => {
  const session = await record();
  parts.source.onLost({ code: "microphone_lost", message: "Lost.", remedy: "Reconnect it." });
  await vi.waitFor(() => expect(parts.sent).toContain("pause"));
  expect([session.phase, session.problem?.code]).toEqual(["paused", "microphone_lost"]);
  await session.resume();
  expect([session.phase, session.problem]).toEqual(["recording", null]);
  expect(parts.sent.at(-1)).toBe("resume");
});

it("ends the last utterance before a pause with silence", async () => {
  const session = await record();
  await session.pause();
  expect(parts.sent.slice(-2)).toEqual(["audio 22400", "pause"]);
});

it("keeps what the server refused to take, to be saved", async () => {
  const session = await record();
  parts.uplink.onRefused({ code: "meeting_over", message: "Over.", remedy: "Start a new one." });
  await vi.waitFor(() => expect(session.phase).toBe("failed"));
  expect(session.unackedAudio().type).toBe("audio/wav");
});

it("sends the same meeting again after a lost connection, without its options", async () => {
  await record();
  parts.uplink.onMessage(started);
  const start = parts.uplink.start();
  expect(start.meeting_id).toBe("m");
  expect(start).not.toHaveProperty("title");
});

it("ends an interrupted meeting with the audio that was stored, without a microphone", async () => {
  const session = new LiveSession("microphone", OPTIONS, INTERRUPTED);
  await session.endInterrupted();
  expect(parts.restored).toEqual([["m", true]]);
  expect(parts.sent).toEqual(["stop", "open"]);
  expect(parts.uplink.start()).toMatchObject({ meeting_id: "m", sample_rate: 48_000 });
});

it("does not join stored audio of another sample rate to that of a resumed meeting", async () => {
  const session = new LiveSession("microphone", OPTIONS, INTERRUPTED);
  await session.begin();
  expect(parts.restored).toEqual([["m", false]]);
  expect(session.phase).toBe("recording");
});

it("marks how long nothing was recorded before a meeting was resumed, and knows its bookmarks", async () => {
  const session = new LiveSession("microphone", OPTIONS, { ...INTERRUPTED, lastAudioAt: Date.now() - 90_000 });
  await session.begin();
  expect(parts.messages).toContainEqual({ type: "interrupted", lasted_ms: 90_000 });
  await vi.waitFor(() => expect(session.bookmarks).toHaveLength(1));
  session.bookmark("");
  expect(session.bookmarks).toHaveLength(2);
});

it("leaves it to the server to say how long another device has not recorded", async () => {
  await new LiveSession("microphone", OPTIONS, INTERRUPTED).begin();
  expect(parts.messages).toContainEqual({ type: "interrupted", lasted_ms: null });
});

it("marks the time in which the computer slept, and no pause that was asked for", async () => {
  const session = await record();
  const chunk = (): void => parts.source.onAudio(new Uint8Array(3_200));
  chunk();
  vi.setSystemTime(Date.now() + 100);
  chunk();
  expect(parts.messages).toEqual([]);
  vi.setSystemTime(Date.now() + 60_000);
  chunk();
  expect(parts.messages).toEqual([{ type: "interrupted", lasted_ms: 60_000 }]);
  await session.pause();
  vi.setSystemTime(Date.now() + 60_000);
  await session.resume();
  chunk();
  expect(parts.messages.filter((message) => message.type === "interrupted")).toHaveLength(1);
});
