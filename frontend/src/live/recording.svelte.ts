// The one recording that this page may hold.

import type { MeetingOptions } from "../api/types";
import { goTo } from "../routing.svelte";
import type { Channels } from "./audio-source";
import { LiveSession } from "./live-session.svelte";
import { loadTabSession, type TabSession } from "./tab-session";

const NO_OPTIONS: MeetingOptions = { title: "", attendees: [], vocabulary: [], local_only: false };
/** No integration receives the sample meeting. */
const SAMPLE_OPTIONS: MeetingOptions = { ...NO_OPTIONS, title: "Sample meeting", workflows: [] };

class Recording {
  session = $state.raw<LiveSession | null>(null);

  /** True while leaving the page would lose or interrupt something. */
  get isRunning(): boolean {
    return this.session !== null && ["recording", "paused", "stopping"].includes(this.session.phase);
  }

  /** The meeting that this tab recorded before it was reloaded; null while one is recorded. */
  get interrupted(): TabSession | null {
    return this.isRunning ? null : loadTabSession();
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
