// The shapes of the server's domain (src/meeting_assistant/domain) as they come over the wire.
// Times are integer milliseconds from the start of the meeting.

export type MeetingState = "recording" | "processing" | "done" | "failed";

/** What went wrong and what to do about it, in words for people. */
export interface Problem {
  code: string;
  message: string;
  remedy: string;
}

export interface StageError extends Problem {
  stage: string;
}

/** Who the server takes this page for. */
export interface Session {
  access: "open" | "token";
  is_signed_in: boolean;
  owner: string;
  scopes: string[];
  /** Meetings that a link opened for this browser. */
  shared: string[];
}

export interface ShareLink {
  id: string;
  created_at_ms: number;
  expires_at_ms: number;
  /** Only in the answer that made it. */
  path: string | null;
}

export interface Coverage {
  captured_s: number;
  stored_s: number;
  transcribed_s: number;
  in_minutes_s: number;
  spoken_s: number;
}

export interface Bookmark {
  at_ms: number;
  note: string;
}

export interface Meeting {
  id: string;
  title: string;
  state: MeetingState;
  source: "live" | "upload";
  created_at_ms: number;
  utc_offset_minutes: number;
  duration_ms: number;
  /** With 2, the first is the person at the machine that records. */
  channels: number;
  language: string | null;
  vocabulary: string[];
  attendees: string[];
  engines: Record<string, string>;
  coverage: Coverage;
  errors: StageError[];
  bookmarks: Bookmark[];
  /** When the sound was destroyed; null while it is there. */
  sound_deleted_at_ms: number | null;
  /** No language model outside the operator's machines sees it. */
  local_only: boolean;
  template: string | null;
  minutes_language: string | null;
  llm_provider: string | null;
}

export interface Utterance {
  utterance: number;
  rev: number;
  start_ms: number;
  end_ms: number;
  /** A label such as `S1`; `S?` while that is still being found out; null when nobody can tell. */
  speaker: string | null;
  /** A person said who it was. */
  is_assigned: boolean;
  /** Somebody else speaks during a part of it. */
  overlap: boolean;
  /** What the other channel repeated of it, removed there. */
  echo: string | null;
  text: string;
  words: Word[];
}

/** As it is written, punctuation included. */
export interface Word {
  text: string;
  start_ms: number;
  end_ms: number;
}

export interface KnownVoice {
  id: string;
  name: string;
  spoken_ms: number;
  created_at_ms: number;
}

export interface Speaker {
  label: string;
  name: string | null;
}

export interface Gap {
  start_ms: number;
  end_ms: number;
  reason: string;
}

export interface Transcript {
  utterances: Utterance[];
  speakers: Speaker[];
  gaps: Gap[];
}

export interface Evidence {
  utterance: number;
  quote: string;
}

export interface Item {
  id: string;
  text: string;
  evidence: Evidence[];
  support: "verified" | "weak" | "by_hand";
  /** A person changed or wrote it; it stays when the minutes are written again. */
  is_edited: boolean;
}

export interface ActionItem extends Item {
  /** A speaker label or a name that was said. */
  owner: string | null;
  /** ISO date. */
  due: string | null;
  due_phrase: string | null;
}

/** Of a template: what stands in the way, for a stand-up. */
export interface MinutesSection {
  key: string;
  title: string;
  items: Item[];
}

export interface Minutes {
  version: number;
  template: string;
  language: string;
  sections: MinutesSection[];
  summary: Item[];
  topics: string[];
  decisions: Item[];
  action_items: ActionItem[];
  open_questions: Item[];
  risks: Item[];
  possible_follow_ups: ActionItem[];
  provenance: { provider: string; others?: string[]; model: string | null; seconds: number; dropped_items: number };
}

export interface MeetingDocument {
  meeting: Meeting;
  transcript: Transcript;
  minutes: Minutes | null;
  /** Watch from here on. */
  last_seq: number;
}

export interface MeetingPage {
  meetings: Meeting[];
  /** Pass it as `before` for the next page; null on the last. */
  next: string | null;
}

export interface ServerInfo {
  version: string;
  protocol: number;
  engines: Record<string, string>;
  engine_reason: string;
  storage: "journal" | "memory";
  /** Some integration outside the operator's machines hears of meetings. */
  tells_others: boolean;
  limits: { upload_bytes: number; max_meeting_hours: number };
}

/** A place that hears of meetings. */
export interface Integration {
  name: string;
  title: string;
  target: string;
  is_automatic: boolean;
  is_local: boolean;
  is_exactly_once: boolean;
}

/** One thing that follows from a meeting, on its way to an integration. */
export interface Delivery {
  id: string;
  integration: string;
  action: { key: string; title: string; payload: Record<string, unknown> };
  state: "proposed" | "pending" | "sending" | "done" | "parked" | "dismissed";
  attempts: number;
  /** An attempt was cut short, so that the target may have it already; of one that is done: perhaps twice. */
  is_uncertain: boolean;
  last_error: string | null;
  receipt: { reference: string | null; url: string | null } | null;
}

/** What a person may say about a meeting before it begins. */
export interface MeetingOptions {
  title: string;
  attendees: string[];
  vocabulary: string[];
  local_only: boolean;
  /** Names of integrations; absent leaves it to the server. */
  workflows?: string[];
}

/** What can be chosen for minutes. */
export interface MinutesOptions {
  templates: { name: string; title: string; sections: string[] }[];
  providers: string[];
}

/** One of the versions of a meeting's minutes. */
export interface MinutesVersion {
  version: number;
  template: string;
  provider: string;
  model: string | null;
  written_at_ms: number;
  edited_items: number;
}

/** One question to one language model about a meeting. */
export interface ModelCall {
  id: string;
  purpose: string;
  provider: string;
  is_local: boolean;
  at_ms: number;
  outcome: string;
}

/** What a person chose for all of their meetings. */
export interface Preferences {
  local_only: boolean;
  llm_provider: string | null;
  template: string | null;
  minutes_language: string | null;
}

export interface Citation {
  meeting_id: string;
  utterance: number;
  start_ms: number;
  speaker: string;
  quote: string;
}

export interface AnswerSentence {
  type: "sentence";
  text: string;
  citations: Citation[];
}

export interface AnswerEnd {
  type: "end";
  is_found: boolean;
  provider: string;
  model: string | null;
  dropped: number;
  trouble: string | null;
}

/** From where on somebody has to act: a rule of deploy/prometheus/alerts.yml. */
export interface MetricAlert {
  name: string;
  measure: "value" | "increase" | "p95" | "p99";
  above: number;
  window_s: number;
  action: string;
}

/** One number or distribution, since the server's process started. */
export interface Metric {
  key: string;
  label: string;
  hint: string;
  /** Its name in `/metrics`; empty where it is not from there. */
  metric: string;
  kind: "gauge" | "counter" | "histogram" | "rate";
  unit: "" | "s" | "bytes" | "cores" | "windows";
  value: number | null;
  count: number | null;
  p50: number | null;
  p95: number | null;
  p99: number | null;
  /** Upper bounds, and how many were at most that. */
  buckets: [bound: number, count: number][];
  parts: Record<string, number>;
  alert: MetricAlert | null;
}

export interface MetricGroup {
  key: string;
  title: string;
  figures: Metric[];
}

export interface MetricsReport {
  at_ms: number;
  started_at_ms: number | null;
  groups: MetricGroup[];
  room: { live: number; total: number; more: number };
  /** Null where the server recognises speech itself. */
  workers: { name: string; slots: number; busy: number }[] | null;
}
