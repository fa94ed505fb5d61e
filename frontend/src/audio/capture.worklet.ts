// Runs on the audio thread: collects mono s16 pieces of about 100 ms and posts them.
// `flush` posts what is left, then `flushed`: nothing that was heard is lost at a pause or at the end.

interface WorkletScope {
  readonly sampleRate: number;
  AudioWorkletProcessor: new () => { readonly port: MessagePort };
  registerProcessor(name: string, processor: unknown): void;
}
const scope = globalThis as unknown as WorkletScope;

interface Options {
  processorOptions: { decimation: number };
}

class Capture extends scope.AudioWorkletProcessor {
  private readonly piece: Int16Array<ArrayBuffer>;
  private filled = 0;
  private sum = 0;
  private summed = 0;
  private readonly decimation: number;

  constructor(options: Options) {
    super();
    // Sound cards beyond 48 kHz are averaged down; the server takes at most 48 kHz.
    this.decimation = options.processorOptions.decimation;
    this.piece = new Int16Array(Math.round(scope.sampleRate / this.decimation / 10));
    this.port.onmessage = (event: MessageEvent) => {
      if (event.data !== "flush") return;
      this.post();
      this.port.postMessage("flushed");
    };
  }

  process(inputs: Float32Array[][]): boolean {
    for (const sample of inputs[0]?.[0] ?? []) {
      this.sum += sample;
      this.summed += 1;
      if (this.summed < this.decimation) continue;
      const mean = Math.max(-1, Math.min(1, this.sum / this.decimation));
      this.piece[this.filled] = Math.round(mean * 32767);
      this.filled += 1;
      this.sum = 0;
      this.summed = 0;
      if (this.filled === this.piece.length) this.post();
    }
    return true;
  }

  private post(): void {
    if (this.filled === 0) return;
    const copy = this.piece.slice(0, this.filled);
    this.filled = 0;
    this.port.postMessage(copy, [copy.buffer]);
  }
}

scope.registerProcessor("capture", Capture);
