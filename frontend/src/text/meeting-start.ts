// When a meeting began, on the clocks of the place where it was held.

import type { Meeting } from "../api/types";
import { moment } from "./format";

type Start = Pick<Meeting, "began_at_ms" | "utc_offset_minutes">;

const SOURCES: Record<Meeting["began_at_source"], string> = {
  clock: "recorded by this server",
  client: "stated by whoever recorded or uploaded it",
  metadata: "read from the file's own data",
  file: "the time at which the file was last changed",
  upload: "the time of the upload: the file does not say when it was recorded",
  person: "set by hand",
};

/** Describe where the start is known from. */
export const startSource = ({ began_at_source }: Pick<Meeting, "began_at_source">): string => SOURCES[began_at_source];

/** Offsets that are in use somewhere, in minutes east of UTC. */
export const OFFSETS: readonly number[] = [
  -720, -660, -600, -570, -540, -480, -420, -360, -300, -240, -210, -180, -120, -60, 0, 60, 120, 180, 210, 240, 270, 300,
  330, 345, 360, 390, 420, 480, 525, 540, 570, 600, 630, 660, 720, 765, 780, 840,
];

/** Format an offset: `UTC+05:30`. */
export function offsetName(minutes: number): string {
  const [hours, rest] = [Math.floor(Math.abs(minutes) / 60), Math.abs(minutes) % 60];
  return `UTC${minutes < 0 ? "−" : "+"}${String(hours).padStart(2, "0")}:${String(rest).padStart(2, "0")}`;
}

/** Format the start in the meeting's own time zone, which is named where the reader's differs. */
export function meetingMoment(start: Start, now = new Date()): string {
  const there = new Date(start.began_at_ms + shiftMs(start));
  const zone = shiftMs(start) === 0 ? "" : ` (${offsetName(start.utc_offset_minutes)})`;
  return moment(there.getTime(), now) + zone;
}

/** Return the start as the value of an `<input type="datetime-local">`, in the meeting's own time zone. */
export const localInput = ({ began_at_ms, utc_offset_minutes }: Start): string =>
  new Date(began_at_ms + utc_offset_minutes * 60_000).toISOString().slice(0, 16);

/** Return what the server takes for a local time at an offset: ISO 8601. */
export const withOffset = (local: string, minutes: number): string =>
  local + offsetName(minutes).replace("UTC", "").replace("−", "-");

/** Return how far the clocks of the meeting are ahead of the reader's. */
function shiftMs({ began_at_ms, utc_offset_minutes }: Start): number {
  return (utc_offset_minutes + new Date(began_at_ms).getTimezoneOffset()) * 60_000;
}
