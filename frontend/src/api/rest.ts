// The server's REST interface. Every failure is a `RequestError` with words for people.

import type {
  KnownVoice,
  AnswerEnd,
  AnswerSentence,
  Delivery,
  FiguresAnswer,
  Integration,
  Meeting,
  MeetingDocument,
  MeetingOptions,
  MeetingPage,
  Minutes,
  MinutesVersion,
  ModelCall,
  Preferences,
  Problem,
  ServerInfo,
  Session,
  ShareLink,
  Transcript,
  WritingOptions,
} from "./types";

/** A request that did not succeed; `problem` can be shown as it is. */
export class RequestError extends Error {
  constructor(
    readonly problem: Problem,
    readonly status: number,
  ) {
    super(problem.message);
  }
}

const UNREACHABLE: Problem = {
  code: "unreachable",
  message: "The server cannot be reached.",
  remedy: "Check that it is still running, then try again.",
};

/** What to show for anything that was thrown. */
export function problemOf(error: unknown): Problem {
  if (error instanceof RequestError) return error.problem;
  return { code: "unexpected", message: "Something unexpected happened in this page.", remedy: "Reload it." };
}

/** Told of every answer 401: the token is gone, or was never there. */
export const onUnauthenticated: { listener: () => void } = { listener: () => undefined };

export const getSession = (): Promise<Session> => json("/api/session");

/** A token of the server's operator, or that of a share link; kept in a cookie that this page cannot read. */
export const signIn = (token: string): Promise<Session> => json("/api/session", jsonBody("POST", { token }));

export async function signOut(): Promise<void> {
  await request("/api/session", { method: "DELETE" });
}

export const shareMeeting = (id: string, hours: number): Promise<ShareLink> =>
  json(`${meetingPath(id)}/shares`, jsonBody("POST", { hours }));

export const listShares = (id: string): Promise<ShareLink[]> => json(`${meetingPath(id)}/shares`);

export async function withdrawShare(id: string, share: string): Promise<void> {
  await request(`${meetingPath(id)}/shares/${encodeURIComponent(share)}`, { method: "DELETE" });
}

/** Take a stretch off the record, for good. */
export const forgetStretch = (id: string, start_ms: number, end_ms: number): Promise<MeetingDocument> =>
  json(`${meetingPath(id)}/forget`, jsonBody("POST", { start_ms, end_ms }));

export const retryMeeting = (id: string): Promise<Meeting> => json(`${meetingPath(id)}/retry`, { method: "POST" });

export const getInfo = (): Promise<ServerInfo> => json("/api/info");

/** What the server's operator watches; for administrators. */
export const getFigures = (): Promise<FiguresAnswer> => json("/api/figures");

export function listMeetings(before: string | null, limit = 25): Promise<MeetingPage> {
  const query = new URLSearchParams({ limit: String(limit) });
  if (before !== null) query.set("before", before);
  return json(`/api/meetings?${query}`);
}

export const readMeeting = (id: string): Promise<MeetingDocument> => json(meetingPath(id));

export const renameMeeting = (id: string, title: string): Promise<Meeting> =>
  json(meetingPath(id), jsonBody("PATCH", { title }));

/** An empty name takes the name away. */
export const renameSpeaker = (id: string, label: string, name: string): Promise<Transcript> =>
  json(`${meetingPath(id)}/speakers/${encodeURIComponent(label)}`, jsonBody("PATCH", { name: name || null }));

export const mergeSpeakers = (id: string, label: string, into: string): Promise<Transcript> =>
  json(`${meetingPath(id)}/speakers/${encodeURIComponent(label)}/merge`, jsonBody("POST", { into }));

/** `speaker` is a label, `new` for somebody else (with a name, if there is one), or null for unknown. */
export const assignUtterances = (
  id: string,
  utterances: readonly number[],
  speaker: string | null,
  name: string,
): Promise<Transcript> =>
  json(`${meetingPath(id)}/speakers`, jsonBody("POST", { utterances, speaker, name: name.trim() || null }));

/** Cut it before that word, counted from 0. */
export const splitUtterance = (id: string, utterance: number, word: number): Promise<Transcript> =>
  json(`${meetingPath(id)}/utterances/${utterance}/split`, jsonBody("POST", { word }));

export const rememberVoice = (id: string, speaker: string, name: string): Promise<KnownVoice> =>
  json(`${meetingPath(id)}/voices`, jsonBody("POST", { speaker, name }));

export const listVoices = async (): Promise<KnownVoice[]> => (await json<{ voices: KnownVoice[] }>("/api/voices")).voices;

export async function forgetVoice(id: string): Promise<void> {
  await request(`/api/voices/${encodeURIComponent(id)}`, { method: "DELETE" });
}

/** For good: no language model outside the operator's machines sees it any more. */
export const keepLocal = (id: string): Promise<Meeting> =>
  json(`${meetingPath(id)}/local-only`, jsonBody("POST", { local_only: true }));

export const listModelCalls = (id: string): Promise<ModelCall[]> => json(`${meetingPath(id)}/llm-calls`);

export const getPreferences = (): Promise<Preferences> => json("/api/preferences");

export const setPreferences = (chosen: Preferences): Promise<Preferences> =>
  json("/api/preferences", jsonBody("PUT", chosen));

export const getWritingOptions = (): Promise<WritingOptions> => json("/api/minutes-options");

/** Begins it; who watches the meeting is told when it is done. */
export async function writeMinutesAgain(
  id: string,
  how: { template?: string; language?: string; llm_provider?: string },
): Promise<void> {
  await request(`${meetingPath(id)}/minutes`, jsonBody("POST", how));
}

export const listIntegrations = (): Promise<Integration[]> => json("/api/integrations");

export const testIntegration = (name: string): Promise<{ message: string }> =>
  json(`/api/integrations/${encodeURIComponent(name)}/test`, { method: "POST" });

export const listDeliveries = (id: string): Promise<Delivery[]> => json(`${meetingPath(id)}/deliveries`);

/** What is new since it was planned last is proposed or delivered. */
export const planDeliveries = (id: string): Promise<Delivery[]> =>
  json(`${meetingPath(id)}/deliveries`, { method: "POST" });

export const decideDelivery = (id: string, delivery: string, verb: "approve" | "dismiss" | "retry"): Promise<Delivery> =>
  json(`${meetingPath(id)}/deliveries/${encodeURIComponent(delivery)}/${verb}`, { method: "POST" });

export const calendarUrl = (id: string): string => `${meetingPath(id)}/calendar.ics`;

export const listVersions = (id: string): Promise<MinutesVersion[]> => json(`${meetingPath(id)}/minutes`);

/** An earlier version becomes the newest. */
export const restoreMinutes = (id: string, version: number): Promise<Minutes> =>
  json(`${meetingPath(id)}/minutes/${version}/restore`, { method: "POST" });

export const changeItem = (id: string, version: number, item: string, text: string): Promise<Minutes> =>
  json(itemPath(id, version, item), jsonBody("PATCH", { text }));

export const removeItem = (id: string, version: number, item: string): Promise<Minutes> =>
  json(itemPath(id, version, item), { method: "DELETE" });

const itemPath = (id: string, version: number, item: string): string =>
  `${meetingPath(id)}/minutes/items/${encodeURIComponent(item)}?version=${version}`;

/** Ask about one meeting, or about all (`null`); sentences are given as they come. */
export async function ask(
  id: string | null,
  question: string,
  onSentence: (sentence: AnswerSentence) => void,
  signal: AbortSignal,
): Promise<AnswerEnd> {
  const { headers, ...init } = jsonBody("POST", { question });
  const response = await request(id === null ? "/api/ask" : `${meetingPath(id)}/ask`, {
    ...init,
    headers: { ...(headers as Record<string, string>), Accept: "text/event-stream" },
    signal,
  });
  if (response.body === null) throw new RequestError(UNREACHABLE, 0);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let waiting = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) throw new RequestError(UNREACHABLE, 0);
    waiting += value;
    const events = waiting.split("\n\n");
    waiting = events.pop() ?? "";
    for (const event of events) {
      const data = event.split("\n").find((line) => line.startsWith("data: "));
      if (data === undefined) continue;
      const piece = JSON.parse(data.slice(6)) as AnswerSentence | AnswerEnd;
      if (piece.type === "end") return piece;
      onSentence(piece);
    }
  }
}

export async function deleteMeeting(id: string): Promise<void> {
  await request(meetingPath(id), { method: "DELETE" });
}

export const exportUrl = (id: string, format: string): string => `${meetingPath(id)}/export?format=${format}`;
export const audioUrl = (id: string): string => `${meetingPath(id)}/audio.wav`;

/** The sample meeting as a compressed file. */
export const fetchSample = async (): Promise<ArrayBuffer> => (await request("/api/demo/audio.flac")).arrayBuffer();

/** Send a file; `onProgress` is told the share sent, 0..1. `XMLHttpRequest`, because `fetch` tells no progress. */
export function uploadRecording(
  file: File,
  options: MeetingOptions,
  onProgress: (share: number) => void,
  signal: AbortSignal,
): Promise<Meeting> {
  const form = new FormData();
  form.set("file", file);
  if (options.title) form.set("title", options.title);
  if (options.local_only) form.set("local_only", "true");
  if (options.workflows !== undefined) form.set("workflows", options.workflows.join(","));
  if (options.attendees.length > 0) form.set("attendees", options.attendees.join(", "));
  form.set("utc_offset_minutes", String(utcOffsetMinutes()));
  return new Promise((resolve, reject) => {
    const sending = new XMLHttpRequest();
    sending.open("POST", "/api/meetings");
    sending.responseType = "text";
    sending.upload.onprogress = (event) => onProgress(event.lengthComputable ? event.loaded / event.total : 0);
    sending.onload = () => {
      if (sending.status === 201) resolve(JSON.parse(sending.responseText) as Meeting);
      else reject(new RequestError(problemIn(sending.responseText, sending.status), sending.status));
    };
    sending.onerror = () => reject(new RequestError(UNREACHABLE, 0));
    sending.onabort = () => reject(new DOMException("Cancelled", "AbortError"));
    signal.addEventListener("abort", () => sending.abort(), { once: true });
    sending.send(form);
  });
}

/** Minutes east of UTC at this place, now. */
export const utcOffsetMinutes = (): number => -new Date().getTimezoneOffset();

/** The address of a socket on this server. */
export function socketUrl(path: string): string {
  const url = new URL(path, location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  url.hash = "";
  return url.href;
}

const meetingPath = (id: string): string => `/api/meetings/${encodeURIComponent(id)}`;

const jsonBody = (method: string, body: unknown): RequestInit => ({
  method,
  body: JSON.stringify(body),
  headers: { "Content-Type": "application/json" },
});

const json = async <T>(path: string, init?: RequestInit): Promise<T> =>
  (await (await request(path, init)).json()) as T;

async function request(path: string, init?: RequestInit): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(path, init);
  } catch {
    throw new RequestError(UNREACHABLE, 0);
  }
  if (response.status === 401 && path !== "/api/session") onUnauthenticated.listener();
  if (!response.ok) throw new RequestError(problemIn(await response.text(), response.status), response.status);
  return response;
}

function problemIn(body: string, status: number): Problem {
  try {
    const { error } = JSON.parse(body) as { error: Problem };
    if (typeof error.message === "string") return error;
  } catch {
    // Not ours: a proxy, or a server that is starting.
  }
  return { code: `http_${status}`, message: `The server answered with an error (${status}).`, remedy: "Try again." };
}
