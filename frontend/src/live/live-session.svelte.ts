// One recording in this page: an audio source, the uplink to the server, and the state that the page shows.
// It outlives the component that shows it, so that opening another meeting does not end this one.

import { readMeeting, utcOffsetMinutes } from "../api/rest";
import type { Bookmark, ClientMessage, MeetingOptions, Problem, ServerMessage, StartMessage } from "../api/types";
import { defaultNames, emptyMeeting, reduce } from "../meeting/meeting-view";
import { SourceError, type AudioSource, type Channels } from "./audio-source";
import type { Connection } from "./live-socket";
import { Microphone } from "./microphone";
import { Liveness } from "./liveness";
import { frameBytes, wavFile } from "./pcm";
import { SampleClip } from "./sample-clip";
import { clearRecording, type StoredRecording } from "./stored-recording";
import { Uplink } from "./uplink";
import { acquireWakeLock } from "./wake-lock";

/** Longer than the pause that ends an utterance (`ENDPOINTING__SILENCE_MS`). */
const PAUSE_SILENCE_S = 0.7;

/** `failed`: the source or the server refused; `problem` says why. */
export type Phase = "opening" | "recording" | "paused" | "stopping" | "done" | "failed";

/** Bytes per second of the audio that the server counts: 16 kHz s16le, per channel. */
const CANONICAL_BYTES_PER_S = 32_000;

export class LiveSession {
  view = $state.raw(emptyMeeting);
  phase = $state<Phase>("opening");
  connection = $state<Connection>("connecting");
  problem = $state.raw<Problem | null>(null);
  /** Why the computer's audio is missing from a meeting that should have it. */
  sharingProblem = $state.raw<Problem | null>(null);
  /** Level of each channel, 0..1. */
  levels = $state.raw<readonly number[]>([0]);
  /** Length of the recording so far. */
  recordedMs = $state(0);
  /** Audio that only this page holds. */
  unackedMs = $state(0);
  bookmarks = $state.raw<Bookmark[]>([]);
  /** For the sample meeting: false where the browser does not allow it to be heard. */
  isPlayable = $state(true);
  isMuted = $state(false);

  readonly title: string;
  readonly kind: AudioSource["kind"];
  /** With 2, channel 1 is the computer's audio. */
  readonly channels: Channels;
  private readonly source: AudioSource;
  private readonly uplink: Uplink;
  private readonly liveness: Liveness;
  private releaseWakeLock: (() => void) | undefined;
  private isSourceOpen = false;
  /** The source stays closed: the meeting ends with what was stored. */
  private isEndingInterrupted = false;

  constructor(
    kind: AudioSource["kind"],
    readonly options: MeetingOptions,
    private readonly interrupted: StoredRecording | null = null,
    channels: Channels = 1,
  ) {
    this.kind = kind;
    this.channels = interrupted?.channels ?? channels;
    this.view = { ...emptyMeeting, names: defaultNames(this.channels) };
    this.title = interrupted?.title ?? options.title;
    this.liveness = new Liveness();
    this.source = kind === "sample" ? new SampleClip() : new Microphone(this.channels, interrupted !== null);
    if (this.source instanceof SampleClip) this.source.onPlayable = (isPlayable) => (this.isPlayable = isPlayable);
    this.uplink = new Uplink({
      isResumed: interrupted !== null,
      start: () => this.startMessage(),
      onMessage: (message) => this.handleMessage(message),
      onConnection: (connection) => (this.connection = connection),
      onRefused: (problem) => void this.fail(problem),
      onRetry: (problem) => (this.problem = problem),
    });
  }

  /** Participants' names, offered as names of speakers. */
  get attendees(): readonly string[] {
    return this.options.attendees;
  }

  /** Open the source, then the meeting: no meeting is created without something to record. */
  async begin(): Promise<void> {
    this.phase = "opening";
    this.problem = null;
    try {
      await this.source.open();
    } catch (error) {
      await this.fail(sourceProblem(error));
      return;
    }
    await this.restoreAudio();
    if (this.phase !== "opening") {
      await this.source.close();
      return;
    }
    if (this.interrupted !== null) void this.loadBookmarks(this.interrupted.meetingId);
    this.isSourceOpen = true;
    this.releaseWakeLock = acquireWakeLock();
    // A clip has to know where to continue. A microphone starts at once, so that nothing said before the connection
    // is up is lost.
    if (this.interrupted === null || this.kind === "microphone") this.startSource(0);
    this.uplink.open();
  }

  /** End a meeting that a reload interrupted, with the audio that the server and this browser have. */
  async endInterrupted(): Promise<void> {
    this.phase = "stopping";
    this.isEndingInterrupted = true;
    await this.restoreAudio();
    this.send({ type: "stop" });
    this.uplink.open();
  }

  async pause(): Promise<void> {
    if (this.phase !== "recording") return;
    this.phase = "paused";
    await this.source.pause();
    this.liveness.rest();
    // An utterance ends by silence and not by the clock: the last one before a pause is finished now.
    if (this.kind === "microphone") this.uplink.sendAudio(this.silence(PAUSE_SILENCE_S));
    this.send({ type: "pause" });
    this.updateLengths();
  }

  async resume(): Promise<void> {
    if (this.phase !== "paused") return;
    try {
      await this.source.resume();
    } catch (error) {
      this.problem = sourceProblem(error);
      return;
    }
    // The phase may have changed while the source was opened.
    if ((this.phase as Phase) !== "paused") return;
    this.phase = "recording";
    this.problem = null;
    this.send({ type: "resume" });
  }

  async stop(): Promise<void> {
    if (this.phase === "opening") return this.abandon();
    if (this.phase !== "recording" && this.phase !== "paused") return;
    this.phase = "stopping";
    await this.closeSource();
    this.send({ type: "stop" });
    this.updateLengths();
  }

  bookmark(note: string): void {
    this.bookmarks = [...this.bookmarks, { at_ms: this.recordedMs, note }];
    this.send({ type: "bookmark", note });
  }

  renameSpeaker(speaker: string, name: string): void {
    this.send({ type: "rename_speaker", speaker, name });
  }

  mute(isMuted: boolean): void {
    this.isMuted = isMuted;
    if (this.source instanceof SampleClip) this.source.isMuted = isMuted;
  }

  /** Play the sample where the browser blocked it. Call it from a click. */
  async unblock(): Promise<void> {
    if (this.source instanceof SampleClip) await this.source.unblock();
  }

  /** Ask for the computer's audio again. Call it from a click. */
  async shareAgain(): Promise<void> {
    if (!(this.source instanceof Microphone)) return;
    try {
      await this.source.shareAgain();
    } catch (error) {
      this.sharingProblem = sourceProblem(error);
    }
  }

  /** Return the audio that the server does not have, as a WAV file. */
  unackedAudio(): Blob {
    return wavFile(this.uplink.unackedAudio(), this.sampleRate, this.channels);
  }

  /** Leave before the meeting was opened, without waiting for the server. */
  private async abandon(): Promise<void> {
    this.phase = "done";
    this.uplink.close();
    this.forget();
    await this.closeSource();
  }

  private get sampleRate(): number {
    const stored = this.isEndingInterrupted ? this.interrupted?.sampleRate : undefined;
    return stored || this.source.sampleRate;
  }

  /** Restore the audio that only the page before the reload held. */
  private async restoreAudio(): Promise<void> {
    if (this.interrupted === null || this.kind !== "microphone") return;
    // Audio at two sample rates cannot be joined.
    await this.uplink.restore(this.interrupted.meetingId, this.interrupted.sampleRate === this.sampleRate);
    this.updateLengths();
  }

  private async loadBookmarks(meetingId: string): Promise<void> {
    // Without an answer, the count begins anew; the meeting has all of them.
    const known = await readMeeting(meetingId).catch(() => null);
    if (known !== null) this.bookmarks = [...known.meeting.bookmarks, ...this.bookmarks];
  }

  private silence(seconds: number): Uint8Array<ArrayBuffer> {
    const samples = Math.round(seconds * this.source.sampleRate);
    return new Uint8Array(samples * this.channels * 2);
  }

  private startSource(seconds: number): void {
    this.phase = "recording";
    // A clip goes on where it was; a microphone has missed what was said meanwhile.
    if (this.interrupted !== null && this.kind === "microphone") {
      this.send({ type: "interrupted", lasted_ms: this.interrupted.lastAudioAt === null ? null : Date.now() - this.interrupted.lastAudioAt });
    }
    this.source.start(
      {
        onAudio: (bytes) => {
          const missing = this.liveness.audio();
          if (missing !== null) this.send({ type: "interrupted", lasted_ms: missing });
          this.uplink.sendAudio(bytes);
          this.updateLengths();
        },
        onLevels: (levels) => (this.levels = levels),
        onSharingChange: (problem) => (this.sharingProblem = problem),
        onEnded: () => void this.stop(),
        onLost: (problem) => {
          if (this.phase !== "recording") return;
          this.problem = problem;
          void this.pause();
        },
      },
      seconds,
    );
  }

  private send(message: ClientMessage): void {
    this.uplink.send(message);
  }

  private startMessage(): StartMessage {
    const meetingId = this.view.meetingId ?? this.interrupted?.meetingId ?? null;
    const start: StartMessage = {
      type: "start",
      sample_rate: this.sampleRate,
      channels: this.channels,
      meeting_id: meetingId,
      last_seq: this.view.lastSeq,
      utc_offset_minutes: utcOffsetMinutes(),
    };
    return meetingId === null ? { ...start, ...this.options } : start;
  }

  private handleMessage(message: ServerMessage): void {
    this.view = reduce(this.view, message);
    if (message.type === "error") this.problem = message;
    if (message.type === "started") this.handleStarted(message.meeting_id, message.received_bytes);
    if (message.type === "ack") this.updateLengths();
    if (message.type === "final") {
      this.phase = "done";
      this.forget();
      void this.closeSource();
    }
  }

  private handleStarted(meetingId: string | null, receivedBytes: number): void {
    if (this.phase !== "stopping" && this.phase !== "paused") this.problem = null;
    if (meetingId !== null) {
      const { kind, title, sampleRate, channels } = this;
      this.liveness.begin({ meetingId, kind, title, sampleRate, channels });
      if (kind === "microphone") void this.uplink.persist(meetingId);
    }
    if (this.phase === "opening") this.startSource(receivedBytes / CANONICAL_BYTES_PER_S);
    this.updateLengths();
  }

  private async fail(problem: Problem): Promise<void> {
    this.problem = problem;
    this.phase = "failed";
    this.forget();
    await this.closeSource();
  }

  /** Nothing is left to resume: the meeting is over, or recorded elsewhere. */
  private forget(): void {
    this.liveness.end();
    clearRecording(this.view.meetingId ?? this.interrupted?.meetingId ?? null);
  }

  private async closeSource(): Promise<void> {
    this.releaseWakeLock?.();
    this.releaseWakeLock = undefined;
    this.levels = [0];
    this.sharingProblem = null;
    if (!this.isSourceOpen) return;
    this.isSourceOpen = false;
    await this.source.close();
  }

  private updateLengths(): void {
    const bytesPerMs = (this.sampleRate * frameBytes(this.channels)) / 1000;
    this.recordedMs = Math.round(this.uplink.recordedBytes / bytesPerMs);
    this.unackedMs = Math.round(this.uplink.unackedBytes / bytesPerMs);
  }
}

const UNEXPECTED: Problem = {
  code: "unexpected",
  message: "The audio source could not be opened.",
  remedy: "Reload the page and try again.",
};

const sourceProblem = (error: unknown): Problem => (error instanceof SourceError ? error.problem : UNEXPECTED);
