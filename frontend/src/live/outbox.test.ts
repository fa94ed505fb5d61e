import { describe, expect, it } from "vitest";
import { Outbox } from "./outbox";

const audio = (...values: number[]): Uint8Array<ArrayBuffer> => new Uint8Array(values);

/** Everything that can be sent now, audio as numbers and messages by type. */
function drain(outbox: Outbox): (number[] | string)[] {
  const sent: (number[] | string)[] = [];
  for (let item = outbox.next(); item !== undefined; item = outbox.next()) {
    sent.push(item.kind === "audio" ? [...item.bytes] : (JSON.parse(item.text) as { type: string }).type);
  }
  return sent;
}

describe("audio restored after a reload", () => {
  it("is sent from where the server continues, before new audio", () => {
    const outbox = new Outbox(false);
    outbox.restore([
      { offset: 100, bytes: new Uint8Array(50) },
      { offset: 150, bytes: new Uint8Array(50) },
    ]);
    outbox.pushAudio(new Uint8Array(10));
    outbox.rewind(120);
    expect([outbox.next(), outbox.next(), outbox.next()].map((item) => item?.offset)).toEqual([120, 150, 200]);
    expect(outbox.unackedBytes).toBe(90);
  });

  it("is dropped where the server already has it", () => {
    const outbox = new Outbox(false);
    outbox.restore([{ offset: 100, bytes: new Uint8Array(50) }]);
    outbox.rewind(150);
    expect(outbox.next()).toBeUndefined();
    expect(outbox.unackedBytes).toBe(0);
  });
});

describe("an outbox", () => {
  it("hands out every item once, in order", () => {
    const outbox = new Outbox();
    outbox.pushAudio(audio(1, 2));
    outbox.pushMessage({ type: "bookmark" });
    outbox.pushAudio(audio(3, 4));
    expect(drain(outbox)).toEqual([[1, 2], "bookmark", [3, 4]]);
    expect(drain(outbox)).toEqual([]);
  });

  it("keeps sent items until they are acknowledged", () => {
    const outbox = new Outbox();
    outbox.pushAudio(audio(1, 2));
    outbox.pushAudio(audio(3, 4));
    drain(outbox);
    expect(outbox.unackedBytes).toBe(4);
    outbox.acknowledge(2);
    expect(outbox.unackedBytes).toBe(2);
    outbox.rewind(2);
    expect(drain(outbox)).toEqual([[3, 4]]);
  });

  it("continues from the middle of a chunk", () => {
    const outbox = new Outbox();
    outbox.pushAudio(audio(1, 2, 3, 4));
    outbox.pushAudio(audio(5, 6));
    drain(outbox);
    outbox.rewind(2);
    expect(drain(outbox)).toEqual([[3, 4], [5, 6]]);
  });

  it("ignores a late acknowledgement of what was acknowledged before", () => {
    const outbox = new Outbox();
    outbox.pushAudio(audio(1, 2));
    outbox.pushAudio(audio(3, 4));
    drain(outbox);
    outbox.acknowledge(4);
    outbox.acknowledge(2);
    outbox.pushAudio(audio(5, 6));
    expect(drain(outbox)).toEqual([[5, 6]]);
    expect(outbox.unackedBytes).toBe(2);
  });

  it("repeats a message until audio beyond it is acknowledged", () => {
    const outbox = new Outbox();
    outbox.pushAudio(audio(1, 2));
    outbox.pushMessage({ type: "pause" });
    drain(outbox);
    outbox.rewind(2);
    expect(drain(outbox)).toEqual(["pause"]);
    outbox.pushMessage({ type: "resume" });
    outbox.pushAudio(audio(3, 4));
    drain(outbox);
    outbox.acknowledge(4);
    outbox.rewind(4);
    expect(drain(outbox)).toEqual([]);
  });

  it("accepts an acknowledgement beyond its end", () => {
    const outbox = new Outbox();
    outbox.pushAudio(audio(1, 2));
    drain(outbox);
    outbox.acknowledge(10);
    expect(outbox.unackedBytes).toBe(0);
    outbox.pushAudio(audio(3, 4));
    outbox.acknowledge(4);
    expect(outbox.unackedBytes).toBe(0);
  });

  it("appends audio to what the server has when a meeting is resumed after a reload", () => {
    const outbox = new Outbox(false);
    outbox.pushAudio(audio(1, 2, 3, 4));
    outbox.rewind(2);
    expect(outbox.endOffset).toBe(6);
    expect(drain(outbox)).toEqual([[1, 2, 3, 4]]);
    outbox.acknowledge(6);
    expect(outbox.unackedBytes).toBe(0);
  });

  it("returns all unacknowledged audio", () => {
    const outbox = new Outbox();
    outbox.pushAudio(audio(1, 2));
    outbox.pushMessage({ type: "bookmark" });
    outbox.pushAudio(audio(3, 4));
    outbox.acknowledge(2);
    expect(outbox.unackedAudio()).toEqual([{ offset: 2, bytes: audio(3, 4) }]);
  });
});
