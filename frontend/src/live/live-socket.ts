// The socket over which a meeting is recorded: sends what the outbox holds and reconnects for as long as it takes.

import { backoffMs, FINAL_CLOSE_CODES } from "../api/retry";
import type { Problem, ServerMessage, StartMessage } from "../api/types";
import type { Outbox } from "./outbox";
import { frameBytes } from "./pcm";

export type Connection = "connecting" | "open" | "lost" | "closed";

const CANONICAL_RATE_HZ = 16_000;
const MAX_BUFFERED_BYTES = 1 << 20;
const HEARTBEAT_MS = 5_000;
/** A server that has been silent for this long is taken for dead, even if the connection looks open. */
const SILENCE_MS = 15_000;

/** The subset of `WebSocket` that is used here. */
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
  /** Build the `start` message of the next connection. */
  start: () => StartMessage;
  onMessage: (message: ServerMessage) => void;
  onConnection: (connection: Connection) => void;
  /** The server refused the meeting for good; the socket does not reconnect. */
  onRefused: (problem: Problem) => void;
  /** The server refused for now; the socket reconnects. */
  onRetry: (problem: Problem) => void;
  createSocket?: (url: string) => SocketLike;
}

export class LiveSocket {
  private socket: SocketLike | null = null;
  private isStarted = false;
  private attempt = 0;
  private lastMessageAt = 0;
  private lastProblem: Problem | null = null;
  private sampleRate = CANONICAL_RATE_HZ;
  private channels = 1;
  private reconnectTimer: ReturnType<typeof setTimeout> | undefined;
  private flushTimer: ReturnType<typeof setTimeout> | undefined;
  private heartbeatTimer: ReturnType<typeof setInterval> | undefined;

  constructor(private readonly options: LiveSocketOptions) {}

  open(): void {
    this.options.onConnection("connecting");
    this.heartbeatTimer = setInterval(() => this.sendHeartbeat(), HEARTBEAT_MS);
    this.connect();
  }

  /** Reconnect at once instead of waiting for the backoff, for example when the network is back. */
  retryNow(): void {
    if (this.reconnectTimer === undefined) return;
    clearTimeout(this.reconnectTimer);
    this.connect();
  }

  close(): void {
    clearTimeout(this.reconnectTimer);
    clearTimeout(this.flushTimer);
    clearInterval(this.heartbeatTimer);
    this.reconnectTimer = this.flushTimer = this.heartbeatTimer = undefined;
    this.detach();
    this.options.onConnection("closed");
  }

  /** Send what the outbox holds, as far as the network accepts it. */
  flush(): void {
    clearTimeout(this.flushTimer);
    this.flushTimer = undefined;
    const { socket } = this;
    if (socket === null || !this.isStarted) return;
    while (socket.bufferedAmount < MAX_BUFFERED_BYTES) {
      const item = this.options.outbox.next();
      if (item === undefined) return;
      socket.send(item.kind === "audio" ? item.bytes : item.text);
    }
    this.flushTimer = setTimeout(() => this.flush(), 50);
  }

  private connect(): void {
    this.reconnectTimer = undefined;
    this.isStarted = false;
    this.lastMessageAt = Date.now();
    const createSocket = this.options.createSocket ?? ((url: string) => new WebSocket(url) as unknown as SocketLike);
    const socket = createSocket(this.options.url);
    this.socket = socket;
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      const start = this.options.start();
      this.sampleRate = start.sample_rate;
      this.channels = start.channels;
      socket.send(JSON.stringify(start));
    };
    socket.onmessage = (event) => this.handleMessage(JSON.parse(String(event.data)) as ServerMessage);
    socket.onclose = (event) => this.handleClose(event.code);
  }

  private handleMessage(message: ServerMessage): void {
    this.lastMessageAt = Date.now();
    if (message.type === "error" && message.fatal) {
      // The close code that follows decides whether to reconnect.
      this.lastProblem = { code: message.code, message: message.message, remedy: message.remedy };
      return;
    }
    if (message.type === "ack") this.options.outbox.acknowledge(this.toClientBytes(message.received_bytes));
    if (message.type === "started") {
      this.options.outbox.rewind(this.toClientBytes(message.received_bytes));
      this.isStarted = true;
      this.attempt = 0;
      this.lastProblem = null;
      this.options.onConnection("open");
    }
    this.options.onMessage(message);
    if (message.type === "final") this.close();
    else if (message.type === "started") this.flush();
  }

  private handleClose(code: number): void {
    this.detach();
    const problem = this.lastProblem;
    this.lastProblem = null;
    if (FINAL_CLOSE_CODES.has(code)) {
      this.close();
      this.options.onRefused(problem ?? refusal(code));
      return;
    }
    if (problem !== null) this.options.onRetry(problem);
    this.options.onConnection("lost");
    this.reconnectTimer = setTimeout(() => this.connect(), backoffMs(this.attempt));
    this.attempt += 1;
  }

  private sendHeartbeat(): void {
    if (this.socket === null) return;
    if (Date.now() - this.lastMessageAt > SILENCE_MS) this.handleClose(1006);
    else if (this.isStarted) this.socket.send(JSON.stringify({ type: "ping" }));
  }

  /** Drop the socket without waiting for its `close` event, which comes much later over a dead network. */
  private detach(): void {
    const { socket } = this;
    this.socket = null;
    this.isStarted = false;
    if (socket === null) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }

  /** Convert an offset at 16 kHz to the client's rate, at a frame boundary: the channels must not be swapped. */
  private toClientBytes(canonicalBytes: number): number {
    const size = frameBytes(this.channels);
    return Math.round((canonicalBytes / size) * (this.sampleRate / CANONICAL_RATE_HZ)) * size;
  }
}

function refusal(code: number): Problem {
  if (code === 4409) {
    return {
      code: "taken_over",
      message: "This meeting is now recorded in another window.",
      remedy: "Continue there, or open the meeting to follow it.",
    };
  }
  return { code: "refused", message: `The server closed the meeting (${code}).`, remedy: "Start a new one." };
}
