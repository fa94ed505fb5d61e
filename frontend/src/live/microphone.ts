// The microphone as an audio source and, on a second channel when requested, the audio of this computer.

import type { Problem } from "../api/types";
import { SourceError, type AudioSource, type AudioSourceEvents, type Channels } from "./audio-source";
import captureUrl from "./capture.worklet.ts?worker&url";
import { SHARING_ENDED, shareAudio } from "./computer-audio";
import { level } from "./pcm";

const SPEECH_RATE_HZ = 16_000;
const MAX_RATE_HZ = 48_000;

// People on a loudspeaker take part in the meeting, and echo cancellation would remove them; noise suppression harms
// distant voices more than it helps. The recogniser expects unprocessed audio.
const CONSTRAINTS: MediaTrackConstraints = {
  channelCount: 1,
  echoCancellation: false,
  noiseSuppression: false,
  autoGainControl: true,
};
// The computer's audio has a channel of its own, so its echo is removed from this one.
const WITH_COMPUTER_AUDIO: MediaTrackConstraints = { ...CONSTRAINTS, echoCancellation: true };

export class Microphone implements AudioSource {
  readonly kind = "microphone";
  sampleRate = SPEECH_RATE_HZ;
  private stream: MediaStream | null = null;
  private context: AudioContext | null = null;
  private input: MediaStreamAudioSourceNode | null = null;
  private capture: AudioWorkletNode | null = null;
  private merger: ChannelMergerNode | null = null;
  /** The computer's audio. */
  private shared: MediaStream | null = null;
  private sharingProblem: Problem | null = null;
  private events: AudioSourceEvents | null = null;
  private isDelivering = false;

  /** `isComputerOptional`: a resumed meeting continues even if the computer's audio is not shared this time. */
  constructor(
    readonly channels: Channels = 1,
    private readonly isComputerOptional = false,
  ) {}

  async open(): Promise<void> {
    // First, because browsers ask what to share only right after a click.
    const shared = this.channels === 2 ? await this.requestComputerAudio() : null;
    try {
      this.stream = await this.getStream();
      this.input = this.connect(this.stream, SPEECH_RATE_HZ) ?? this.connect(this.stream, undefined);
      await this.startCapture();
      if (shared !== null) this.addComputerAudio(shared);
    } catch (error) {
      stop(shared);
      await this.close();
      throw error instanceof SourceError ? error : new SourceError(describe(error));
    }
  }

  start(events: AudioSourceEvents): void {
    this.events = events;
    this.isDelivering = true;
    if (this.sharingProblem !== null) events.onSharingChange(this.sharingProblem);
  }

  /** Ask for the computer's audio again. Call it from a click. Throws `SourceError`. */
  async shareAgain(): Promise<void> {
    const shared = await shareAudio();
    if (this.context === null || this.channels === 1) return stop(shared);
    stop(this.shared);
    this.addComputerAudio(shared);
    this.mute(!this.isDelivering);
    this.events?.onSharingChange(null);
  }

  async pause(): Promise<void> {
    await this.flush();
    this.isDelivering = false;
    this.mute(true);
    this.events?.onLevels(this.silence());
  }

  async resume(): Promise<void> {
    if (this.stream?.getAudioTracks()[0]?.readyState !== "live") await this.reopen();
    this.mute(false);
    await this.context?.resume();
    this.isDelivering = true;
  }

  async close(): Promise<void> {
    await this.flush();
    this.isDelivering = false;
    stop(this.stream);
    stop(this.shared);
    if (this.context !== null && this.context.state !== "closed") await this.context.close();
    this.stream = this.shared = this.context = this.capture = this.merger = this.input = null;
  }

  private async requestComputerAudio(): Promise<MediaStream | null> {
    try {
      return await shareAudio();
    } catch (error) {
      if (!this.isComputerOptional || !(error instanceof SourceError)) throw error;
      this.sharingProblem = error.problem;
      return null;
    }
  }

  /** Feed the shared audio to the second channel, which is silent once sharing ends. */
  private addComputerAudio(shared: MediaStream): void {
    const { context, merger } = this;
    if (context === null || merger === null) return;
    const input = context.createMediaStreamSource(shared);
    input.connect(merger, 0, 1);
    this.shared = shared;
    this.sharingProblem = null;
    shared.getAudioTracks()[0]?.addEventListener("ended", () => {
      input.disconnect();
      if (this.shared !== shared) return;
      this.shared = null;
      this.sharingProblem = SHARING_ENDED;
      this.events?.onSharingChange(SHARING_ENDED);
    });
  }

  /** Return null when the browser cannot convert this microphone to that rate (Firefox). */
  private connect(stream: MediaStream, rate: number | undefined): MediaStreamAudioSourceNode | null {
    const context = new AudioContext(rate === undefined ? {} : { sampleRate: rate });
    try {
      const input = context.createMediaStreamSource(stream);
      this.context = context;
      return input;
    } catch (error) {
      void context.close();
      if (rate === undefined) throw error;
      return null;
    }
  }

  private async startCapture(): Promise<void> {
    const context = this.context;
    if (context === null || this.input === null) return;
    const decimation = Math.ceil(context.sampleRate / MAX_RATE_HZ);
    this.sampleRate = Math.round(context.sampleRate / decimation);
    await context.audioWorklet.addModule(captureUrl);
    this.capture = new AudioWorkletNode(context, "capture", {
      channelCount: this.channels,
      channelCountMode: "explicit",
      channelInterpretation: this.channels === 1 ? "speakers" : "discrete",
      processorOptions: { decimation, channels: this.channels },
    });
    this.capture.port.addEventListener("message", (event: MessageEvent<unknown>) => this.deliver(event.data));
    this.capture.port.start();
    if (this.channels === 2) {
      // Each input becomes one channel; stereo inputs are mixed down.
      this.merger = new ChannelMergerNode(context, { numberOfInputs: 2 });
      this.merger.connect(this.capture);
    }
    this.input.connect(this.merger ?? this.capture);
    // The worklet outputs silence; without a destination some browsers do not run it.
    this.capture.connect(context.destination);
    await context.resume();
    this.watchForLoss();
  }

  private deliver(data: unknown): void {
    if (!(data instanceof Int16Array) || !this.isDelivering) return;
    const bytes = new Uint8Array(data.buffer as ArrayBuffer, data.byteOffset, data.byteLength);
    this.events?.onAudio(bytes);
    this.events?.onLevels(this.silence().map((_, channel) => level(bytes, this.channels, channel)));
  }

  private silence(): number[] {
    return new Array<number>(this.channels).fill(0);
  }

  private async flush(): Promise<void> {
    const port = this.capture?.port;
    if (port === undefined || this.context?.state !== "running") return;
    await new Promise<void>((resolve) => {
      const done = (event: MessageEvent): void => {
        if (event.data === "flushed") finish();
      };
      const finish = (): void => {
        port.removeEventListener("message", done);
        clearTimeout(deadline);
        resolve();
      };
      const deadline = setTimeout(finish, 500);
      port.addEventListener("message", done);
      port.postMessage("flush");
    });
  }

  /** Open the microphone again after it was unplugged, or another one. The rate stays, as the meeting has begun. */
  private async reopen(): Promise<void> {
    this.stream = await this.getStream();
    this.input?.disconnect();
    if (this.context === null || this.capture === null) return;
    try {
      this.input = this.context.createMediaStreamSource(this.stream);
    } catch (error) {
      throw new SourceError(describe(error));
    }
    this.input.connect(this.merger ?? this.capture);
    this.watchForLoss();
  }

  private watchForLoss(): void {
    const track = this.stream?.getAudioTracks()[0];
    track?.addEventListener("ended", () => {
      this.events?.onLost({
        code: "microphone_lost",
        message: "The microphone was disconnected.",
        remedy: "Reconnect it, or choose another one in the browser, then press Resume. What was recorded is kept.",
      });
    });
  }

  private mute(isMuted: boolean): void {
    for (const stream of [this.stream, this.shared]) {
      for (const track of stream?.getAudioTracks() ?? []) track.enabled = !isMuted;
    }
  }

  private getStream(): Promise<MediaStream> {
    return getStream(this.channels === 1 ? CONSTRAINTS : WITH_COMPUTER_AUDIO);
  }
}

function stop(stream: MediaStream | null): void {
  for (const track of stream?.getTracks() ?? []) track.stop();
}

async function getStream(constraints: MediaTrackConstraints): Promise<MediaStream> {
  // Undefined on pages that are neither https nor localhost.
  const devices = navigator.mediaDevices as MediaDevices | undefined;
  if (devices === undefined) {
    throw new SourceError({
      code: "microphone_insecure",
      message: "Browsers give the microphone only to secure pages.",
      remedy: "Open this page over https, or as http://localhost on the machine that runs the server.",
    });
  }
  try {
    return await devices.getUserMedia({ audio: constraints });
  } catch (error) {
    throw new SourceError(describe(error));
  }
}

function describe(error: unknown): Problem {
  const name = error instanceof DOMException ? error.name : "";
  if (name === "NotAllowedError" || name === "SecurityError") {
    return {
      code: "microphone_denied",
      message: "The microphone is blocked for this page.",
      remedy: "Allow it with the icon beside the address of this page, then try again.",
    };
  }
  if (name === "NotFoundError" || name === "OverconstrainedError") {
    return {
      code: "microphone_missing",
      message: "No microphone was found.",
      remedy: "Connect one and try again, or upload a recording.",
    };
  }
  if (name === "NotReadableError" || name === "AbortError") {
    return {
      code: "microphone_busy",
      message: "The microphone could not be opened.",
      remedy: "Close other programs that use it, then try again.",
    };
  }
  return {
    code: "microphone_failed",
    message: "The microphone could not be used.",
    remedy: "Try again, or try another browser.",
  };
}
