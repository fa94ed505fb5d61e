// The page's names for the shapes that the server sends and accepts. The shapes themselves are generated.
// Times are integer milliseconds from the start of the meeting, or since the epoch where the name says `at`.

import type { components } from "./schema";

type Schemas = components["schemas"];

/** What went wrong and what to do about it, in words for the user. */
export type Problem = Pick<Schemas["ErrorMessage"], "code" | "message" | "remedy">;

// Meetings

export type Meeting = Schemas["Meeting"];
export type MeetingDocument = Schemas["MeetingDocument"];
export type MeetingPage = Schemas["MeetingList"];
export type Bookmark = Schemas["Bookmark"];
export type Transcript = Schemas["Transcript"];
export type Utterance = Schemas["Utterance"];
export type Speaker = Schemas["Speaker"];
export type Gap = Schemas["Gap"];
export type KnownVoice = Schemas["KnownVoice"];

/** What the user may choose before a meeting begins. Without `workflows`, the server decides. */
export type MeetingOptions = Required<
  Pick<Schemas["StartMessage"], "title" | "attendees" | "vocabulary" | "local_only">
> & { workflows?: string[] };

// Minutes and questions

export type Minutes = Schemas["Minutes"];
export type Item = Schemas["Item"];
export type ActionItem = Schemas["ActionItem"];
export type MinutesOptions = Schemas["WritingOptions"];
export type MinutesVersion = Schemas["VersionInfo"];
export type RewriteOptions = Schemas["RewriteOptions"];
export type ModelCall = Schemas["LlmCall"];
export type AnswerSentence = Schemas["AnswerSentence"];
export type AnswerEnd = Schemas["AnswerEnd"];
export type Citation = Schemas["Citation"];

// Integrations

export type Integration = Schemas["IntegrationInfo"];
export type IntegrationTest = Schemas["TestResult"];
export type Delivery = Schemas["Delivery"];

// The server and its user

export type ServerInfo = Schemas["ServerDescription"];
export type Session = Schemas["Session"];
export type ShareLink = Schemas["ShareLink"];
export type Preferences = Schemas["LlmPreferences"];
export type MetricsReport = Schemas["MetricsReport"];
export type Metric = Schemas["MetricSummary"];

// Messages of the live protocol

export type ClientMessage = Schemas["ClientMessage"];
export type StartMessage = Schemas["StartMessage"];
export type ServerMessage = Schemas["ServerMessage"];
export type StatusMessage = Schemas["StatusMessage"];
export type PartialMessage = Schemas["PartialMessage"];
export type UtteranceMessage = Schemas["FinishedMessage"];
export type SpeakersMessage = Schemas["SpeakersMessage"];
export type NotesMessage = Schemas["NotesMessage"];
export type DegradedMessage = Schemas["DegradedLevelMessage"];
export type StorageState = Schemas["StorageStateMessage"]["state"];
export type FinalMessage = Schemas["FinalMessage"];
