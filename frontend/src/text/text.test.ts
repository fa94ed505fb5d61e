import { describe, expect, it } from "vitest";
import { privacyPromise } from "./engines";
import { clock, duration, fileSize, splitList } from "./format";
import { identifiedLabel, initials, speakerHue, speakerName } from "./speaker";

describe("times", () => {
  it("read like a clock", () => {
    expect([0, 83_999, 3_723_000].map(clock)).toEqual(["0:00", "1:23", "1:02:03"]);
  });
  it("read like a length", () => {
    expect([48_000, 119_000, 3_600_000, 3_900_000].map(duration)).toEqual(["48 s", "2 min", "1 h", "1 h 5 min"]);
  });
});

describe("names", () => {
  it("are the given ones, else a number, else unknown", () => {
    const speakers = [{ label: "S1", name: "Ana" }, { label: "S2", name: null }];
    expect(["S1", "S2", "S7", "P1", "S?", null].map((label) => speakerName(label, speakers))).toEqual([
      "Ana",
      "Speaker 2",
      "Speaker 7",
      "Person 1",
      "Unknown speaker",
      "Unknown speaker",
    ]);
  });
  it("belong to a label only when the speaker is identified", () => {
    expect(["S1", "S?", null].map(identifiedLabel)).toEqual(["S1", null, null]);
  });
  it("have one colour per label, and initials", () => {
    expect(speakerHue("S1")).toBe(speakerHue("S1"));
    expect(speakerHue("S1")).not.toBe(speakerHue("S2"));
    expect([speakerHue("S?"), speakerHue(null)]).toEqual([null, null]);
    expect(["Ana", "ben van dyke", ""].map(initials)).toEqual(["A", "BD", ""]);
  });
  it("are split at commas, semicolons and line breaks", () => {
    expect(splitList(" Ana, Ben ;\nCleo,,")).toEqual(["Ana", "Ben", "Cleo"]);
  });
});

describe("sizes", () => {
  it("have one unit", () => {
    expect([10, 42_000, 4_200_000, 2_000_000_000].map(fileSize)).toEqual(["1 kB", "42 kB", "4.2 MB", "2.0 GB"]);
  });
});

describe("the privacy promise", () => {
  const embedded = { asr: "moonshine-tiny-en", vad: "silero-v6", diarization: "embedded", minutes: "embedded" };

  it("is given when every engine runs in the server", () => {
    expect(privacyPromise(embedded, "127.0.0.1")).toBe("Everything stays on this machine.");
    expect(privacyPromise(embedded, "notes.example")).toBe("Everything stays on notes.example.");
  });
  it("is not given for a remote or unknown provider, or before the engines are known", () => {
    expect(privacyPromise({ ...embedded, minutes: "openai" }, "127.0.0.1")).toBeNull();
    expect(privacyPromise({ ...embedded, asr: "new-thing" }, "127.0.0.1")).toBeNull();
    expect(privacyPromise({}, "127.0.0.1")).toBeNull();
    expect(privacyPromise(embedded, "127.0.0.1", true)).toBeNull();
  });
});
