// Where sound comes from: a microphone, or a clip that is played at its own pace. Both look alike.

import type { Problem } from "../api/types";

export type Channels = 1 | 2;

export interface SoundEvents {
  /** s16le, channels interleaved, about 100 ms at a time. */
  sound(bytes: Uint8Array<ArrayBuffer>): void;
  /** Loudness of the newest piece, 0..1, of each channel. */
  level(levels: readonly number[]): void;
  /** No more sound will come: the clip is over. */
  ended(): void;
  /** The source is gone for now; `resume` tries to get it back. */
  lost(problem: Problem): void;
  /** The computer's sound comes no more (null: it does again); the microphone goes on. */
  shared(problem: Problem | null): void;
}

export interface SoundSource {
  readonly kind: "microphone" | "sample";
  /** Hz; known after `open`. */
  readonly sampleRate: number;
  /** With 2, the first is the microphone and the second the sound of this computer. */
  readonly channels: Channels;
  /** Get hold of the sound without passing any on. Throws `SourceError`. */
  open(): Promise<void>;
  /** Pass sound on; a clip begins at `seconds`. */
  start(events: SoundEvents, seconds: number): void;
  /** Resolves when everything heard before the call has been passed on. */
  pause(): Promise<void>;
  /** Throws `SourceError`. */
  resume(): Promise<void>;
  /** Give it back; resolves when everything heard has been passed on. */
  close(): Promise<void>;
}

/** A source that cannot be had; `problem` can be shown as it is. */
export class SourceError extends Error {
  constructor(readonly problem: Problem) {
    super(problem.message);
  }
}
