// Sound that is not safe at the server yet, kept in this browser as well, so that a reload does not lose it.
//
// Encrypted with a key that scripts cannot export. What the server acknowledges is deleted at once; what another
// meeting left behind is deleted when the next one begins.

export interface KeptSound {
  /** Offset in the meeting, in bytes at the client's rate, of all channels. */
  at: number;
  bytes: Uint8Array<ArrayBuffer>;
}

interface Piece {
  meeting: string;
  at: number;
  length: number;
  iv: Uint8Array<ArrayBuffer>;
  sealed: ArrayBuffer;
}

const DATABASE = "meeting-assistant";
const PIECES = "unsafe-sound";
const KEYS = "keys";
const KEY_NAME = "unsafe-sound";
/** Pieces are gathered: a write for each tenth of a second would cost more than it saves. */
const PIECE_MS = 500;

export class SoundKeeper {
  private gathered: Uint8Array<ArrayBuffer>[] = [];
  private gatheredAt = 0;
  private gatheredLength = 0;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private work: Promise<void> = Promise.resolve();

  private constructor(
    private readonly database: IDBDatabase,
    private readonly key: CryptoKey,
    private readonly meeting: string,
  ) {}

  /** Null where the browser offers no such storage: sound is then kept in the page alone. */
  static async open(meeting: string): Promise<SoundKeeper | null> {
    try {
      const database = await openDatabase();
      const keeper = new SoundKeeper(database, await keyOf(database), meeting);
      await keeper.forgetOthers();
      return keeper;
    } catch {
      return null;
    }
  }

  keep(at: number, bytes: Uint8Array<ArrayBuffer>): void {
    if (this.gatheredLength === 0) this.gatheredAt = at;
    this.gathered.push(bytes);
    this.gatheredLength += bytes.length;
    this.timer ??= setTimeout(() => this.flush(), PIECE_MS);
  }

  /** Everything below is safe. */
  forgetBelow(offset: number): void {
    this.queue(async () => {
      const store = this.database.transaction(PIECES, "readwrite").objectStore(PIECES);
      const range = IDBKeyRange.bound([this.meeting, 0], [this.meeting, offset], false, true);
      for (const piece of await result<Piece[]>(store.getAll(range))) {
        if (piece.at + piece.length <= offset) store.delete([piece.meeting, piece.at]);
      }
    });
  }

  /** The meeting is over. */
  forgetAll(): void {
    clearTimeout(this.timer);
    this.gathered = [];
    this.gatheredLength = 0;
    this.queue(async () => {
      const range = IDBKeyRange.bound([this.meeting, 0], [this.meeting, Infinity]);
      await result(this.database.transaction(PIECES, "readwrite").objectStore(PIECES).delete(range));
    });
  }

  /** What a page that was reloaded had kept, in order. */
  async restore(): Promise<KeptSound[]> {
    await this.work;
    const range = IDBKeyRange.bound([this.meeting, 0], [this.meeting, Infinity]);
    const pieces = await result<Piece[]>(this.database.transaction(PIECES).objectStore(PIECES).getAll(range));
    const kept: KeptSound[] = [];
    for (const piece of pieces) {
      const clear = await crypto.subtle.decrypt({ name: "AES-GCM", iv: piece.iv }, this.key, piece.sealed);
      kept.push({ at: piece.at, bytes: new Uint8Array(clear) });
    }
    return kept;
  }

  private flush(): void {
    this.timer = undefined;
    const bytes = new Uint8Array(this.gatheredLength);
    let position = 0;
    for (const piece of this.gathered) {
      bytes.set(piece, position);
      position += piece.length;
    }
    const at = this.gatheredAt;
    this.gathered = [];
    this.gatheredLength = 0;
    this.queue(async () => {
      const iv = crypto.getRandomValues(new Uint8Array(12));
      const sealed = await crypto.subtle.encrypt({ name: "AES-GCM", iv }, this.key, bytes);
      const piece: Piece = { meeting: this.meeting, at, length: bytes.length, iv, sealed };
      await result(this.database.transaction(PIECES, "readwrite").objectStore(PIECES).put(piece));
    });
  }

  private async forgetOthers(): Promise<void> {
    const store = this.database.transaction(PIECES, "readwrite").objectStore(PIECES);
    for (const key of (await result<IDBValidKey[]>(store.getAllKeys())) as [string, number][]) {
      if (key[0] !== this.meeting) store.delete(key);
    }
  }

  /** In order; a failure (a full disk, a private window) leaves the sound in the page, where it is anyway. */
  private queue(step: () => Promise<void>): void {
    this.work = this.work.then(step).catch(() => undefined);
  }
}

async function openDatabase(): Promise<IDBDatabase> {
  const opening = indexedDB.open(DATABASE, 1);
  opening.onupgradeneeded = () => {
    opening.result.createObjectStore(PIECES, { keyPath: ["meeting", "at"] });
    opening.result.createObjectStore(KEYS);
  };
  return result(opening);
}

async function keyOf(database: IDBDatabase): Promise<CryptoKey> {
  const known = await result<CryptoKey | undefined>(database.transaction(KEYS).objectStore(KEYS).get(KEY_NAME));
  if (known !== undefined) return known;
  const fresh = await crypto.subtle.generateKey({ name: "AES-GCM", length: 256 }, false, ["encrypt", "decrypt"]);
  await result(database.transaction(KEYS, "readwrite").objectStore(KEYS).put(fresh, KEY_NAME));
  return fresh;
}

function result<T>(request: IDBRequest): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result as T);
    request.onerror = () => reject(request.error ?? new Error("storage"));
  });
}
