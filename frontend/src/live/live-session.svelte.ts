// One recording in this page: a source of sound, the outbox, the socket, and what the server says.
// It outlives the page that shows it, so that looking at another meeting does not end this one.

import type { Saying, ServerMessage, Start } from "../api/messages";
import { socketUrl, utcOffsetMinutes } from "../api/rest";
import type { Bookmark, MeetingOptions, Problem } from "../api/types";
import { keepAwake } from "./wake-lock";
import { Clip } from "./clip";
import { SoundKeeper } from "./unacked-audio";
import { Microphone } from "./microphone";
import { Outbox } from "./outbox";
import { frameBytes, wavFile } from "./pcm";
import { SourceError, type Channels, type SoundSource } from "./source";
import { LiveSocket, type Connection } from "./live-socket";
import { emptyMeeting, namesOf, reduce } from "../meeting/meeting-view";
import { forget, remember, type Remembered } from "./tab-session";

/** `failed`: the source or the server refused; `problem` says why. */
export type Phase = "opening" | "recording" | "paused" | "stopping" | "done" | "failed";

export class LiveSession {
  view = $state.raw(emptyMeeting);
  phase = $state<Phase>("opening");
  connection = $state<Connection>("connecting");
  problem = $state.raw<Problem | null>(null);
  /** Why the computer's sound is missing from a meeting that is to have it. */
  sharingProblem = $state.raw<Problem | null>(null);
  /** Loudness of each channel, 0..1. */
  levels = $state.raw<readonly number[]>([0]);
  /** Sound of the meeting so far. */
  recordedMs = $state(0);
  /** Sound that only this page holds. */
  unsafeMs = $state(0);
  bookmarks = $state.raw<Bookmark[]>([]);
  /** For the sample meeting: false where the browser does not let it be heard. */
  canPlay = $state(true);
  isMuted = $state(false);

  readonly title: string;
  readonly kind: SoundSource["kind"];
  /** With 2, the second is the sound of this computer. */
  readonly channels: Channels;
  private readonly source: SoundSource;
  private readonly outbox: Outbox;
  private readonly socket: LiveSocket;
  private letSleep: (() => void) | undefined;
  private isSourceOpen = false;
  /** Nothing more is recorded: all there is, is what was kept. */
  private isEnding = false;
  private keeper: SoundKeeper | null = null;
  private readonly onOnline = (): void => this.socket.hurry();

  constructor(
    kind: SoundSource["kind"],
    readonly options: MeetingOptions,
    private readonly takenUp: Remembered | null = null,
    channels: Channels = 1,
  ) {
    this.kind = kind;
    this.channels = takenUp?.channels ?? channels;
    this.view = { ...emptyMeeting, names: namesOf(this.channels) };
    this.outbox = new Outbox(takenUp === null);
    this.title = takenUp?.title ?? options.title;
    this.source = kind === "sample" ? new Clip() : new Microphone(this.channels, takenUp !== null);
    if (this.source instanceof Clip) this.source.onCanPlay = (canPlay) => (this.canPlay = canPlay);
    this.socket = new LiveSocket({
      url: socketUrl("/ws/meetings"),
      outbox: this.outbox,
      start: () => this.startMessage(),
      onMessage: (message) => this.hear(message),
      onConnection: (connection) => (this.connection = connection),
      onRefused: (problem) => void this.fail(problem),
      onTrouble: (problem) => (this.problem = problem),
    });
  }

  /** Ask for the sound first: a meeting is opened only when there is something to record. */
  async begin(): Promise<void> {
    this.phase = "opening";
    this.problem = null;
    try {
      await this.source.open();
    } catch (error) {
      await this.fail(error instanceof SourceError ? error.problem : UNEXPECTED);
      return;
    }
    await this.restore();
    if (this.phase !== "opening") {
      await this.source.close();
      return;
    }
    this.isSourceOpen = true;
    this.letSleep = keepAwake();
    addEventListener("online", this.onOnline);
    // A clip has to know where to go on; a microphone must not lose what is said until the socket is there.
    if (this.takenUp === null || this.kind === "microphone") this.startSource(0);
    this.socket.open();
  }

  /** After a reload: end the meeting with what the server has. */
  async endTakenUp(): Promise<void> {
    this.phase = "stopping";
    this.isEnding = true;
    await this.restore();
    this.say({ type: "stop" });
    this.socket.open();
  }

  async pause(): Promise<void> {
    if (this.phase !== "recording") return;
    this.phase = "paused";
    await this.source.pause();
    this.say({ type: "pause" });
    this.measure();
  }

  async resume(): Promise<void> {
    if (this.phase !== "paused") return;
    try {
      await this.source.resume();
    } catch (error) {
      this.problem = error instanceof SourceError ? error.problem : UNEXPECTED;
      return;
    }
    // The promise above may have taken a while.
    if ((this.phase as Phase) !== "paused") return;
    this.phase = "recording";
    this.problem = null;
    this.say({ type: "resume" });
  }

  async stop(): Promise<void> {
    if (this.phase === "opening") return this.giveUp();
    if (this.phase !== "recording" && this.phase !== "paused") return;
    this.phase = "stopping";
    await this.closeSource();
    this.say({ type: "stop" });
    this.measure();
  }

  bookmark(note: string): void {
    this.bookmarks = [...this.bookmarks, { at_ms: this.recordedMs, note }];
    this.say({ type: "bookmark", note });
  }

  /** Names to offer for speakers. */
  get attendees(): readonly string[] {
    return this.options.attendees;
  }

  renameSpeaker(speaker: string, name: string): void {
    this.say({ type: "rename_speaker", speaker, name });
  }

  mute(isMuted: boolean): void {
    this.isMuted = isMuted;
    if (this.source instanceof Clip) this.source.isMuted = isMuted;
  }

  /** From a click, where the browser blocked the sound of the sample. */
  async unblock(): Promise<void> {
    if (this.source instanceof Clip) await this.source.unblock();
  }

  /** Leave without waiting for the server; what is not safe is gone. */
  async giveUp(): Promise<void> {
    this.phase = "done";
    this.socket.close();
    forget();
    await this.closeSource();
  }

  /** What the server does not have, as a file. */
  unsafeSound(): Blob {
    return wavFile(this.outbox.unsafeSound(), this.sampleRate, this.channels);
  }

  /** From a click: where the computer's sound is not shared any more. */
  async shareAgain(): Promise<void> {
    if (!(this.source instanceof Microphone)) return;
    try {
      await this.source.shareAgain();
    } catch (error) {
      this.sharingProblem = error instanceof SourceError ? error.problem : UNEXPECTED;
    }
  }

  private get sampleRate(): number {
    return this.isEnding && this.takenUp !== null ? this.takenUp.sampleRate : this.source.sampleRate;
  }

  /** After a reload: what only the page before this one held. */
  private async restore(): Promise<void> {
    if (this.takenUp === null || this.kind !== "microphone") return;
    const keeper = await SoundKeeper.open(this.takenUp.meetingId);
    this.keeper = keeper;
    if (keeper === null || this.takenUp.sampleRate !== this.sampleRate) return; // cannot be joined
    this.outbox.restore(await keeper.restore().catch(() => []));
    this.measure();
  }

  /** From now on a reload loses nothing either. */
  private async keepFrom(meetingId: string): Promise<void> {
    if (this.keeper !== null || this.kind !== "microphone") return;
    const keeper = await SoundKeeper.open(meetingId);
    this.keeper = keeper;
    for (const { at, bytes } of this.outbox.unsafeItems()) keeper?.keep(at, bytes);
  }

  private startSource(seconds: number): void {
    this.phase = "recording";
    this.source.start(
      {
        sound: (bytes) => {
          this.keeper?.keep(this.outbox.endOffset, bytes);
          this.outbox.push(bytes);
          this.socket.pump();
          this.measure();
        },
        level: (levels) => (this.levels = levels),
        shared: (problem) => (this.sharingProblem = problem),
        ended: () => void this.stop(),
        lost: (problem) => {
          if (this.phase !== "recording") return;
          this.problem = problem;
          void this.pause();
        },
      },
      seconds,
    );
  }

  private say(saying: Saying): void {
    this.outbox.say(saying);
    this.socket.pump();
  }

  private startMessage(): Start {
    const meetingId = this.view.meetingId ?? this.takenUp?.meetingId ?? null;
    const start: Start = {
      type: "start",
      sample_rate: this.sampleRate,
      channels: this.channels,
      meeting_id: meetingId,
      last_seq: this.view.lastSeq,
      utc_offset_minutes: utcOffsetMinutes(),
    };
    return meetingId === null ? { ...start, ...this.options } : start;
  }

  private hear(message: ServerMessage): void {
    this.view = reduce(this.view, message);
    if (message.type === "error") this.problem = message;
    if (message.type === "started") this.started(message.meeting_id, message.received_bytes);
    if (message.type === "ack") {
      this.keeper?.forgetBelow(this.outbox.startOffset);
      this.measure();
    }
    if (message.type === "final") {
      this.phase = "done";
      forget();
      this.keeper?.forgetAll();
      void this.closeSource();
    }
  }

  private started(meetingId: string | null, receivedBytes: number): void {
    if (this.phase !== "stopping" && this.phase !== "paused") this.problem = null;
    if (meetingId !== null) {
      const { kind, title, sampleRate, channels } = this;
      remember({ meetingId, kind, title, sampleRate, channels });
      void this.keepFrom(meetingId);
    }
    if (this.phase === "opening") this.startSource(receivedBytes / 32_000);
    this.measure();
  }

  private async fail(problem: Problem): Promise<void> {
    this.problem = problem;
    this.phase = "failed";
    if (this.view.meetingId !== null || this.takenUp !== null) forget();
    await this.closeSource();
  }

  private async closeSource(): Promise<void> {
    removeEventListener("online", this.onOnline);
    this.letSleep?.();
    this.letSleep = undefined;
    this.levels = [0];
    this.sharingProblem = null;
    if (!this.isSourceOpen) return;
    this.isSourceOpen = false;
    await this.source.close();
  }

  private measure(): void {
    const bytesPerMs = (this.sampleRate * frameBytes(this.channels)) / 1000;
    this.recordedMs = Math.round(this.outbox.endOffset / bytesPerMs);
    this.unsafeMs = Math.round(this.outbox.unsafeBytes / bytesPerMs);
  }
}

const UNEXPECTED: Problem = {
  code: "unexpected",
  message: "The sound could not be opened.",
  remedy: "Reload the page and try again.",
};
