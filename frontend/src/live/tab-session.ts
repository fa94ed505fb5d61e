// Which meeting this tab records, so that a reload can resume it. Nothing that was said is stored here.

import type { Channels } from "./audio-source";

const KEY = "meeting-assistant.recording";

export interface TabSession {
  meetingId: string;
  kind: "microphone" | "sample";
  title: string;
  /** Hz of the audio that this browser stores for the meeting. */
  sampleRate: number;
  channels: Channels;
}

export function saveTabSession(session: TabSession): void {
  try {
    sessionStorage.setItem(KEY, JSON.stringify(session));
  } catch {
    // Storage is disabled; a reload then opens the list of meetings instead.
  }
}

export function loadTabSession(): TabSession | null {
  try {
    const stored = JSON.parse(sessionStorage.getItem(KEY) ?? "null") as Partial<TabSession> | null;
    // Versions without a second channel did not store the number of channels.
    return stored === null ? null : ({ channels: 1, ...stored } as TabSession);
  } catch {
    return null;
  }
}

export function clearTabSession(): void {
  try {
    sessionStorage.removeItem(KEY);
  } catch {
    // As above.
  }
}
