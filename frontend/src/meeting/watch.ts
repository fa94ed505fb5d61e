// Reading along: a meeting's events, from wherever it is recorded or worked on.

import type { ServerMessage } from "../api/messages";
import { socketUrl } from "../api/rest";
import { backoffMs, FINAL_CLOSE_CODES } from "../api/retry";

/** Watch a meeting until the returned function is called. Its end is not the end: who said it may be found out later,
 * and minutes are written anew. `onReturn` is called when a lost socket is back: what passed meanwhile is not told. */
export function watchMeeting(
  meetingId: string,
  lastSeq: () => number,
  onMessage: (message: ServerMessage) => void,
  onReturn: () => void,
): () => void {
  let socket: WebSocket | null = null;
  let retry: ReturnType<typeof setTimeout> | undefined;
  let attempt = 0;
  let isOver = false;
  let isLost = false;

  const connect = (): void => {
    const path = `/ws/meetings/${encodeURIComponent(meetingId)}/events?last_seq=${lastSeq()}`;
    socket = new WebSocket(socketUrl(path));
    socket.onopen = () => {
      if (isLost) onReturn();
      isLost = false;
    };
    socket.onmessage = (event) => {
      if (isOver) return;
      const message = JSON.parse(String(event.data)) as ServerMessage;
      if (message.type !== "error") attempt = 0;
      onMessage(message);
    };
    socket.onclose = (event) => {
      if (isOver || FINAL_CLOSE_CODES.has(event.code)) return;
      // After `final` the server closes; watched on from there, it tells what still comes.
      isLost = event.code !== 1000;
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
