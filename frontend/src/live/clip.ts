// The sample meeting as a source of sound: passed on at its own pace, and played aloud.
//
// The pace comes from the clock of the page, not from the sound card: where a browser does not let a page play
// sound, the meeting goes on all the same.

import { fetchSample, problemOf } from "../api/rest";
import { loudness, toPcm } from "./pcm";
import { SourceError, type SoundEvents, type SoundSource } from "./source";

const RATE_HZ = 16_000;
const PIECE_SAMPLES = RATE_HZ / 10;

export class Clip implements SoundSource {
  readonly kind = "sample";
  readonly sampleRate = RATE_HZ;
  readonly channels = 1;
  private buffer: AudioBuffer | null = null;
  private pcm: Uint8Array<ArrayBuffer> = new Uint8Array();
  private events: SoundEvents | null = null;
  private timer: ReturnType<typeof setInterval> | undefined;
  /** Samples passed on. */
  private position = 0;
  /** `performance.now()` at which sample 0 was, or would have been, due. */
  private zeroAt = 0;
  private readonly speaker = new Loudspeaker((canPlay) => this.onCanPlay?.(canPlay));

  /** Told whether the browser lets this page be heard. */
  onCanPlay: ((canPlay: boolean) => void) | undefined;

  async open(): Promise<void> {
    try {
      const file = await fetchSample();
      // An offline context decodes and resamples without the permission to play.
      this.buffer = await new OfflineAudioContext(1, 1, RATE_HZ).decodeAudioData(file);
    } catch (error) {
      if (error instanceof DOMException) {
        throw new SourceError({
          code: "sample_unreadable",
          message: "This browser cannot decode the sample meeting.",
          remedy: "Use a current Chrome, Edge, Firefox or Safari, or upload a recording.",
        });
      }
      throw new SourceError(problemOf(error));
    }
    this.pcm = toPcm(this.buffer.getChannelData(0));
  }

  start(events: SoundEvents, seconds: number): void {
    this.events = events;
    this.position = Math.min(Math.round(seconds * RATE_HZ), this.pcm.length / 2);
    this.run();
  }

  async pause(): Promise<void> {
    this.passOnWhatIsDue();
    this.halt();
    this.events?.level([0]);
  }

  async resume(): Promise<void> {
    this.run();
  }

  async close(): Promise<void> {
    this.halt();
    await this.speaker.close();
  }

  set isMuted(isMuted: boolean) {
    this.speaker.isMuted = isMuted;
  }

  /** Call it from a click where the browser blocked the sound. */
  async unblock(): Promise<void> {
    await this.speaker.unblock();
  }

  private run(): void {
    this.zeroAt = performance.now() - (this.position / RATE_HZ) * 1000;
    this.timer = setInterval(() => this.passOnWhatIsDue(), 100);
    if (this.buffer !== null) {
      void this.speaker.play(this.buffer, () => (performance.now() - this.zeroAt) / 1000);
    }
  }

  private halt(): void {
    clearInterval(this.timer);
    this.speaker.stop();
  }

  private passOnWhatIsDue(): void {
    const total = this.pcm.length / 2;
    const due = Math.min(((performance.now() - this.zeroAt) / 1000) * RATE_HZ, total);
    while (this.position + PIECE_SAMPLES <= due || (due === total && this.position < total)) {
      const end = Math.min(this.position + PIECE_SAMPLES, total);
      // A copy: the outbox keeps it.
      const piece = this.pcm.slice(this.position * 2, end * 2);
      this.position = end;
      this.events?.sound(piece);
      this.events?.level([loudness(piece)]);
    }
    if (this.position >= total) {
      this.halt();
      this.events?.level([0]);
      this.events?.ended();
    }
  }
}

class Loudspeaker {
  private context: AudioContext | null = null;
  private gain: GainNode | null = null;
  private playing: AudioBufferSourceNode | null = null;
  private volume = 1;
  private again: (() => void) | null = null;

  constructor(private readonly tellCanPlay: (canPlay: boolean) => void) {}

  set isMuted(isMuted: boolean) {
    this.volume = isMuted ? 0 : 1;
    if (this.gain !== null) this.gain.gain.value = this.volume;
  }

  /** `position` says where the clip is now, in seconds. */
  async play(buffer: AudioBuffer, position: () => number): Promise<void> {
    this.again = () => this.begin(buffer, position());
    if (this.context === null) {
      this.context = new AudioContext();
      this.gain = new GainNode(this.context, { gain: this.volume });
      this.gain.connect(this.context.destination);
      this.context.addEventListener("statechange", () => this.beginIfPossible());
    }
    await this.unblock();
  }

  async unblock(): Promise<void> {
    const { context } = this;
    if (context === null) return;
    // Where sound is blocked, `resume` stays pending until somebody clicks.
    await Promise.race([context.resume(), new Promise((resolve) => setTimeout(resolve, 300))]);
    this.beginIfPossible();
  }

  stop(): void {
    this.again = null;
    this.playing?.stop();
    this.playing = null;
  }

  async close(): Promise<void> {
    this.stop();
    await this.context?.close();
    this.context = null;
  }

  private beginIfPossible(): void {
    const canPlay = this.context?.state === "running";
    this.tellCanPlay(canPlay);
    if (canPlay && this.playing === null) this.again?.();
  }

  private begin(buffer: AudioBuffer, seconds: number): void {
    if (this.context === null || this.gain === null || seconds >= buffer.duration) return;
    this.playing = new AudioBufferSourceNode(this.context, { buffer });
    this.playing.connect(this.gain);
    this.playing.start(0, Math.max(0, seconds));
  }
}
