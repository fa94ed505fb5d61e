// What travels from this page to the server: the outbox, the socket that empties it, and the browser's own copy of the
// audio that is not acknowledged yet.

import type { ClientMessage, Problem, ServerMessage, StartMessage } from "../api/types";
import { socketUrl } from "../api/urls";
import { LiveSocket, type Connection } from "./live-socket";
import { Outbox } from "./outbox";
import { UnackedAudioStore } from "./unacked-audio";

export interface UplinkOptions {
  /** The meeting was begun by an earlier page: the server says where its audio ends. */
  isResumed: boolean;
  /** Build the `start` message of the next connection. */
  start: () => StartMessage;
  onMessage: (message: ServerMessage) => void;
  onConnection: (connection: Connection) => void;
  onRefused: (problem: Problem) => void;
  onRetry: (problem: Problem) => void;
}

export class Uplink {
  private readonly outbox: Outbox;
  private readonly socket: LiveSocket;
  private store: UnackedAudioStore | null = null;
  private readonly onOnline = (): void => this.socket.retryNow();

  constructor(private readonly options: UplinkOptions) {
    this.outbox = new Outbox(!options.isResumed);
    this.socket = new LiveSocket({
      ...options,
      url: socketUrl("/ws/meetings"),
      outbox: this.outbox,
      onConnection: (connection) => this.handleConnection(connection),
      onMessage: (message) => this.handleMessage(message),
    });
  }

  /** Bytes of audio in the meeting so far, at the client's rate. */
  get recordedBytes(): number {
    return this.outbox.endOffset;
  }

  /** Bytes of audio that the server has not acknowledged. */
  get unackedBytes(): number {
    return this.outbox.unackedBytes;
  }

  /** Connect, and keep reconnecting until `close`. */
  open(): void {
    addEventListener("online", this.onOnline);
    this.socket.open();
  }

  close(): void {
    this.socket.close();
  }

  sendAudio(bytes: Uint8Array<ArrayBuffer>): void {
    this.store?.add({ offset: this.outbox.endOffset, bytes });
    this.outbox.pushAudio(bytes);
    this.socket.flush();
  }

  send(message: ClientMessage): void {
    this.outbox.pushMessage(message);
    this.socket.flush();
  }

  /** Return the audio that the server has not acknowledged, in order. */
  unackedAudio(): Uint8Array<ArrayBuffer>[] {
    return this.outbox.unackedAudio().map(({ bytes }) => bytes);
  }

  /** Queue the audio that an earlier page stored. Audio at another sample rate is not usable: `isUsable` is false. */
  async restore(meetingId: string, isUsable: boolean): Promise<void> {
    this.store = await UnackedAudioStore.open(meetingId);
    if (this.store === null || !isUsable) return;
    this.outbox.restore(await this.store.read().catch(() => []));
  }

  /** Store unacknowledged audio in the browser from now on, so that a reload does not lose it. */
  async persist(meetingId: string): Promise<void> {
    if (this.store !== null) return;
    const store = await UnackedAudioStore.open(meetingId);
    this.store = store;
    for (const chunk of this.outbox.unackedAudio()) store?.add(chunk);
  }

  private handleConnection(connection: Connection): void {
    // The socket also closes by itself: after the final message, or when the server refuses.
    if (connection === "closed") removeEventListener("online", this.onOnline);
    this.options.onConnection(connection);
  }

  private handleMessage(message: ServerMessage): void {
    if (message.type === "ack") this.store?.deleteBelow(this.outbox.startOffset);
    if (message.type === "final") this.store?.clear();
    this.options.onMessage(message);
  }
}
