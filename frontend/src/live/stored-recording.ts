// Which meeting this browser records, so that a reload, another tab or a later visit can resume or end it. Nothing that
// was said is stored here.

import type { Channels } from "./audio-source";

const KEY = "meeting-assistant.recording";
/** A tab that has written nothing for this long records no more: it was closed, or has crashed. */
const ALIVE_MS = 15_000;

export interface StoredRecording {
  meetingId: string;
  kind: "microphone" | "sample";
  title: string;
  /** Hz of the audio that this browser stores for the meeting; 0 when it has none. */
  sampleRate: number;
  channels: Channels;
  /** When audio came last, in milliseconds since the epoch; null when this browser does not know. */
  lastAudioAt: number | null;
  /** When the recording tab last showed a sign of life; 0 after it was left. */
  aliveAt: number;
}

export function saveRecording(stored: StoredRecording): void {
  try {
    localStorage.setItem(KEY, JSON.stringify(stored));
  } catch {
    // Storage is disabled; a meeting can still be resumed from its own page.
  }
}

export function loadRecording(): StoredRecording | null {
  try {
    const stored = JSON.parse(localStorage.getItem(KEY) ?? "null") as Partial<StoredRecording> | null;
    if (typeof stored?.meetingId !== "string") return null;
    return { kind: "microphone", title: "", sampleRate: 0, channels: 1, lastAudioAt: null, aliveAt: 0, ...stored } as StoredRecording;
  } catch {
    return null;
  }
}

/** Another tab of this browser records at the moment. */
export const isAlive = ({ aliveAt }: StoredRecording, now = Date.now()): boolean => now - aliveAt < ALIVE_MS;

/** Forget the recording of this meeting. */
export function clearRecording(meetingId: string | null): void {
  try {
    // Another tab may have begun another one meanwhile.
    if (loadRecording()?.meetingId === meetingId) localStorage.removeItem(KEY);
  } catch {
    // As above.
  }
}
