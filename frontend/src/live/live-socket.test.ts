import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { StartMessage } from "../api/types";
import { LiveSocket, type SocketLike } from "./live-socket";
import { Outbox } from "./outbox";

/** A socket whose other end is the test. */
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
  receive(message: object): void {
    this.onmessage?.({ data: JSON.stringify({ seq: 0, meeting_id: "m", ...message }) });
  }
  accept(receivedBytes: number): void {
    this.onopen?.();
    this.receive({ type: "started", received_bytes: receivedBytes, resumed: false, engines: {} });
  }
}

function setUp(sampleRate = 16_000, channels: 1 | 2 = 1) {
  const sockets: FakeSocket[] = [];
  const outbox = new Outbox();
  const seen = { connection: [] as string[], refused: [] as string[], retried: [] as string[] };
  const start: StartMessage = {
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
    onConnection: (connection) => seen.connection.push(connection),
    onRefused: (problem) => seen.refused.push(problem.code),
    onRetry: (problem) => seen.retried.push(problem.code),
    createSocket: () => {
      const socket = new FakeSocket();
      sockets.push(socket);
      return socket;
    },
  });
  return { live, outbox, sockets, seen, newest: () => sockets.at(-1) as FakeSocket };
}

const audio = (...values: number[]): Uint8Array<ArrayBuffer> => new Uint8Array(values);

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe("a live socket", () => {
  it("sends audio only after the server has said where to continue", () => {
    const { live, outbox, newest } = setUp();
    live.open();
    outbox.pushAudio(audio(1, 2));
    live.flush();
    expect(newest().sent).toEqual([]);
    newest().accept(0);
    expect(newest().sent).toEqual(["start", [1, 2]]);
  });

  it("reconnects after a lost socket and sends what was not acknowledged", () => {
    const { live, outbox, sockets, seen, newest } = setUp();
    live.open();
    newest().accept(0);
    outbox.pushAudio(audio(1, 2));
    outbox.pushAudio(audio(3, 4));
    live.flush();
    newest().receive({ type: "ack", received_bytes: 2 });
    newest().onclose?.({ code: 1006 });
    outbox.pushAudio(audio(5, 6));
    live.flush();
    vi.advanceTimersByTime(1000);
    expect(sockets).toHaveLength(2);
    newest().accept(2);
    expect(newest().sent).toEqual(["start", [3, 4], [5, 6]]);
    expect(seen.connection).toEqual(["connecting", "open", "lost", "open"]);
  });

  it("converts acknowledged offsets from 16 kHz to the microphone's rate", () => {
    const { live, outbox, newest } = setUp(48_000);
    live.open();
    newest().accept(0);
    outbox.pushAudio(new Uint8Array(600));
    live.flush();
    newest().receive({ type: "ack", received_bytes: 100 });
    expect(outbox.unackedBytes).toBe(300);
  });

  it("never splits a frame of two channels", () => {
    const { live, outbox, newest } = setUp(44_100, 2);
    live.open();
    newest().accept(0);
    outbox.pushAudio(new Uint8Array(44_100 * 4));
    for (let frames = 1; frames < 100; frames += 7) {
      newest().receive({ type: "ack", received_bytes: frames * 4 });
      expect(outbox.startOffset).toBe(Math.round(frames * 2.75625) * 4);
    }
  });

  it("reconnects for as long as it takes", () => {
    const { live, sockets } = setUp();
    live.open();
    for (let i = 0; i < 50; i += 1) {
      sockets.at(-1)?.onclose?.({ code: 1006 });
      vi.advanceTimersByTime(10_000);
    }
    expect(sockets).toHaveLength(51);
  });

  it("reconnects when the server is busy, and reports why", () => {
    const { live, sockets, seen, newest } = setUp();
    live.open();
    newest().receive({ type: "error", code: "overloaded", message: "Full.", remedy: "Wait.", fatal: true });
    newest().onclose?.({ code: 1013 });
    expect(seen.retried).toEqual(["overloaded"]);
    vi.advanceTimersByTime(1000);
    expect(sockets).toHaveLength(2);
  });

  it("does not reconnect when the server would refuse again", () => {
    const { live, sockets, seen, newest } = setUp();
    live.open();
    newest().receive({ type: "error", code: "meeting_over", message: "Over.", remedy: "Start.", fatal: true });
    newest().onclose?.({ code: 1008 });
    vi.advanceTimersByTime(60_000);
    expect(seen.refused).toEqual(["meeting_over"]);
    expect(sockets).toHaveLength(1);
  });

  it("detects a server that has gone silent", () => {
    const { live, sockets, newest } = setUp();
    live.open();
    newest().accept(0);
    vi.advanceTimersByTime(5_000);
    expect(newest().sent).toContain("ping");
    vi.advanceTimersByTime(16_000);
    expect(sockets[0]?.isClosed).toBe(true);
    expect(sockets.length).toBeGreaterThan(1);
  });

  it("does not buffer without limit on a slow network", () => {
    const { live, outbox, newest } = setUp();
    live.open();
    newest().accept(0);
    newest().bufferedAmount = 2 << 20;
    outbox.pushAudio(audio(1, 2));
    live.flush();
    expect(newest().sent).toEqual(["start"]);
    newest().bufferedAmount = 0;
    vi.advanceTimersByTime(100);
    expect(newest().sent).toEqual(["start", [1, 2]]);
  });

  it("closes after the final message", () => {
    const { live, sockets, seen, newest } = setUp();
    live.open();
    newest().accept(0);
    newest().receive({ type: "final" });
    vi.advanceTimersByTime(60_000);
    expect(sockets).toHaveLength(1);
    expect(seen.connection.at(-1)).toBe("closed");
  });
});
