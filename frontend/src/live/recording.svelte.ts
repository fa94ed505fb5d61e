// The one recording that this page may hold.

import type { MeetingOptions } from "../api/types";
import type { Channels } from "./source";
import { goTo } from "../routing.svelte";
import { LiveSession } from "./live-session.svelte";
import { recall } from "./tab-session";

/** It is nobody's meeting: nobody is told of it. */
const SAMPLE = { title: "Sample meeting", workflows: [] };
const NO_OPTIONS: MeetingOptions = { title: "", attendees: [], vocabulary: [], local_only: false };

class Recording {
  session = $state.raw<LiveSession | null>(null);

  /** True while leaving the page would lose or interrupt something. */
  get isRunning(): boolean {
    return this.session !== null && ["recording", "paused", "stopping"].includes(this.session.phase);
  }

  start(kind: "microphone" | "sample", options: MeetingOptions, channels: Channels = 1): void {
    if (!this.isRunning) {
      const wishes = kind === "sample" ? { ...NO_OPTIONS, ...SAMPLE } : options;
      this.session = new LiveSession(kind, wishes, null, channels);
      void this.session.begin();
    }
    goTo("#/live");
  }

  /** The computer's sound could not be had: the same meeting without it. */
  startAlone(): void {
    if (this.session !== null) this.start("microphone", this.session.options);
  }

  /** Go on with the meeting that this tab recorded before it was reloaded. */
  takeUp(): void {
    const before = recall();
    if (before === null) return;
    this.session = new LiveSession(before.kind, NO_OPTIONS, before);
    void this.session.begin();
  }

  /** End that meeting instead. */
  endTakenUp(): void {
    const before = recall();
    if (before === null) return;
    this.session = new LiveSession(before.kind, NO_OPTIONS, before);
    void this.session.endTakenUp();
  }

  dismiss(): void {
    this.session = null;
  }
}

export const recording = new Recording();
