// Audio that the server has not acknowledged, stored in this browser too, so that a reload does not lose it.
//
// It is encrypted with a key that scripts cannot export. Acknowledged audio is deleted at once; audio that an earlier
// meeting left behind is deleted when the next one begins.

import { openDB, type DBSchema, type IDBPDatabase } from "idb";
import type { AudioChunk } from "./outbox";

interface EncryptedChunk {
  meeting: string;
  at: number;
  length: number;
  iv: Uint8Array<ArrayBuffer>;
  sealed: ArrayBuffer;
}

// The names are those on disk: renaming them would orphan what an earlier version of this page stored.
const DATABASE = "meeting-assistant";
const CHUNKS = "unsafe-sound";
const KEYS = "keys";
const KEY_NAME = "unsafe-sound";

interface Schema extends DBSchema {
  [CHUNKS]: { key: [meeting: string, at: number]; value: EncryptedChunk };
  [KEYS]: { key: string; value: CryptoKey };
}

/** Audio is collected this long before it is written: a write per 100 ms chunk would cost more than it saves. */
const WRITE_INTERVAL_MS = 500;

export class UnackedAudioStore {
  private pending: Uint8Array<ArrayBuffer>[] = [];
  private pendingOffset = 0;
  private pendingBytes = 0;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private work: Promise<void> = Promise.resolve();

  private constructor(
    private readonly database: IDBPDatabase<Schema>,
    private readonly key: CryptoKey,
    private readonly meeting: string,
  ) {}

  /** Open the store of a meeting and delete what other meetings left. Null where the browser has no such storage. */
  static async open(meeting: string): Promise<UnackedAudioStore | null> {
    try {
      const database = await openDB<Schema>(DATABASE, 1, {
        upgrade(fresh) {
          fresh.createObjectStore(CHUNKS, { keyPath: ["meeting", "at"] });
          fresh.createObjectStore(KEYS);
        },
      });
      const store = new UnackedAudioStore(database, await loadKey(database), meeting);
      await store.deleteOtherMeetings();
      return store;
    } catch {
      return null;
    }
  }

  add({ offset, bytes }: AudioChunk): void {
    if (this.pendingBytes === 0) this.pendingOffset = offset;
    this.pending.push(bytes);
    this.pendingBytes += bytes.length;
    this.timer ??= setTimeout(() => this.write(), WRITE_INTERVAL_MS);
  }

  /** Delete chunks that end at or below `offset`, which the server has stored. */
  deleteBelow(offset: number): void {
    this.enqueue(async () => {
      const range = IDBKeyRange.bound([this.meeting, 0], [this.meeting, offset], false, true);
      const transaction = this.database.transaction(CHUNKS, "readwrite");
      const stored = await transaction.store.getAll(range);
      const acked = stored.filter((chunk) => chunk.at + chunk.length <= offset);
      const deletions = acked.map((chunk) => transaction.store.delete([chunk.meeting, chunk.at]));
      await Promise.all([...deletions, transaction.done]);
    });
  }

  /** Delete all audio of the meeting, which is over. */
  clear(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    this.pending = [];
    this.pendingBytes = 0;
    this.enqueue(() => this.database.delete(CHUNKS, this.everything()));
  }

  /** Return what an earlier page stored, decrypted and in order. */
  async read(): Promise<AudioChunk[]> {
    await this.work;
    const chunks: AudioChunk[] = [];
    for (const chunk of await this.database.getAll(CHUNKS, this.everything())) {
      const clear = await crypto.subtle.decrypt({ name: "AES-GCM", iv: chunk.iv }, this.key, chunk.sealed);
      chunks.push({ offset: chunk.at, bytes: new Uint8Array(clear) });
    }
    return chunks;
  }

  private write(): void {
    this.timer = undefined;
    const bytes = new Uint8Array(this.pendingBytes);
    let position = 0;
    for (const chunk of this.pending) {
      bytes.set(chunk, position);
      position += chunk.length;
    }
    const at = this.pendingOffset;
    this.pending = [];
    this.pendingBytes = 0;
    this.enqueue(async () => {
      const iv = crypto.getRandomValues(new Uint8Array(12));
      const sealed = await crypto.subtle.encrypt({ name: "AES-GCM", iv }, this.key, bytes);
      await this.database.put(CHUNKS, { meeting: this.meeting, at, length: bytes.length, iv, sealed });
    });
  }

  private everything(): IDBKeyRange {
    return IDBKeyRange.bound([this.meeting, 0], [this.meeting, Infinity]);
  }

  private async deleteOtherMeetings(): Promise<void> {
    const transaction = this.database.transaction(CHUNKS, "readwrite");
    const others = (await transaction.store.getAllKeys()).filter(([meeting]) => meeting !== this.meeting);
    await Promise.all([...others.map((key) => transaction.store.delete(key)), transaction.done]);
  }

  /** Run steps one after another. After a failure (full disk, private window) the page still holds the audio. */
  private enqueue(step: () => Promise<unknown>): void {
    this.work = this.work.then(step).then(
      () => undefined,
      () => undefined,
    );
  }
}

async function loadKey(database: IDBPDatabase<Schema>): Promise<CryptoKey> {
  const stored = await database.get(KEYS, KEY_NAME);
  if (stored !== undefined) return stored;
  const fresh = await crypto.subtle.generateKey({ name: "AES-GCM", length: 256 }, false, ["encrypt", "decrypt"]);
  await database.put(KEYS, fresh, KEY_NAME);
  return fresh;
}
