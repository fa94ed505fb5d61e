// Where the audio of a meeting comes from: a microphone, or a clip that plays at its own pace.

import type { Problem } from "../api/types";

export type Channels = 1 | 2;

export interface AudioSourceEvents {
  /** Receives s16le audio, channels interleaved, about 100 ms at a time. The receiver owns the array. */
  onAudio(bytes: Uint8Array<ArrayBuffer>): void;
  /** Receives the level of each channel in the newest chunk, 0..1. */
  onLevels(levels: readonly number[]): void;
  /** The clip is over; no more audio will come. */
  onEnded(): void;
  /** The source was lost; `resume` tries to open it again. */
  onLost(problem: Problem): void;
  /** Sharing of the computer's audio ended (`problem`) or began again (null); the microphone continues. */
  onSharingChange(problem: Problem | null): void;
}

export interface AudioSource {
  readonly kind: "microphone" | "sample";
  /** Hz; known after `open`. */
  readonly sampleRate: number;
  /** With 2, channel 0 is the microphone and channel 1 the computer's audio. */
  readonly channels: Channels;
  /** Acquire the device or file without delivering audio yet. Throws `SourceError`. */
  open(): Promise<void>;
  /** Begin to deliver audio; a clip begins at `seconds`. */
  start(events: AudioSourceEvents, seconds: number): void;
  /** Resolve when everything captured before the call has been delivered. */
  pause(): Promise<void>;
  /** Throws `SourceError`. */
  resume(): Promise<void>;
  /** Release the device; resolve when everything captured has been delivered. */
  close(): Promise<void>;
}

/** A source that could not be opened; `problem` can be shown as it is. */
export class SourceError extends Error {
  constructor(readonly problem: Problem) {
    super(problem.message);
  }
}
