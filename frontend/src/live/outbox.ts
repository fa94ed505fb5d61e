// Audio and messages that the server has not acknowledged, in the order in which they were produced.
//
// Offsets are bytes of s16le, all channels, at the client's own rate, from the start of the meeting. A message has the
// offset of the audio after it and is dropped when audio beyond it is acknowledged: the server reads a socket in
// order, so it has read the message too. After a lost connection, everything that is left is sent again.

export interface AudioChunk {
  offset: number;
  bytes: Uint8Array<ArrayBuffer>;
}

export type Outgoing = ({ kind: "audio" } & AudioChunk) | { kind: "message"; offset: number; text: string };

export class Outbox {
  private items: Outgoing[] = [];
  private nextIndex = 0;
  /** Offset of the first unacknowledged byte. */
  private start = 0;
  private end = 0;

  /** `isAligned`: false for a meeting resumed after a reload, until the server has said how much audio it has. */
  constructor(private isAligned = true) {}

  /** Bytes that only this page holds. */
  get unackedBytes(): number {
    return this.end - this.start;
  }

  /** Offset one past the last byte: all audio of the meeting so far. */
  get endOffset(): number {
    return this.end;
  }

  /** Offset of the first byte that only this page holds. */
  get startOffset(): number {
    return this.start;
  }

  /** Append audio; the outbox owns the array from then on. */
  pushAudio(bytes: Uint8Array<ArrayBuffer>): void {
    if (bytes.length === 0) return;
    this.items.push({ kind: "audio", offset: this.end, bytes });
    this.end += bytes.length;
  }

  pushMessage(message: object): void {
    this.items.push({ kind: "message", offset: this.end, text: JSON.stringify(message) });
  }

  /** Begin with audio stored by an earlier page. Does nothing when something was pushed before. */
  restore(chunks: readonly AudioChunk[]): void {
    const first = chunks[0];
    if (first === undefined || this.items.length > 0) return;
    this.start = this.end = first.offset;
    for (const { offset, bytes } of chunks) {
      if (offset === this.end) this.pushAudio(bytes);
    }
    this.isAligned = true;
  }

  /** Return the next item to send, or undefined when all were sent. */
  next(): Outgoing | undefined {
    const item = this.items[this.nextIndex];
    if (item !== undefined) this.nextIndex += 1;
    return item;
  }

  /** Drop everything below `offset`, which the server has stored. */
  acknowledge(offset: number): void {
    const acked = Math.min(offset, this.end);
    if (acked <= this.start) return;
    let done = 0;
    for (const item of this.items) {
      if (item.kind === "message" ? item.offset >= acked : item.offset + item.bytes.length > acked) break;
      done += 1;
    }
    this.items.splice(0, done);
    this.nextIndex = Math.max(0, this.nextIndex - done);
    this.start = acked;
    const first = this.items[0];
    if (first?.kind === "audio" && first.offset < acked) {
      this.items[0] = { kind: "audio", offset: acked, bytes: first.bytes.subarray(acked - first.offset) };
    }
  }

  /** Prepare for a new connection: the server continues at `offset`, and what is left is sent again in order. */
  rewind(offset: number): void {
    if (this.isAligned) this.acknowledge(offset);
    this.isAligned = true;
    // Resumed after a reload, or the server ends elsewhere than this page assumed: what is held is appended there.
    if (this.start !== offset) this.shift(offset - this.start);
    this.nextIndex = 0;
  }

  /** Unacknowledged audio in order. */
  unackedAudio(): AudioChunk[] {
    return this.items.flatMap((item) => (item.kind === "audio" ? [{ offset: item.offset, bytes: item.bytes }] : []));
  }

  private shift(by: number): void {
    this.items = this.items.map((item) => ({ ...item, offset: item.offset + by }));
    this.start += by;
    this.end += by;
  }
}
