// Runs on the audio thread: collects s16 chunks of about 100 ms, channels interleaved, and posts them. On `flush` it
// posts what is left and then `flushed`, so that nothing captured is lost at a pause or at the end.

interface WorkletScope {
  readonly sampleRate: number;
  AudioWorkletProcessor: new () => { readonly port: MessagePort };
  registerProcessor(name: string, processor: unknown): void;
}
const scope = globalThis as unknown as WorkletScope;

interface Options {
  processorOptions: { decimation: number; channels: number };
}

class Capture extends scope.AudioWorkletProcessor {
  private readonly chunk: Int16Array<ArrayBuffer>;
  private filled = 0;
  private readonly sums: Float64Array;
  private summed = 0;
  private readonly decimation: number;

  constructor(options: Options) {
    super();
    // Rates above 48 kHz are averaged down, as the server accepts at most 48 kHz.
    const { decimation, channels } = options.processorOptions;
    this.decimation = decimation;
    this.sums = new Float64Array(channels);
    this.chunk = new Int16Array(Math.round(scope.sampleRate / decimation / 10) * channels);
    this.port.onmessage = (event: MessageEvent) => {
      if (event.data !== "flush") return;
      this.post();
      this.port.postMessage("flushed");
    };
  }

  process(inputs: Float32Array[][]): boolean {
    const input = inputs[0] ?? [];
    for (let at = 0; at < (input[0]?.length ?? 0); at += 1) {
      // A missing channel is silent.
      this.sums.forEach((sum, channel) => (this.sums[channel] = sum + (input[channel]?.[at] ?? 0)));
      this.summed += 1;
      if (this.summed < this.decimation) continue;
      for (const sum of this.sums) {
        const mean = Math.max(-1, Math.min(1, sum / this.decimation));
        this.chunk[this.filled] = Math.round(mean * 32767);
        this.filled += 1;
      }
      this.sums.fill(0);
      this.summed = 0;
      if (this.filled === this.chunk.length) this.post();
    }
    return true;
  }

  private post(): void {
    if (this.filled === 0) return;
    const copy = this.chunk.slice(0, this.filled);
    this.filled = 0;
    this.port.postMessage(copy, [copy.buffer]);
  }
}

scope.registerProcessor("capture", Capture);

export {};
