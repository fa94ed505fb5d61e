import { beforeAll, expect, it, vi } from "vitest";

type Processor = { port: FakePort; process(inputs: Float32Array[][]): boolean };
interface FakePort {
  onmessage: ((event: { data: unknown }) => void) | null;
  posted: unknown[];
  postMessage(message: unknown): void;
}

let Capture: new (options: object) => Processor;

beforeAll(async () => {
  class AudioWorkletProcessor {
    port: FakePort = {
      onmessage: null,
      posted: [],
      postMessage(message) {
        this.posted.push(message);
      },
    };
  }
  vi.stubGlobal("sampleRate", 16_000);
  vi.stubGlobal("AudioWorkletProcessor", AudioWorkletProcessor);
  vi.stubGlobal("registerProcessor", (_: string, processor: typeof Capture) => (Capture = processor));
  await import("./capture.worklet");
});

const capture = (decimation: number, channels: number): Processor =>
  new Capture({ processorOptions: { decimation, channels } });

it("interleaves channels in chunks of a tenth of a second", () => {
  const processor = capture(1, 2);
  const [left, right] = [new Float32Array(1600).fill(0.5), new Float32Array(1600).fill(-1)];
  processor.process([[left, right]]);
  const [chunk] = processor.port.posted as [Int16Array];
  expect(chunk).toHaveLength(3200);
  expect([...chunk.slice(0, 4)]).toEqual([16384, -32767, 16384, -32767]);
});

it("fills a missing channel with silence", () => {
  const processor = capture(1, 2);
  processor.process([[new Float32Array(2).fill(1)]]);
  processor.port.onmessage?.({ data: "flush" });
  expect([...(processor.port.posted[0] as Int16Array)]).toEqual([32767, 0, 32767, 0]);
  expect(processor.port.posted[1]).toBe("flushed");
});

it("averages rates above 48 kHz down, each channel separately", () => {
  const processor = capture(2, 2);
  processor.process([[new Float32Array([1, 0]), new Float32Array([0, 0])]]);
  processor.port.onmessage?.({ data: "flush" });
  expect([...(processor.port.posted[0] as Int16Array)]).toEqual([16384, 0]);
});
