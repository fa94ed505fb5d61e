// The socket that records a meeting: keeps one open, sends what the outbox holds, and comes back for ever.

import type { ServerMessage, Start } from "../api/messages";
import type { Problem } from "../api/types";
import type { Outbox } from "./outbox";
import { frameBytes } from "./pcm";
import { backoffMs, FINAL_CLOSE_CODES } from "../api/retry";

export type Connection = "connecting" | "open" | "lost" | "closed";

const CANONICAL_RATE_HZ = 16_000;
const MAX_BUFFERED_BYTES = 1 << 20;
const HEARTBEAT_MS = 5_000;
/** A server that says nothing for so long is gone, whatever the network says. */
const SILENCE_MS = 15_000;

/** The part of `WebSocket` that is used. */
export interface SocketLike {
  binaryType: string;
  readonly bufferedAmount: number;
  onopen: (() => void) | null;
  onmessage: ((event: { data: unknown }) => void) | null;
  onclose: ((event: { code: number }) => void) | null;
  send(data: string | Uint8Array<ArrayBuffer>): void;
  close(): void;
}

export interface LiveSocketOptions {
  url: string;
  outbox: Outbox;
  /** The `start` message of the next connection. */
  start: () => Start;
  onMessage: (message: ServerMessage) => void;
  onConnection: (connection: Connection) => void;
  /** The server will not take this meeting from here; nothing more is tried. */
  onRefused: (problem: Problem) => void;
  /** The server says not now; it is tried again. */
  onTrouble: (problem: Problem) => void;
  createSocket?: (url: string) => SocketLike;
}

export class LiveSocket {
  private socket: SocketLike | null = null;
  private isStarted = false;
  private attempt = 0;
  private lastHeardAt = 0;
  private lastProblem: Problem | null = null;
  private sampleRate = CANONICAL_RATE_HZ;
  private channels = 1;
  private retry: ReturnType<typeof setTimeout> | undefined;
  private drain: ReturnType<typeof setTimeout> | undefined;
  private heartbeat: ReturnType<typeof setInterval> | undefined;

  constructor(private readonly options: LiveSocketOptions) {}

  open(): void {
    this.options.onConnection("connecting");
    this.heartbeat = setInterval(() => this.beat(), HEARTBEAT_MS);
    this.connect();
  }

  /** Try at once instead of waiting: the network is said to be back. */
  hurry(): void {
    if (this.retry === undefined) return;
    clearTimeout(this.retry);
    this.connect();
  }

  close(): void {
    clearTimeout(this.retry);
    clearTimeout(this.drain);
    clearInterval(this.heartbeat);
    this.retry = this.drain = this.heartbeat = undefined;
    this.letGo();
    this.options.onConnection("closed");
  }

  /** Send what the outbox holds, as far as the network takes it. */
  pump(): void {
    clearTimeout(this.drain);
    this.drain = undefined;
    const { socket } = this;
    if (socket === null || !this.isStarted) return;
    while (socket.bufferedAmount < MAX_BUFFERED_BYTES) {
      const item = this.options.outbox.take();
      if (item === undefined) return;
      socket.send(item.kind === "sound" ? item.bytes : item.text);
    }
    this.drain = setTimeout(() => this.pump(), 50);
  }

  private connect(): void {
    this.retry = undefined;
    this.isStarted = false;
    this.lastHeardAt = Date.now();
    const create = this.options.createSocket ?? ((url: string) => new WebSocket(url) as unknown as SocketLike);
    const socket = create(this.options.url);
    this.socket = socket;
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      const start = this.options.start();
      this.sampleRate = start.sample_rate;
      this.channels = start.channels;
      socket.send(JSON.stringify(start));
    };
    socket.onmessage = (event) => this.hear(JSON.parse(String(event.data)) as ServerMessage);
    socket.onclose = (event) => this.lost(event.code);
  }

  private hear(message: ServerMessage): void {
    this.lastHeardAt = Date.now();
    if (message.type === "error" && message.fatal) {
      // What follows from it is decided by the close code.
      this.lastProblem = { code: message.code, message: message.message, remedy: message.remedy };
      return;
    }
    if (message.type === "ack") this.options.outbox.confirm(this.toClientBytes(message.received_bytes));
    if (message.type === "started") {
      this.options.outbox.rewind(this.toClientBytes(message.received_bytes));
      this.isStarted = true;
      this.attempt = 0;
      this.lastProblem = null;
      this.options.onConnection("open");
    }
    this.options.onMessage(message);
    if (message.type === "final") this.close();
    else if (message.type === "started") this.pump();
  }

  private lost(code: number): void {
    this.letGo();
    const problem = this.lastProblem;
    this.lastProblem = null;
    if (FINAL_CLOSE_CODES.has(code)) {
      this.close();
      this.options.onRefused(problem ?? refusal(code));
      return;
    }
    if (problem !== null) this.options.onTrouble(problem);
    this.options.onConnection("lost");
    this.retry = setTimeout(() => this.connect(), backoffMs(this.attempt));
    this.attempt += 1;
  }

  private beat(): void {
    if (this.socket === null) return;
    if (Date.now() - this.lastHeardAt > SILENCE_MS) this.lost(1006);
    else if (this.isStarted) this.socket.send(JSON.stringify({ type: "ping" }));
  }

  /** Detach first: a socket over a dead network tells its end much later. */
  private letGo(): void {
    const { socket } = this;
    this.socket = null;
    this.isStarted = false;
    if (socket === null) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }

  /** Always the border of a whole frame: the channels must not change places. */
  private toClientBytes(canonicalBytes: number): number {
    const size = frameBytes(this.channels);
    return Math.round((canonicalBytes / size) * (this.sampleRate / CANONICAL_RATE_HZ)) * size;
  }
}

function refusal(code: number): Problem {
  if (code === 4409) {
    return {
      code: "taken_over",
      message: "This meeting is recorded somewhere else now.",
      remedy: "Go on in the other window, or open the meeting to read along.",
    };
  }
  return { code: "refused", message: `The server closed the meeting (${code}).`, remedy: "Start a new one." };
}
