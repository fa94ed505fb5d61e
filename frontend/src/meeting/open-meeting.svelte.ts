// One meeting that is read: its record, transcript and minutes, kept up to date by its events, and what people change.

import type { ServerMessage } from "../api/messages";
import {
  changeItem,
  deleteMeeting,
  forgetStretch,
  problemOf,
  readMeeting,
  removeItem,
  renameMeeting,
  renameSpeaker,
  retryMeeting,
  splitUtterance,
  writeMinutesAgain,
} from "../api/rest";
import type { Meeting, MeetingDocument, Minutes, Problem, Transcript, Utterance } from "../api/types";
import { watchMeeting } from "./watch";
import { goTo } from "../routing.svelte";
import { emptyMeeting, namesOf, reduce, withTranscript } from "./meeting-view";

/** Several events that come together are read about once. */
const FRESHEN_MS = 200;

export class OpenMeeting {
  meeting = $state.raw<Meeting | null>(null);
  minutes = $state.raw<Minutes | null>(null);
  view = $state.raw(emptyMeeting);
  problem = $state.raw<Problem | null>(null);
  /** The minutes are being written again. */
  isWriting = $state(false);
  private stopWatching: (() => void) | null = null;
  private freshening: ReturnType<typeof setTimeout> | undefined;
  private isClosed = false;

  constructor(readonly id: string) {}

  get isOver(): boolean {
    return this.meeting?.state === "done" || this.meeting?.state === "failed";
  }

  get hasSound(): boolean {
    return this.meeting !== null && this.meeting.sound_deleted_at_ms === null;
  }

  /** Seconds that were not transcribed; what was taken off the record is not missing. */
  get missingS(): number {
    if (this.meeting === null) return 0;
    const dropped = this.view.gaps.filter((gap) => gap.reason === "off_the_record");
    const droppedMs = dropped.reduce((sum, gap) => sum + gap.end_ms - gap.start_ms, 0);
    return this.meeting.coverage.captured_s - this.meeting.coverage.transcribed_s - droppedMs / 1000;
  }

  async open(): Promise<void> {
    await this.attempt(readMeeting(this.id), (document) => {
      this.take(document);
      if (this.isClosed) return;
      this.stopWatching ??= watchMeeting(
        this.id,
        () => this.view.lastSeq,
        (message) => this.hear(message),
        () => {
          // What is going on is told anew, what passed is not.
          this.isWriting = false;
          void this.freshen();
        },
      );
    });
  }

  close(): void {
    this.isClosed = true;
    clearTimeout(this.freshening);
    this.stopWatching?.();
  }

  // What people change

  rename = (title: string): Promise<void> =>
    this.attempt(renameMeeting(this.id, title), (renamed) => (this.meeting = renamed));

  nameSpeaker = (label: string, name: string): Promise<void> =>
    this.attempt(renameSpeaker(this.id, label, name), (changed) => this.takeSpeakers(changed));

  /** Cut it before that word. Gives the second part. */
  async split(said: Utterance, word: number): Promise<Utterance | null> {
    const known = new Set(this.view.utterances.map((one) => one.utterance));
    let part: Utterance | null = null;
    await this.attempt(splitUtterance(this.id, said.utterance, word), (changed) => {
      this.takeSpeakers(changed);
      part = changed.utterances.find((one) => !known.has(one.utterance)) ?? null;
    });
    return part;
  }

  changeItem = (item: string, text: string): Promise<void> =>
    this.attempt(changeItem(this.id, this.minutes?.version ?? 0, item, text), (changed) => (this.minutes = changed));

  removeItem = (item: string): Promise<void> =>
    this.attempt(removeItem(this.id, this.minutes?.version ?? 0, item), (changed) => (this.minutes = changed));

  forget = (said: Utterance): Promise<void> =>
    this.attempt(forgetStretch(this.id, said.start_ms, said.end_ms), (document) => this.take(document));

  retry = (): Promise<void> => this.attempt(retryMeeting(this.id), () => this.freshen());

  remove = (): Promise<void> => this.attempt(deleteMeeting(this.id), () => goTo("#/"));

  /** Throws; when it is done, an event says so. */
  async writeAgain(how: { template: string; language: string; llm_provider?: string }): Promise<void> {
    this.isWriting = true;
    this.view = { ...this.view, status: null };
    try {
      await writeMinutesAgain(this.id, how);
    } catch (error) {
      this.isWriting = false;
      throw error;
    }
  }

  /** What a change of speakers answered. While a meeting runs, its events tell it. */
  takeSpeakers(transcript: Transcript): void {
    if (this.isOver) this.view = withTranscript(this.view, transcript);
    // The minutes call the speaker by the new name too, and cite the part that says it.
    void this.freshen();
  }

  // What happens to it

  private hear(message: ServerMessage): void {
    const wasOver = this.isOver;
    this.view = reduce(this.view, message);
    if (message.type === "final") {
      this.meeting = message.meeting;
      this.minutes = message.minutes;
    } else if (message.type === "status" && wasOver) {
      if (message.status === "Writing minutes") this.isWriting = true;
      else if (message.status === "Done" && this.isWriting) this.readSoon();
    } else if (wasOver && (message.type === "transcript" || message.type === "speakers" || message.type === "gap")) {
      // The minutes name people and quote what was said.
      this.readSoon();
    }
  }

  private readSoon(): void {
    clearTimeout(this.freshening);
    this.freshening = setTimeout(() => void this.freshen(), FRESHEN_MS);
  }

  private async freshen(): Promise<void> {
    await this.attempt(readMeeting(this.id), (document) => {
      // Events that came while it was on its way are newer.
      if (document.last_seq < this.view.lastSeq) this.readSoon();
      else this.take(document);
    });
    if (this.view.status?.status === "Done") this.isWriting = false;
  }

  private take(document: MeetingDocument): void {
    this.meeting = document.meeting;
    this.minutes = document.minutes;
    const names = { ...namesOf(document.meeting.channels), ...this.view.names };
    const present = { ...this.view, meetingId: document.meeting.id, lastSeq: document.last_seq, names };
    this.view = { ...withTranscript(present, document.transcript), ...(this.isOver ? { partial: null } : {}) };
  }

  private async attempt<T>(doing: Promise<T>, done: (result: T) => unknown): Promise<void> {
    try {
      done(await doing);
      this.problem = null;
    } catch (error) {
      this.problem = problemOf(error);
    }
  }
}
