import { describe, expect, it } from "vitest";
import { level, toPcm, wavFile } from "./pcm";

describe("PCM", () => {
  it("is little-endian and clipped to full scale", () => {
    expect([...toPcm(new Float32Array([0, 1, -1, 2]))]).toEqual([0, 0, 0xff, 0x7f, 0x01, 0x80, 0xff, 0x7f]);
  });

  it("is silent at 0 and full at 1", () => {
    expect(level(new Uint8Array(3200))).toBe(0);
    expect(level(toPcm(new Float32Array(1600).fill(1)))).toBeCloseTo(1, 3);
  });

  it("becomes a WAV file of the right length", async () => {
    const file = wavFile([new Uint8Array([1, 2]), new Uint8Array([3, 4])], 16_000);
    const bytes = new DataView(await file.arrayBuffer());
    expect(bytes.byteLength).toBe(48);
    expect(bytes.getUint32(40, true)).toBe(4);
    expect(bytes.getUint32(24, true)).toBe(16_000);
  });

  it("of two channels says so in its file, and each has its own level", async () => {
    const pcm = toPcm(new Float32Array([0, 1, 0, 1]));
    const bytes = new DataView(await wavFile([pcm], 48_000, 2).arrayBuffer());
    expect(bytes.getUint16(22, true)).toBe(2);
    expect(bytes.getUint32(28, true)).toBe(48_000 * 4);
    expect(bytes.getUint16(32, true)).toBe(4);
    expect(level(pcm, 2, 0)).toBe(0);
    expect(level(pcm, 2, 1)).toBeCloseTo(1, 3);
  });
});
