// What a reload must not forget: which meeting this tab records. Nothing that was said is kept here.

import type { Channels } from "./source";

const KEY = "meeting-assistant.recording";

export interface Remembered {
  meetingId: string;
  kind: "microphone" | "sample";
  title: string;
  /** Of the sound that is kept for it. */
  sampleRate: number;
  channels: Channels;
}

export function remember(recording: Remembered): void {
  try {
    sessionStorage.setItem(KEY, JSON.stringify(recording));
  } catch {
    // Storage is off; a reload then opens the list instead.
  }
}

export function recall(): Remembered | null {
  try {
    const kept = JSON.parse(sessionStorage.getItem(KEY) ?? "null") as Partial<Remembered> | null;
    // A page from before there were two channels knew one.
    return kept === null ? null : ({ channels: 1, ...kept } as Remembered);
  } catch {
    return null;
  }
}

export function forget(): void {
  try {
    sessionStorage.removeItem(KEY);
  } catch {
    // As above.
  }
}
