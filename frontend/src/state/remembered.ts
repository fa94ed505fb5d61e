// What a reload must not forget: which meeting this tab records. Nothing that was said is kept here.

const KEY = "meeting-assistant.recording";

export interface Remembered {
  meetingId: string;
  kind: "microphone" | "sample";
  title: string;
  /** Of the sound that is kept for it. */
  sampleRate: number;
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
    return JSON.parse(sessionStorage.getItem(KEY) ?? "null") as Remembered | null;
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
