// What has been said and is not yet safe at the server: sound and messages, in the order in which they happened.
//
// Offsets are bytes of s16le, of all channels, at the client's own rate from the start of the meeting. A message stands at the
// offset of the sound that follows it and is forgotten when sound behind it is acknowledged: the server reads
// a socket in order, so it has read the message too. After a lost socket everything that is left is sent again.

export type Outgoing =
  | { kind: "sound"; at: number; bytes: Uint8Array<ArrayBuffer> }
  | { kind: "message"; at: number; text: string };

export class Outbox {
  private items: Outgoing[] = [];
  private nextIndex = 0;
  /** Offset of the first byte that is not safe. */
  private start = 0;
  private end = 0;

  /** `isPlaced`: false for a meeting taken up after a reload, until the server has said how much it has. */
  constructor(private isPlaced = true) {}

  /** Bytes that only this page holds. */
  get unsafeBytes(): number {
    return this.end - this.start;
  }

  /** Offset one past the last byte: all the sound of the meeting so far. */
  get endOffset(): number {
    return this.end;
  }

  /** Offset of the first byte that only this page holds. */
  get startOffset(): number {
    return this.start;
  }

  /** Takes the array over. */
  push(bytes: Uint8Array<ArrayBuffer>): void {
    if (bytes.length === 0) return;
    this.items.push({ kind: "sound", at: this.end, bytes });
    this.end += bytes.length;
  }

  say(message: object): void {
    this.items.push({ kind: "message", at: this.end, text: JSON.stringify(message) });
  }

  /** Sound that a page before this one had kept; before anything else is pushed. */
  restore(kept: readonly { at: number; bytes: Uint8Array<ArrayBuffer> }[]): void {
    const first = kept[0];
    if (first === undefined || this.items.length > 0) return;
    this.start = this.end = first.at;
    for (const { at, bytes } of kept) {
      if (at === this.end) this.push(bytes);
    }
    this.isPlaced = true;
  }

  /** The next thing to send, or nothing for now. */
  take(): Outgoing | undefined {
    const item = this.items[this.nextIndex];
    if (item !== undefined) this.nextIndex += 1;
    return item;
  }

  /** Everything below `offset` is safe: forget it. */
  confirm(offset: number): void {
    const safe = Math.min(offset, this.end);
    if (safe <= this.start) return;
    let done = 0;
    for (const item of this.items) {
      if (item.kind === "message" ? item.at >= safe : item.at + item.bytes.length > safe) break;
      done += 1;
    }
    this.items.splice(0, done);
    this.nextIndex = Math.max(0, this.nextIndex - done);
    this.start = safe;
    const first = this.items[0];
    if (first?.kind === "sound" && first.at < safe) {
      this.items[0] = { kind: "sound", at: safe, bytes: first.bytes.subarray(safe - first.at) };
    }
  }

  /** A new socket: the server goes on from `offset`; what is left is sent again, in order. */
  rewind(offset: number): void {
    if (this.isPlaced) this.confirm(offset);
    this.isPlaced = true;
    // Taken up after a reload, or the server has another end than we thought: what we hold comes there.
    if (this.start !== offset) this.renumber(offset - this.start);
    this.nextIndex = 0;
  }

  /** All sound that is not safe, as one run. */
  unsafeSound(): Uint8Array<ArrayBuffer>[] {
    return this.items.flatMap((item) => (item.kind === "sound" ? [item.bytes] : []));
  }

  /** The same with its places. */
  unsafeItems(): { at: number; bytes: Uint8Array<ArrayBuffer> }[] {
    return this.items.flatMap((item) => (item.kind === "sound" ? [{ at: item.at, bytes: item.bytes }] : []));
  }

  private renumber(by: number): void {
    this.items = this.items.map((item) => ({ ...item, at: item.at + by }));
    this.start += by;
    this.end += by;
  }
}
