// The state of a meeting, built from its events by one pure function. Used while recording and while following.

import type { ActionItem, DegradedMessage, FinalMessage, Gap, Item, NotesMessage, PartialMessage, ServerMessage, Speaker, SpeakersMessage, StatusMessage, Transcript, Utterance } from "../api/types";
import { identifiedLabel } from "../text/speaker";

/** NotesMessage taken during the meeting. */
export interface LiveNoteItems {
  decisions: readonly Item[];
  action_items: readonly ActionItem[];
  open_questions: readonly Item[];
}

export interface MeetingView {
  meetingId: string | null;
  /** Highest `seq` seen; the point from which to reconnect. */
  lastSeq: number;
  /** In order of time. */
  utterances: readonly Utterance[];
  /** The utterance being spoken. */
  partial: PartialMessage | null;
  /** The newest captions that were shown and became no utterance: marked until the transcript is final. */
  withdrawn: readonly PartialMessage[];
  /** SpeakersMessage of at least one utterance. */
  speakers: readonly Speaker[];
  /** Names by label, including labels without an utterance at the moment. */
  names: Readonly<Record<string, string | null>>;
  gaps: readonly Gap[];
  notes: LiveNoteItems | null;
  status: StatusMessage | null;
  /** Null while the server runs at full quality. */
  degraded: DegradedMessage | null;
  /** Whether the server can store audio; captions continue in any case. */
  storage: "ok" | "full" | "failing";
  lagMs: number;
  engines: Readonly<Record<string, string>>;
  final: FinalMessage | null;
}

export const emptyMeeting: MeetingView = {
  meetingId: null,
  lastSeq: 0,
  utterances: [],
  partial: null,
  withdrawn: [],
  speakers: [],
  names: {},
  gaps: [],
  notes: null,
  status: null,
  degraded: null,
  storage: "ok",
  lagMs: 0,
  engines: {},
  final: null,
};

/** Names known in advance: with two channels, channel 0 is the person who records. */
export const defaultNames = (channels: number): Readonly<Record<string, string>> => (channels === 2 ? { S1: "You" } : {});

/** An echo can withdraw every sentence of an hour. */
const MOST_WITHDRAWN = 50;

const DURABLE: ReadonlySet<string> = new Set(["transcript", "speakers", "notes", "gap", "final"]);

/** Return the state after a message. A durable event that was seen before changes nothing. */
export function reduce(state: MeetingView, message: ServerMessage): MeetingView {
  if (DURABLE.has(message.type) && message.seq <= state.lastSeq) return state;
  const next = {
    ...state,
    lastSeq: Math.max(state.lastSeq, message.seq),
    meetingId: message.meeting_id ?? state.meetingId,
  };
  switch (message.type) {
    case "started":
      return { ...next, engines: message.engines };
    case "status":
      return { ...next, status: message };
    case "partial_transcript":
      return withPartial(next, message);
    case "transcript": {
      const { type: _, seq: __, meeting_id: ___, ...utterance } = message;
      return withUtterance(next, utterance);
    }
    case "speakers":
      return withSpeakers(next, message);
    case "notes":
      return { ...next, notes: withNotes(state.notes, message) };
    case "gap": {
      const { start_ms, end_ms, reason, unrecorded_ms } = message;
      return { ...next, gaps: [...next.gaps, { start_ms, end_ms, reason, unrecorded_ms }] };
    }
    case "degraded":
      return { ...next, degraded: message.level > 0 ? message : null };
    case "storage":
      return { ...next, storage: message.state };
    case "final":
      return {
        ...withTranscript(next, message.transcript),
        partial: null,
        withdrawn: [],
        lagMs: 0,
        final: message,
      };
    case "ack":
    case "error":
    case "pong":
      return next;
  }
}

/** Return the state with a transcript that was read as a whole. */
export function withTranscript(state: MeetingView, { utterances, speakers, gaps }: Transcript): MeetingView {
  const names = Object.fromEntries(speakers.map(({ label, name }) => [label, name]));
  return { ...state, utterances, speakers, gaps, names: { ...state.names, ...names } };
}

function withNotes(known: LiveNoteItems | null, change: NotesMessage): LiveNoteItems {
  const gone = new Set(change.withdrawn);
  const merged = <T extends Item>(before: readonly T[], now: readonly T[]): T[] => {
    const changed = new Map(now.map((item) => [item.id, item]));
    const kept = before.filter((item) => !gone.has(item.id)).map((item) => changed.get(item.id) ?? item);
    return [...kept, ...now.filter((item) => !before.some((one) => one.id === item.id))];
  };
  return {
    decisions: merged(known?.decisions ?? [], change.decisions),
    action_items: merged(known?.action_items ?? [], change.action_items),
    open_questions: merged(known?.open_questions ?? [], change.open_questions),
  };
}

function withPartial(state: MeetingView, partial: PartialMessage): MeetingView {
  // A hypothesis may arrive after its utterance was finished.
  const isLate = state.utterances.some((known) => known.utterance === partial.utterance);
  if (isLate) return state;
  if (typeof partial.withdrawn !== "string") return { ...state, partial, lagMs: partial.lag_ms };
  const others = state.withdrawn.filter((one) => one.start_ms !== partial.start_ms || one.utterance !== partial.utterance);
  const isShown = state.partial?.utterance === partial.utterance;
  return {
    ...state,
    partial: isShown ? null : state.partial,
    lagMs: isShown ? 0 : state.lagMs,
    withdrawn: [...others, partial].slice(-MOST_WITHDRAWN),
  };
}

function withUtterance(state: MeetingView, utterance: Utterance): MeetingView {
  const { partial } = state;
  const isOpen = partial !== null && (partial.utterance === utterance.utterance || partial.end_ms <= utterance.end_ms);
  const known = state.utterances.find((one) => one.utterance === utterance.utterance);
  if (known !== undefined && known.rev > utterance.rev) return state;
  return {
    ...withUtterances(state, inOrder([...state.utterances.filter((one) => one !== known), utterance])),
    partial: isOpen ? null : state.partial,
    lagMs: isOpen ? 0 : state.lagMs,
  };
}

function withSpeakers(state: MeetingView, change: SpeakersMessage): MeetingView {
  const moved = new Map(change.utterances.map((line) => [line.utterance, line]));
  const utterances = state.utterances.map((one) => {
    const line = moved.get(one.utterance);
    return line === undefined ? one : { ...one, rev: line.rev, speaker: line.speaker, is_assigned: line.is_assigned };
  });
  return withUtterances({ ...state, names: { ...state.names, ...change.names } }, utterances);
}

/** Return the state with these utterances and the speakers they name. */
function withUtterances(state: MeetingView, utterances: readonly Utterance[]): MeetingView {
  const labels = new Set(utterances.flatMap(({ speaker }) => identifiedLabel(speaker) ?? []));
  const speakers = [...labels].sort(byLabel).map((label) => ({ label, name: state.names[label] ?? null }));
  return { ...state, utterances, speakers };
}

/** Order `S2` before `S10`, and speakers that were added by hand last. */
function byLabel(a: string, b: string): number {
  const rank = (label: string): number => (label.startsWith("P") ? 1e6 : 0) + (Number(label.slice(1)) || 0);
  return rank(a) - rank(b);
}

const inOrder = (utterances: Utterance[]): Utterance[] =>
  utterances.sort((a, b) => a.start_ms - b.start_ms || a.utterance - b.utterance);
