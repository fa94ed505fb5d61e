import "fake-indexeddb/auto";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { UnackedAudioStore } from "./unacked-audio";

const bytes = (...values: number[]): Uint8Array<ArrayBuffer> => new Uint8Array(values);

async function open(meeting: string): Promise<UnackedAudioStore> {
  const store = await UnackedAudioStore.open(meeting);
  expect(store).not.toBeNull();
  return store!;
}

/** Let the store write what it has collected, and read all of it. */
async function written(store: UnackedAudioStore) {
  vi.advanceTimersByTime(500);
  return store.read();
}

// The database needs its own timers.
beforeEach(() => void vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] }));
afterEach(() => void vi.useRealTimers());

it("returns to a later page what an earlier one stored, joined and in order", async () => {
  const store = await open("a");
  store.add({ offset: 100, bytes: bytes(1, 2) });
  store.add({ offset: 102, bytes: bytes(3, 4) });
  await written(store);
  const chunks = await (await open("a")).read();
  expect(chunks).toEqual([{ offset: 100, bytes: bytes(1, 2, 3, 4) }]);
});

it("deletes whole chunks that are acknowledged, and nothing that is not", async () => {
  const store = await open("b");
  store.add({ offset: 0, bytes: bytes(1, 2) });
  await written(store);
  store.add({ offset: 2, bytes: bytes(3, 4) });
  await written(store);
  store.deleteBelow(3);
  expect(await store.read()).toEqual([{ offset: 2, bytes: bytes(3, 4) }]);
  store.clear();
  expect(await store.read()).toEqual([]);
});

it("deletes what another meeting left behind", async () => {
  const store = await open("c");
  store.add({ offset: 0, bytes: bytes(1, 2) });
  await written(store);
  await open("d");
  expect(await store.read()).toEqual([]);
});

it("stores no audio in the clear", async () => {
  const store = await open("e");
  store.add({ offset: 0, bytes: new Uint8Array(64).fill(7) });
  await written(store);
  const database = await new Promise<IDBDatabase>((resolve) => {
    const request = indexedDB.open("meeting-assistant");
    request.onsuccess = () => resolve(request.result);
  });
  const stored = await new Promise<{ sealed: ArrayBuffer }[]>((resolve) => {
    const request = database.transaction("unsafe-sound").objectStore("unsafe-sound").getAll();
    request.onsuccess = () => resolve(request.result as { sealed: ArrayBuffer }[]);
  });
  expect([...new Uint8Array(stored[0]!.sealed)].slice(0, 64)).not.toEqual(Array(64).fill(7));
});
