// The server's REST interface. Every failure is a `RequestError` with a message for the user.

import { EventSourceParserStream } from "eventsource-parser/stream";
import type {
  AnswerEnd,
  AnswerSentence,
  Delivery,
  Integration,
  KnownVoice,
  Meeting,
  MeetingDocument,
  MeetingOptions,
  MeetingPage,
  MetricsReport,
  Minutes,
  MinutesOptions,
  MinutesVersion,
  ModelCall,
  Preferences,
  Problem,
  RewriteOptions,
  ServerInfo,
  Session,
  ShareLink,
  Transcript,
} from "./types";
import { meetingPath } from "./urls";

/** A failed request; `problem` can be shown as it is. */
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

/** Return the problem to show for anything that was thrown. */
export function problemOf(error: unknown): Problem {
  if (error instanceof RequestError) return error.problem;
  return { code: "unexpected", message: "Something unexpected happened in this page.", remedy: "Reload it." };
}

/** `listener` is called for every answer 401: the token is missing, wrong or expired. */
export const unauthenticated: { listener: () => void } = { listener: () => undefined };

export const getSession = (): Promise<Session> => json("/api/session");

/** Sign in with an operator's token or that of a share link; the server stores it in an HTTP-only cookie. */
export const signIn = (token: string): Promise<Session> => json("/api/session", jsonBody("POST", { token }));

export async function signOut(): Promise<void> {
  await request("/api/session", { method: "DELETE" });
}

/** Create a link that opens a meeting for reading. */
export const createShare = (id: string, hours: number): Promise<ShareLink> =>
  json(`${meetingPath(id)}/shares`, jsonBody("POST", { hours }));

export const listShares = (id: string): Promise<ShareLink[]> => json(`${meetingPath(id)}/shares`);

export async function revokeShare(id: string, share: string): Promise<void> {
  await request(`${meetingPath(id)}/shares/${encodeURIComponent(share)}`, { method: "DELETE" });
}

/** Take a range off the record, for good. */
export const redactRange = (id: string, start_ms: number, end_ms: number): Promise<MeetingDocument> =>
  json(`${meetingPath(id)}/forget`, jsonBody("POST", { start_ms, end_ms }));

/** Correct when a meeting began; `beganAt` is ISO 8601 with an offset. */
export const correctStart = (id: string, beganAt: string): Promise<Meeting> =>
  json(meetingPath(id), jsonBody("PATCH", { began_at: beganAt }));

/** End a meeting that records, whoever records it. */
export const endMeeting = (id: string): Promise<Meeting> => json(`${meetingPath(id)}/end`, { method: "POST" });

export const retryMeeting = (id: string): Promise<Meeting> => json(`${meetingPath(id)}/retry`, { method: "POST" });

export const getInfo = (): Promise<ServerInfo> => json("/api/info");

/** Return the server's metrics; for administrators. */
export const getMetrics = (): Promise<MetricsReport> => json("/api/figures");

export function listMeetings(before: string | null, limit = 25): Promise<MeetingPage> {
  const query = new URLSearchParams({ limit: String(limit) });
  if (before !== null) query.set("before", before);
  return json(`/api/meetings?${query}`);
}

export const readMeeting = (id: string): Promise<MeetingDocument> => json(meetingPath(id));

export const renameMeeting = (id: string, title: string): Promise<Meeting> =>
  json(meetingPath(id), jsonBody("PATCH", { title }));

/** Name a speaker; an empty name removes the name. */
export const renameSpeaker = (id: string, label: string, name: string): Promise<Transcript> =>
  json(`${meetingPath(id)}/speakers/${encodeURIComponent(label)}`, jsonBody("PATCH", { name: name || null }));

export const mergeSpeakers = (id: string, label: string, into: string): Promise<Transcript> =>
  json(`${meetingPath(id)}/speakers/${encodeURIComponent(label)}/merge`, jsonBody("POST", { into }));

/** Assign utterances to a speaker: a label, `new` for a further person (with a name, if known), or null for unknown. */
export const assignUtterances = (
  id: string,
  utterances: readonly number[],
  speaker: string | null,
  name: string,
): Promise<Transcript> =>
  json(`${meetingPath(id)}/speakers`, jsonBody("POST", { utterances, speaker, name: name.trim() || null }));

/** Split an utterance before a word, counted from 0. */
export const splitUtterance = (id: string, utterance: number, word: number): Promise<Transcript> =>
  json(`${meetingPath(id)}/utterances/${utterance}/split`, jsonBody("POST", { word }));

export const rememberVoice = (id: string, speaker: string, name: string): Promise<KnownVoice> =>
  json(`${meetingPath(id)}/voices`, jsonBody("POST", { speaker, name }));

export const listVoices = async (): Promise<KnownVoice[]> => (await json<{ voices: KnownVoice[] }>("/api/voices")).voices;

export async function forgetVoice(id: string): Promise<void> {
  await request(`/api/voices/${encodeURIComponent(id)}`, { method: "DELETE" });
}

/** Keep a meeting from language models outside the operator's machines, for good. */
export const keepLocal = (id: string): Promise<Meeting> =>
  json(`${meetingPath(id)}/local-only`, jsonBody("POST", { local_only: true }));

export const listModelCalls = (id: string): Promise<ModelCall[]> => json(`${meetingPath(id)}/llm-calls`);

export const getPreferences = (): Promise<Preferences> => json("/api/preferences");

export const setPreferences = (preferences: Preferences): Promise<Preferences> =>
  json("/api/preferences", jsonBody("PUT", preferences));

export const getMinutesOptions = (): Promise<MinutesOptions> => json("/api/minutes-options");

/** Start to rewrite the minutes; the meeting's events announce the result. */
export async function rewriteMinutes(id: string, options: RewriteOptions): Promise<void> {
  await request(`${meetingPath(id)}/minutes`, jsonBody("POST", options));
}

export const listIntegrations = (): Promise<Integration[]> => json("/api/integrations");

export const testIntegration = (name: string): Promise<{ message: string }> =>
  json(`/api/integrations/${encodeURIComponent(name)}/test`, { method: "POST" });

export const listDeliveries = (id: string): Promise<Delivery[]> => json(`${meetingPath(id)}/deliveries`);

/** Plan deliveries for what is new since the last plan; they are proposed or sent. */
export const planDeliveries = (id: string): Promise<Delivery[]> =>
  json(`${meetingPath(id)}/deliveries`, { method: "POST" });

export const decideDelivery = (
  id: string,
  delivery: string,
  decision: "approve" | "dismiss" | "retry",
): Promise<Delivery> =>
  json(`${meetingPath(id)}/deliveries/${encodeURIComponent(delivery)}/${decision}`, { method: "POST" });

export const listMinutesVersions = (id: string): Promise<MinutesVersion[]> => json(`${meetingPath(id)}/minutes`);

/** Make an earlier version of the minutes the newest. */
export const restoreMinutes = (id: string, version: number): Promise<Minutes> =>
  json(`${meetingPath(id)}/minutes/${version}/restore`, { method: "POST" });

export const changeItem = (id: string, version: number, item: string, text: string): Promise<Minutes> =>
  json(itemPath(id, version, item), jsonBody("PATCH", { text }));

export const removeItem = (id: string, version: number, item: string): Promise<Minutes> =>
  json(itemPath(id, version, item), { method: "DELETE" });

const itemPath = (id: string, version: number, item: string): string =>
  `${meetingPath(id)}/minutes/items/${encodeURIComponent(item)}?version=${version}`;

/** Ask about one meeting, or about all (`null`). Calls `onSentence` for each sentence as it arrives; returns the end. */
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
  const events = response.body.pipeThrough(new TextDecoderStream()).pipeThrough(new EventSourceParserStream());
  for (const reader = events.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) throw new RequestError(UNREACHABLE, 0);
    const part = JSON.parse(value.data) as AnswerSentence | AnswerEnd;
    if (part.type === "end") return part;
    onSentence(part);
  }
}

export async function deleteMeeting(id: string): Promise<void> {
  await request(meetingPath(id), { method: "DELETE" });
}

/** Return the sample meeting as a FLAC file. */
export const fetchSample = async (): Promise<ArrayBuffer> => (await request("/api/demo/audio.flac")).arrayBuffer();

/** Upload a file; `onProgress` receives the share sent, 0..1. `XMLHttpRequest`, as `fetch` reports no progress. */
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
  if (options.vocabulary.length > 0) form.set("vocabulary", options.vocabulary.join(", "));
  // When and where it was recorded, if the file itself does not say it.
  form.set("file_modified_at_ms", String(file.lastModified));
  form.set("time_zone", Intl.DateTimeFormat().resolvedOptions().timeZone);
  form.set("utc_offset_minutes", String(utcOffsetMinutes()));
  return new Promise((resolve, reject) => {
    const xhr = new XMLHttpRequest();
    xhr.open("POST", "/api/meetings");
    xhr.responseType = "text";
    xhr.upload.onprogress = (event) => onProgress(event.lengthComputable ? event.loaded / event.total : 0);
    xhr.onload = () => {
      if (xhr.status === 201) resolve(JSON.parse(xhr.responseText) as Meeting);
      else reject(new RequestError(problemIn(xhr.responseText, xhr.status), xhr.status));
    };
    xhr.onerror = () => reject(new RequestError(UNREACHABLE, 0));
    xhr.onabort = () => reject(new DOMException("Cancelled", "AbortError"));
    signal.addEventListener("abort", () => xhr.abort(), { once: true });
    xhr.send(form);
  });
}

/** Return the present offset of the local time zone, in minutes east of UTC. */
export const utcOffsetMinutes = (): number => -new Date().getTimezoneOffset();

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
  if (response.status === 401 && path !== "/api/session") unauthenticated.listener();
  if (!response.ok) throw new RequestError(problemIn(await response.text(), response.status), response.status);
  return response;
}

function problemIn(body: string, status: number): Problem {
  try {
    const { error } = JSON.parse(body) as { error: Problem };
    if (typeof error.message === "string") return error;
  } catch {
    // Not the server's own answer: that of a proxy, or of a server that is starting.
  }
  return { code: `http_${status}`, message: `The server answered with an error (${status}).`, remedy: "Try again." };
}
