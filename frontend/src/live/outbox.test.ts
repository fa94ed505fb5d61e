import { describe, expect, it } from "vitest";
import { Outbox } from "./outbox";

const sound = (...values: number[]): Uint8Array<ArrayBuffer> => new Uint8Array(values);

/** Everything that can be sent now, sound as numbers and messages by type. */
function drain(outbox: Outbox): (number[] | string)[] {
  const sent: (number[] | string)[] = [];
  for (let item = outbox.take(); item !== undefined; item = outbox.take()) {
    sent.push(item.kind === "sound" ? [...item.bytes] : (JSON.parse(item.text) as { type: string }).type);
  }
  return sent;
}

describe("sound kept over a reload", () => {
  it("is sent from where the server goes on, before what is said now", () => {
    const outbox = new Outbox(false);
    outbox.restore([
      { at: 100, bytes: new Uint8Array(50) },
      { at: 150, bytes: new Uint8Array(50) },
    ]);
    outbox.push(new Uint8Array(10));
    outbox.rewind(120);
    expect([outbox.take(), outbox.take(), outbox.take()].map((item) => item?.at)).toEqual([120, 150, 200]);
    expect(outbox.unsafeBytes).toBe(90);
  });

  it("that the server has already is forgotten", () => {
    const outbox = new Outbox(false);
    outbox.restore([{ at: 100, bytes: new Uint8Array(50) }]);
    outbox.rewind(150);
    expect(outbox.take()).toBeUndefined();
    expect(outbox.unsafeBytes).toBe(0);
  });
});

describe("an outbox", () => {
  it("gives everything once, in the order in which it happened", () => {
    const outbox = new Outbox();
    outbox.push(sound(1, 2));
    outbox.say({ type: "bookmark" });
    outbox.push(sound(3, 4));
    expect(drain(outbox)).toEqual([[1, 2], "bookmark", [3, 4]]);
    expect(drain(outbox)).toEqual([]);
  });

  it("keeps what was sent until it is acknowledged", () => {
    const outbox = new Outbox();
    outbox.push(sound(1, 2));
    outbox.push(sound(3, 4));
    drain(outbox);
    expect(outbox.unsafeBytes).toBe(4);
    outbox.confirm(2);
    expect(outbox.unsafeBytes).toBe(2);
    outbox.rewind(2);
    expect(drain(outbox)).toEqual([[3, 4]]);
  });

  it("goes on from the middle of a piece", () => {
    const outbox = new Outbox();
    outbox.push(sound(1, 2, 3, 4));
    outbox.push(sound(5, 6));
    drain(outbox);
    outbox.rewind(2);
    expect(drain(outbox)).toEqual([[3, 4], [5, 6]]);
  });

  it("does not send again what a late acknowledgement repeats", () => {
    const outbox = new Outbox();
    outbox.push(sound(1, 2));
    outbox.push(sound(3, 4));
    drain(outbox);
    outbox.confirm(4);
    outbox.confirm(2);
    outbox.push(sound(5, 6));
    expect(drain(outbox)).toEqual([[5, 6]]);
    expect(outbox.unsafeBytes).toBe(2);
  });

  it("repeats a message until sound behind it is acknowledged", () => {
    const outbox = new Outbox();
    outbox.push(sound(1, 2));
    outbox.say({ type: "pause" });
    drain(outbox);
    outbox.rewind(2);
    expect(drain(outbox)).toEqual(["pause"]);
    outbox.say({ type: "resume" });
    outbox.push(sound(3, 4));
    drain(outbox);
    outbox.confirm(4);
    outbox.rewind(4);
    expect(drain(outbox)).toEqual([]);
  });

  it("is not confused by an acknowledgement beyond its end", () => {
    const outbox = new Outbox();
    outbox.push(sound(1, 2));
    drain(outbox);
    outbox.confirm(10);
    expect(outbox.unsafeBytes).toBe(0);
    outbox.push(sound(3, 4));
    outbox.confirm(4);
    expect(outbox.unsafeBytes).toBe(0);
  });

  it("puts sound behind what the server has when a meeting is taken up after a reload", () => {
    const outbox = new Outbox(false);
    outbox.push(sound(1, 2, 3, 4));
    outbox.rewind(2);
    expect(outbox.endOffset).toBe(6);
    expect(drain(outbox)).toEqual([[1, 2, 3, 4]]);
    outbox.confirm(6);
    expect(outbox.unsafeBytes).toBe(0);
  });

  it("hands out all sound that is not safe", () => {
    const outbox = new Outbox();
    outbox.push(sound(1, 2));
    outbox.say({ type: "bookmark" });
    outbox.push(sound(3, 4));
    outbox.confirm(2);
    expect(outbox.unsafeSound()).toEqual([sound(3, 4)]);
  });
});
