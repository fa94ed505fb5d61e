// The live protocol (src/meeting_assistant/web/protocol.py), both directions.

import type {
  ActionItem,
  Coverage,
  Item,
  Meeting,
  MeetingOptions,
  Minutes,
  Problem,
  StageError,
  Transcript,
  Utterance,
} from "./types";

export interface Start extends Partial<MeetingOptions> {
  type: "start";
  sample_rate: number;
  /** With 2, channel 0 is "You". */
  channels: 1 | 2;
  meeting_id: string | null;
  last_seq: number;
  utc_offset_minutes: number;
}

/** A message sent while recording, beside the audio. */
export type ClientMessage =
  | { type: "pause" }
  | { type: "resume" }
  | { type: "bookmark"; note: string }
  | { type: "rename_speaker"; speaker: string; name: string }
  | { type: "stop" };

interface Envelope {
  /** Number of this durable event, or of the last one before it. */
  seq: number;
  meeting_id: string | null;
}

export interface Started extends Envelope {
  type: "started";
  /** Canonical bytes: 16 kHz s16le. */
  received_bytes: number;
  resumed: boolean;
  epoch: number;
  storage: "journal" | "memory";
  engines: Record<string, string>;
}

export interface Ack extends Envelope {
  type: "ack";
  received_bytes: number;
}

export interface ErrorMessage extends Envelope, Problem {
  type: "error";
  fatal: boolean;
}

export interface Status extends Envelope {
  type: "status";
  status: string;
  detail: string;
  progress: number | null;
  queue_position: number | null;
}

export interface PartialTranscript extends Envelope {
  type: "partial_transcript";
  utterance: number;
  start_ms: number;
  end_ms: number;
  speaker: string | null;
  stable: string;
  unstable: string;
  lag_ms: number;
}

export interface Finished extends Envelope, Utterance {
  type: "transcript";
  /** Words that were shown as stable read otherwise now; null when it is sent again later. */
  takes_back?: boolean | null;
}

export interface Speakers extends Envelope {
  type: "speakers";
  utterances: { utterance: number; rev: number; speaker: string | null; is_assigned: boolean }[];
  names: Record<string, string | null>;
}

export interface Notes extends Envelope {
  type: "notes";
  decisions: Item[];
  action_items: ActionItem[];
  open_questions: Item[];
  /** Ids of items that were taken back. */
  withdrawn: string[];
}

export interface GapFound extends Envelope {
  type: "gap";
  start_ms: number;
  end_ms: number;
  reason: string;
}

export interface Degraded extends Envelope {
  type: "degraded";
  level: number;
  reason: string;
}

export interface StorageState extends Envelope {
  type: "storage";
  state: "ok" | "full" | "failing";
}

export interface Final extends Envelope {
  type: "final";
  meeting: Meeting;
  transcript: Transcript;
  minutes: Minutes | null;
  coverage: Coverage;
  errors: StageError[];
}

export type ServerMessage =
  | Started
  | Ack
  | ErrorMessage
  | Status
  | PartialTranscript
  | Finished
  | Speakers
  | Notes
  | GapFound
  | Degraded
  | StorageState
  | Final
  | (Envelope & { type: "pong" });
