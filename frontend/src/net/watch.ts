// Reading along: a meeting's events, from wherever it is recorded or worked on.

import type { ServerMessage } from "../api/messages";
import { socketUrl } from "../api/rest";
import { backoffMs, FINAL_CLOSE_CODES } from "./retry";

/** A number that no event has: what came before is known, what happens after the meeting is told. */
export const AFTER_FINAL = Number.MAX_SAFE_INTEGER;

/** Watch a meeting until `final` or until the returned function is called. */
export function watchMeeting(
  meetingId: string,
  lastSeq: () => number,
  onMessage: (message: ServerMessage) => void,
): () => void {
  let socket: WebSocket | null = null;
  let retry: ReturnType<typeof setTimeout> | undefined;
  let attempt = 0;
  let isOver = false;

  const connect = (): void => {
    const path = `/ws/meetings/${encodeURIComponent(meetingId)}/events?last_seq=${lastSeq()}`;
    socket = new WebSocket(socketUrl(path));
    socket.onmessage = (event) => {
      if (isOver) return;
      attempt = 0;
      const message = JSON.parse(String(event.data)) as ServerMessage;
      if (message.type === "final") isOver = true;
      onMessage(message);
    };
    socket.onclose = (event) => {
      if (isOver || FINAL_CLOSE_CODES.has(event.code)) return;
      retry = setTimeout(connect, backoffMs(attempt));
      attempt += 1;
    };
  };

  connect();
  return () => {
    isOver = true;
    clearTimeout(retry);
    socket?.close();
  };
}
