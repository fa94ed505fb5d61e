// The sample meeting as an audio source: delivered in real time, and played aloud.
//
// The page's clock sets the pace, not the sound card, so that the meeting continues where the browser does not allow
// the page to play audio.

import { fetchSample, problemOf } from "../api/rest";
import { SourceError, type AudioSource, type AudioSourceEvents } from "./audio-source";
import { level, toPcm } from "./pcm";

const RATE_HZ = 16_000;
const CHUNK_SAMPLES = RATE_HZ / 10;

export class SampleClip implements AudioSource {
  readonly kind = "sample";
  readonly sampleRate = RATE_HZ;
  readonly channels = 1;
  private buffer: AudioBuffer | null = null;
  private pcm: Uint8Array<ArrayBuffer> = new Uint8Array();
  private events: AudioSourceEvents | null = null;
  private timer: ReturnType<typeof setInterval> | undefined;
  /** Samples delivered so far. */
  private position = 0;
  /** `performance.now()` at which sample 0 was, or would have been, due. */
  private zeroAt = 0;
  private readonly speaker = new Loudspeaker((isPlayable) => this.onPlayable?.(isPlayable));

  /** Called with whether the browser allows the page to play audio. */
  onPlayable: ((isPlayable: boolean) => void) | undefined;

  async open(): Promise<void> {
    try {
      const file = await fetchSample();
      // An offline context decodes and resamples without permission to play.
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

  start(events: AudioSourceEvents, seconds: number): void {
    this.events = events;
    this.position = Math.min(Math.round(seconds * RATE_HZ), this.pcm.length / 2);
    this.startTimer();
  }

  async pause(): Promise<void> {
    this.deliverDue();
    this.stopTimer();
    this.events?.onLevels([0]);
  }

  async resume(): Promise<void> {
    this.startTimer();
  }

  async close(): Promise<void> {
    this.stopTimer();
    await this.speaker.close();
  }

  set isMuted(isMuted: boolean) {
    this.speaker.isMuted = isMuted;
  }

  /** Start playback where the browser blocked it. Call it from a click. */
  async unblock(): Promise<void> {
    await this.speaker.unblock();
  }

  private startTimer(): void {
    this.zeroAt = performance.now() - (this.position / RATE_HZ) * 1000;
    this.timer = setInterval(() => this.deliverDue(), 100);
    if (this.buffer !== null) {
      void this.speaker.play(this.buffer, () => (performance.now() - this.zeroAt) / 1000);
    }
  }

  private stopTimer(): void {
    clearInterval(this.timer);
    this.speaker.stop();
  }

  private deliverDue(): void {
    const total = this.pcm.length / 2;
    const due = Math.min(((performance.now() - this.zeroAt) / 1000) * RATE_HZ, total);
    while (this.position + CHUNK_SAMPLES <= due || (due === total && this.position < total)) {
      const end = Math.min(this.position + CHUNK_SAMPLES, total);
      // A copy, which the receiver owns.
      const chunk = this.pcm.slice(this.position * 2, end * 2);
      this.position = end;
      this.events?.onAudio(chunk);
      this.events?.onLevels([level(chunk)]);
    }
    if (this.position >= total) {
      this.stopTimer();
      this.events?.onLevels([0]);
      this.events?.onEnded();
    }
  }
}

class Loudspeaker {
  private context: AudioContext | null = null;
  private gain: GainNode | null = null;
  private playing: AudioBufferSourceNode | null = null;
  private volume = 1;
  private restart: (() => void) | null = null;

  constructor(private readonly notifyPlayable: (isPlayable: boolean) => void) {}

  set isMuted(isMuted: boolean) {
    this.volume = isMuted ? 0 : 1;
    if (this.gain !== null) this.gain.gain.value = this.volume;
  }

  /** Play from `position()`, the current position of the clip in seconds. */
  async play(buffer: AudioBuffer, position: () => number): Promise<void> {
    this.restart = () => this.startAt(buffer, position());
    if (this.context === null) {
      this.context = new AudioContext();
      this.gain = new GainNode(this.context, { gain: this.volume });
      this.gain.connect(this.context.destination);
      this.context.addEventListener("statechange", () => this.startIfPlayable());
    }
    await this.unblock();
  }

  async unblock(): Promise<void> {
    const { context } = this;
    if (context === null) return;
    // Where playback is blocked, `resume` stays pending until the user clicks.
    await Promise.race([context.resume(), new Promise((resolve) => setTimeout(resolve, 300))]);
    this.startIfPlayable();
  }

  stop(): void {
    this.restart = null;
    this.playing?.stop();
    this.playing = null;
  }

  async close(): Promise<void> {
    this.stop();
    await this.context?.close();
    this.context = null;
  }

  private startIfPlayable(): void {
    const isPlayable = this.context?.state === "running";
    this.notifyPlayable(isPlayable);
    if (isPlayable && this.playing === null) this.restart?.();
  }

  private startAt(buffer: AudioBuffer, seconds: number): void {
    if (this.context === null || this.gain === null || seconds >= buffer.duration) return;
    this.playing = new AudioBufferSourceNode(this.context, { buffer });
    this.playing.connect(this.gain);
    this.playing.start(0, Math.max(0, seconds));
  }
}
