import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Start } from "../api/messages";
import { Outbox } from "./outbox";
import { LiveSocket, type SocketLike } from "./live-socket";

/** A socket whose far end is the test. */
class FakeSocket implements SocketLike {
  binaryType = "";
  bufferedAmount = 0;
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onclose: ((event: { code: number }) => void) | null = null;
  sent: (string | number[])[] = [];
  isClosed = false;

  send(data: string | Uint8Array): void {
    this.sent.push(typeof data === "string" ? (JSON.parse(data) as { type: string }).type : [...data]);
  }
  close(): void {
    this.isClosed = true;
  }
  say(message: object): void {
    this.onmessage?.({ data: JSON.stringify({ seq: 0, meeting_id: "m", ...message }) });
  }
  accept(receivedBytes: number): void {
    this.onopen?.();
    this.say({ type: "started", received_bytes: receivedBytes, resumed: false, engines: {} });
  }
}

function setUp(sampleRate = 16_000, channels: 1 | 2 = 1) {
  const sockets: FakeSocket[] = [];
  const outbox = new Outbox();
  const told = { connection: [] as string[], refused: [] as string[], trouble: [] as string[] };
  const start: Start = {
    type: "start",
    sample_rate: sampleRate,
    channels,
    meeting_id: null,
    last_seq: 0,
    utc_offset_minutes: 0,
  };
  const live = new LiveSocket({
    url: "ws://here/ws/meetings",
    outbox,
    start: () => start,
    onMessage: () => undefined,
    onConnection: (connection) => told.connection.push(connection),
    onRefused: (problem) => told.refused.push(problem.code),
    onTrouble: (problem) => told.trouble.push(problem.code),
    createSocket: () => {
      const socket = new FakeSocket();
      sockets.push(socket);
      return socket;
    },
  });
  return { live, outbox, sockets, told, newest: () => sockets.at(-1) as FakeSocket };
}

const sound = (...values: number[]): Uint8Array<ArrayBuffer> => new Uint8Array(values);

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe("a live socket", () => {
  it("sends sound only after the server has said where to go on", () => {
    const { live, outbox, newest } = setUp();
    live.open();
    outbox.push(sound(1, 2));
    live.pump();
    expect(newest().sent).toEqual([]);
    newest().accept(0);
    expect(newest().sent).toEqual(["start", [1, 2]]);
  });

  it("comes back after a lost socket and sends what is not safe", () => {
    const { live, outbox, sockets, told, newest } = setUp();
    live.open();
    newest().accept(0);
    outbox.push(sound(1, 2));
    outbox.push(sound(3, 4));
    live.pump();
    newest().say({ type: "ack", received_bytes: 2 });
    newest().onclose?.({ code: 1006 });
    outbox.push(sound(5, 6));
    live.pump();
    vi.advanceTimersByTime(1000);
    expect(sockets).toHaveLength(2);
    newest().accept(2);
    expect(newest().sent).toEqual(["start", [3, 4], [5, 6]]);
    expect(told.connection).toEqual(["connecting", "open", "lost", "open"]);
  });

  it("reads offsets in bytes of 16 kHz whatever the rate of the microphone", () => {
    const { live, outbox, newest } = setUp(48_000);
    live.open();
    newest().accept(0);
    outbox.push(new Uint8Array(600));
    live.pump();
    newest().say({ type: "ack", received_bytes: 100 });
    expect(outbox.unsafeBytes).toBe(300);
  });

  it("never breaks a sample of two channels apart", () => {
    const { live, outbox, newest } = setUp(44_100, 2);
    live.open();
    newest().accept(0);
    outbox.push(new Uint8Array(44_100 * 4));
    for (let frames = 1; frames < 100; frames += 7) {
      newest().say({ type: "ack", received_bytes: frames * 4 });
      expect(outbox.startOffset).toBe(Math.round(frames * 2.75625) * 4);
    }
  });

  it("tries for ever", () => {
    const { live, sockets } = setUp();
    live.open();
    for (let i = 0; i < 50; i += 1) {
      sockets.at(-1)?.onclose?.({ code: 1006 });
      vi.advanceTimersByTime(10_000);
    }
    expect(sockets).toHaveLength(51);
  });

  it("tries again when the server is busy, and says why", () => {
    const { live, sockets, told, newest } = setUp();
    live.open();
    newest().say({ type: "error", code: "overloaded", message: "Full.", remedy: "Wait.", fatal: true });
    newest().onclose?.({ code: 1013 });
    expect(told.trouble).toEqual(["overloaded"]);
    vi.advanceTimersByTime(1000);
    expect(sockets).toHaveLength(2);
  });

  it("gives up when the same would be refused again", () => {
    const { live, sockets, told, newest } = setUp();
    live.open();
    newest().say({ type: "error", code: "meeting_over", message: "Over.", remedy: "Start.", fatal: true });
    newest().onclose?.({ code: 1008 });
    vi.advanceTimersByTime(60_000);
    expect(told.refused).toEqual(["meeting_over"]);
    expect(sockets).toHaveLength(1);
  });

  it("notices a server that has gone silent", () => {
    const { live, sockets, newest } = setUp();
    live.open();
    newest().accept(0);
    vi.advanceTimersByTime(5_000);
    expect(newest().sent).toContain("ping");
    vi.advanceTimersByTime(16_000);
    expect(sockets[0]?.isClosed).toBe(true);
    expect(sockets.length).toBeGreaterThan(1);
  });

  it("does not pile up sound in a slow network", () => {
    const { live, outbox, newest } = setUp();
    live.open();
    newest().accept(0);
    newest().bufferedAmount = 2 << 20;
    outbox.push(sound(1, 2));
    live.pump();
    expect(newest().sent).toEqual(["start"]);
    newest().bufferedAmount = 0;
    vi.advanceTimersByTime(100);
    expect(newest().sent).toEqual(["start", [1, 2]]);
  });

  it("closes after the final message", () => {
    const { live, sockets, told, newest } = setUp();
    live.open();
    newest().accept(0);
    newest().say({ type: "final" });
    vi.advanceTimersByTime(60_000);
    expect(sockets).toHaveLength(1);
    expect(told.connection.at(-1)).toBe("closed");
  });
});
