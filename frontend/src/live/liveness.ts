// The sign of life of a recording tab, and the times in which it recorded nothing although it should have.

import { saveRecording, type StoredRecording } from "./stored-recording";

const SAVE_EVERY_MS = 2000;
/** Audio comes ten times a second; a longer silence of the source means that the computer slept. */
const ASLEEP_MS = 3000;

export class Liveness {
  private recording: Omit<StoredRecording, "lastAudioAt" | "aliveAt"> | null = null;
  private lastAudioAt: number | null = null;
  private savedAt = 0;
  private timer: ReturnType<typeof setInterval> | undefined;
  private readonly onLeave = (): void => this.save(0);


  /** Store from now on what is recorded, until `end`. */
  begin(recording: Omit<StoredRecording, "lastAudioAt" | "aliveAt">): void {
    this.recording = recording;
    if (this.timer === undefined) {
      this.timer = setInterval(() => this.save(), SAVE_EVERY_MS);
      addEventListener("pagehide", this.onLeave);
    }
    this.save();
  }

  /** Note that audio has come. Returns how long none came, where that was longer than it should have been. */
  audio(now = Date.now()): number | null {
    const missing = this.lastAudioAt === null ? 0 : now - this.lastAudioAt;
    this.lastAudioAt = now;
    // Timers are slow in a hidden tab; audio is not.
    if (now - this.savedAt > SAVE_EVERY_MS) this.save(now);
    return missing > ASLEEP_MS ? missing : null;
  }

  /** No audio is expected: it is paused, or waits for its source. */
  rest(): void {
    this.lastAudioAt = null;
  }

  end(): void {
    clearInterval(this.timer);
    this.timer = undefined;
    removeEventListener("pagehide", this.onLeave);
    this.recording = null;
  }

  private save(aliveAt = Date.now()): void {
    if (this.recording === null) return;
    this.savedAt = aliveAt;
    saveRecording({ ...this.recording, lastAudioAt: this.lastAudioAt, aliveAt });
  }
}
