// The one recording that this page may hold.

import type { Meeting, MeetingOptions } from "../api/types";
import { goTo } from "../routing.svelte";
import type { Channels } from "./audio-source";
import { LiveSession } from "./live-session.svelte";
import { isAlive, loadRecording, type StoredRecording } from "./stored-recording";

const NO_OPTIONS: MeetingOptions = { title: "", attendees: [], vocabulary: [], local_only: false };
/** No integration receives the sample meeting. */
const SAMPLE_OPTIONS: MeetingOptions = { ...NO_OPTIONS, title: "Sample meeting", workflows: [] };

class Recording {
  session = $state.raw<LiveSession | null>(null);

  /** True while leaving the page would lose or interrupt something. */
  get isRunning(): boolean {
    return this.session !== null && ["recording", "paused", "stopping"].includes(this.session.phase);
  }

  /** The meeting that this browser recorded before its tab was reloaded or closed; null while one is recorded. */
  get interrupted(): StoredRecording | null {
    const stored = this.isRunning ? null : loadRecording();
    return stored === null || isAlive(stored) ? null : stored;
  }

  startMicrophone(options: MeetingOptions, channels: Channels): void {
    if (!this.isRunning) void this.open(new LiveSession("microphone", options, null, channels)).begin();
    goTo("#/live");
  }

  startSample(): void {
    if (!this.isRunning) void this.open(new LiveSession("sample", SAMPLE_OPTIONS)).begin();
    goTo("#/live");
  }

  /** Start the same meeting without the computer's audio, which could not be shared. */
  startMicrophoneOnly(): void {
    if (this.session !== null) this.startMicrophone(this.session.options, 1);
  }

  /** Continue the interrupted meeting. */
  resumeInterrupted(): void {
    void this.openInterrupted()?.begin();
  }

  /** Go on with a meeting that another window or device recorded. */
  resumeHere({ id, title, channels }: Pick<Meeting, "id" | "title" | "channels">): void {
    if (this.isRunning) return;
    const stored = loadRecording();
    const known: StoredRecording =
      stored?.meetingId === id
        ? stored
        : { meetingId: id, kind: "microphone", title, sampleRate: 0, channels: channels === 2 ? 2 : 1, lastAudioAt: null, aliveAt: 0 };
    void this.open(new LiveSession(known.kind, NO_OPTIONS, known)).begin();
    goTo("#/live");
  }

  /** End the interrupted meeting. */
  endInterrupted(): void {
    void this.openInterrupted()?.endInterrupted();
  }

  dismiss(): void {
    this.session = null;
  }

  private open(session: LiveSession): LiveSession {
    this.session = session;
    return session;
  }

  private openInterrupted(): LiveSession | null {
    const { interrupted } = this;
    if (interrupted === null) return null;
    goTo("#/live");
    return this.open(new LiveSession(interrupted.kind, NO_OPTIONS, interrupted));
  }
}

export const recording = new Recording();
