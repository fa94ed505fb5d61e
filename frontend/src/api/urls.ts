// Addresses on the server.

export const meetingPath = (id: string): string => `/api/meetings/${encodeURIComponent(id)}`;

export const exportUrl = (id: string, format: string): string => `${meetingPath(id)}/export?format=${format}`;

export const audioUrl = (id: string): string => `${meetingPath(id)}/audio.wav`;

export const calendarUrl = (id: string): string => `${meetingPath(id)}/calendar.ics`;

/** Return the address of a WebSocket on this server. */
export function socketUrl(path: string): string {
  const url = new URL(path, location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  url.hash = "";
  return url.href;
}
