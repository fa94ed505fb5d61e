// Following a meeting: its events, from whichever page or worker they come.

import type { ServerMessage } from "../api/types";
import { backoffMs, FINAL_CLOSE_CODES } from "../api/retry";
import { socketUrl } from "../api/urls";

/** Follow a meeting until the returned function is called.
 *
 * Events continue after the end of a meeting: speakers may be identified later, and minutes are rewritten. `onReconnect`
 * is called when a lost connection is back; transient events that passed meanwhile are not repeated. */
export function watchMeeting(
  meetingId: string,
  lastSeq: () => number,
  onMessage: (message: ServerMessage) => void,
  onReconnect: () => void,
): () => void {
  let socket: WebSocket | null = null;
  let reconnectTimer: ReturnType<typeof setTimeout> | undefined;
  let attempt = 0;
  let isClosed = false;
  let isLost = false;

  const connect = (): void => {
    const path = `/ws/meetings/${encodeURIComponent(meetingId)}/events?last_seq=${lastSeq()}`;
    socket = new WebSocket(socketUrl(path));
    socket.onopen = () => {
      if (isLost) onReconnect();
      isLost = false;
    };
    socket.onmessage = (event) => {
      if (isClosed) return;
      const message = JSON.parse(String(event.data)) as ServerMessage;
      if (message.type !== "error") attempt = 0;
      onMessage(message);
    };
    socket.onclose = (event) => {
      if (isClosed || FINAL_CLOSE_CODES.has(event.code)) return;
      // The server closes normally after `final`; the next connection delivers what follows it.
      isLost = event.code !== 1000;
      reconnectTimer = setTimeout(connect, backoffMs(attempt));
      attempt += 1;
    };
  };

  connect();
  return () => {
    isClosed = true;
    clearTimeout(reconnectTimer);
    socket?.close();
  };
}
