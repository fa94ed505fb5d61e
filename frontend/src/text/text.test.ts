import { describe, expect, it } from "vitest";
import { privacyPromise } from "./engines";
import { clock, duration, fileSize, speakerName, splitList } from "./format";

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
    expect(["S1", "S2", "S7", null].map((label) => speakerName(label, speakers))).toEqual([
      "Ana",
      "Speaker 2",
      "Speaker 7",
      "Unknown speaker",
    ]);
  });
  it("are split at commas, semicolons and lines", () => {
    expect(splitList(" Ana, Ben ;\nCleo,,")).toEqual(["Ana", "Ben", "Cleo"]);
  });
});

describe("sizes", () => {
  it("have one unit", () => {
    expect([10, 42_000, 4_200_000, 2_000_000_000].map(fileSize)).toEqual(["1 kB", "42 kB", "4.2 MB", "2.0 GB"]);
  });
});

describe("the promise of privacy", () => {
  const embedded = { asr: "moonshine-tiny-en", vad: "silero-v6", diarization: "embedded", minutes: "embedded" };

  it("is given when every engine computes in the server", () => {
    expect(privacyPromise(embedded, "127.0.0.1")).toBe("Everything stays on this machine.");
    expect(privacyPromise(embedded, "notes.example")).toBe("Everything stays on notes.example.");
  });
  it("is not given for a provider elsewhere, an unknown one, or before anything is known", () => {
    expect(privacyPromise({ ...embedded, minutes: "openai" }, "127.0.0.1")).toBeNull();
    expect(privacyPromise({ ...embedded, asr: "new-thing" }, "127.0.0.1")).toBeNull();
    expect(privacyPromise({}, "127.0.0.1")).toBeNull();
    expect(privacyPromise(embedded, "127.0.0.1", true)).toBeNull();
  });
});
