// One meeting that is open for reading: its record, transcript and minutes, kept current by events, and changes to them.

import { RequestState } from "../api/request-state.svelte";
import {
  changeItem,
  correctStart,
  deleteMeeting,
  endMeeting,
  readMeeting,
  redactRange,
  removeItem,
  renameMeeting,
  renameSpeaker,
  retryMeeting,
  rewriteMinutes,
  splitUtterance,
} from "../api/rest";
import type { Meeting, MeetingDocument, Minutes, RewriteOptions, ServerMessage, Transcript, Utterance } from "../api/types";
import { goTo } from "../routing.svelte";
import { watchMeeting } from "./event-stream";
import { defaultNames, emptyMeeting, reduce, withTranscript } from "./meeting-view";

/** Events that arrive together cause one refresh. */
const REFRESH_DELAY_MS = 200;

export class OpenMeeting extends RequestState {
  meeting = $state.raw<Meeting | null>(null);
  minutes = $state.raw<Minutes | null>(null);
  view = $state.raw(emptyMeeting);
  /** A page or a program records the meeting. */
  hasClient = $state(false);
  /** The minutes are being rewritten. */
  isRewriting = $state(false);
  private stopWatching: (() => void) | null = null;
  private refreshTimer: ReturnType<typeof setTimeout> | undefined;
  private isClosed = false;

  constructor(readonly id: string) {
    super();
  }

  get isOver(): boolean {
    return this.meeting?.state === "done" || this.meeting?.state === "failed";
  }

  get hasAudio(): boolean {
    return this.meeting !== null && this.meeting.sound_deleted_at_ms === null;
  }

  /** Seconds of audio without a transcript, apart from what was taken off the record. */
  get untranscribedS(): number {
    if (this.meeting === null) return 0;
    const redacted = this.view.gaps.filter((gap) => gap.reason === "off_the_record");
    const redactedMs = redacted.reduce((sum, gap) => sum + gap.end_ms - gap.start_ms, 0);
    return this.meeting.coverage.captured_s - this.meeting.coverage.transcribed_s - redactedMs / 1000;
  }

  /** Load the meeting and follow its events until `close`. */
  async open(): Promise<void> {
    await this.attempt(readMeeting(this.id), (document) => {
      this.applyDocument(document);
      if (this.isClosed) return;
      this.stopWatching ??= watchMeeting(
        this.id,
        () => this.view.lastSeq,
        (message) => this.handleMessage(message),
        () => {
          // The server repeats the present status after a reconnect, but not what passed meanwhile.
          this.isRewriting = false;
          void this.refresh();
        },
      );
    });
  }

  close(): void {
    this.isClosed = true;
    clearTimeout(this.refreshTimer);
    this.stopWatching?.();
  }

  // Changes

  rename = (title: string): Promise<boolean> =>
    this.attempt(renameMeeting(this.id, title), (renamed) => (this.meeting = renamed));

  /** Correct when the meeting began; the due dates of the minutes follow. */
  correctStart = (beganAt: string): Promise<boolean> =>
    this.attempt(correctStart(this.id, beganAt), () => this.refresh());

  /** End the meeting, whoever records it; events announce what follows. */
  end = (): Promise<boolean> => this.attempt(endMeeting(this.id), () => this.refresh());

  renameSpeaker = (label: string, name: string): Promise<boolean> =>
    this.attempt(renameSpeaker(this.id, label, name), (changed) => this.applyTranscript(changed));

  /** Split an utterance before a word, counted from 0. Returns the second part, or null when that failed. */
  async split(utterance: Utterance, word: number): Promise<Utterance | null> {
    const known = new Set(this.view.utterances.map((one) => one.utterance));
    let part: Utterance | null = null;
    await this.attempt(splitUtterance(this.id, utterance.utterance, word), (changed) => {
      this.applyTranscript(changed);
      part = changed.utterances.find((one) => !known.has(one.utterance)) ?? null;
    });
    return part;
  }

  changeItem = (item: string, text: string): Promise<boolean> =>
    this.attempt(changeItem(this.id, this.minutes?.version ?? 0, item, text), (changed) => (this.minutes = changed));

  removeItem = (item: string): Promise<boolean> =>
    this.attempt(removeItem(this.id, this.minutes?.version ?? 0, item), (changed) => (this.minutes = changed));

  /** Take an utterance off the record, for good. */
  redact = (utterance: Utterance): Promise<boolean> =>
    this.attempt(redactRange(this.id, utterance.start_ms, utterance.end_ms), (document) => this.applyDocument(document));

  retry = (): Promise<boolean> => this.attempt(retryMeeting(this.id), () => this.refresh());

  delete = (): Promise<boolean> => this.attempt(deleteMeeting(this.id), () => goTo("#/"));

  /** Start to rewrite the minutes; an event announces the result. Throws when the server refuses. */
  async rewrite(options: RewriteOptions): Promise<void> {
    this.isRewriting = true;
    this.view = { ...this.view, status: null };
    try {
      await rewriteMinutes(this.id, options);
    } catch (error) {
      this.isRewriting = false;
      throw error;
    }
  }

  /** Apply the transcript that a change of speakers returned. While the meeting runs, its events do that. */
  applyTranscript(transcript: Transcript): void {
    if (this.isOver) this.view = withTranscript(this.view, transcript);
    // The minutes use the new name too, and cite the part that contains the quote.
    void this.refresh();
  }

  // Events

  private handleMessage(message: ServerMessage): void {
    const wasOver = this.isOver;
    this.view = reduce(this.view, message);
    if (message.type === "final") {
      this.meeting = message.meeting;
      this.minutes = message.minutes;
    } else if (message.type === "status" && wasOver) {
      if (message.status === "Writing minutes") this.isRewriting = true;
      else if (message.status === "Done" && this.isRewriting) this.refreshSoon();
    } else if (wasOver && (message.type === "transcript" || message.type === "speakers" || message.type === "gap")) {
      // The minutes name speakers and quote utterances.
      this.refreshSoon();
    }
  }

  private refreshSoon(): void {
    clearTimeout(this.refreshTimer);
    this.refreshTimer = setTimeout(() => void this.refresh(), REFRESH_DELAY_MS);
  }

  private async refresh(): Promise<void> {
    await this.attempt(readMeeting(this.id), (document) => {
      // Events that arrived during the request are newer than its answer.
      if (document.last_seq < this.view.lastSeq) this.refreshSoon();
      else this.applyDocument(document);
    });
    if (this.view.status?.status === "Done") this.isRewriting = false;
  }

  private applyDocument(document: MeetingDocument): void {
    this.meeting = document.meeting;
    this.minutes = document.minutes;
    this.hasClient = document.has_client;
    const names = { ...defaultNames(document.meeting.channels), ...this.view.names };
    const present = { ...this.view, meetingId: document.meeting.id, lastSeq: document.last_seq, names };
    this.view = { ...withTranscript(present, document.transcript), ...(this.isOver ? { partial: null, withdrawn: [] } : {}) };
  }
}
