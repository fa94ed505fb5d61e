// The microphone as a source of sound, and beside it, where somebody asks for it, the sound of this computer.

import type { Problem } from "../api/types";
import captureUrl from "./capture.worklet.ts?worker&url";
import { SHARING_ENDED, shareSound } from "./computer-sound";
import { loudness } from "./pcm";
import { SourceError, type Channels, type SoundEvents, type SoundSource } from "./source";

const SPEECH_RATE_HZ = 16_000;
const MAX_RATE_HZ = 48_000;

// People on a loudspeaker belong to the meeting, and echo cancellation would remove them; noise suppression
// costs far voices more than it gives. The recogniser is made for the plain sound.
const CONSTRAINTS: MediaTrackConstraints = {
  channelCount: 1,
  echoCancellation: false,
  noiseSuppression: false,
  autoGainControl: true,
};
// With the computer's sound on a channel of its own, the loudspeaker has nothing to say on this one.
const BESIDE_COMPUTER: MediaTrackConstraints = { ...CONSTRAINTS, echoCancellation: true };

export class Microphone implements SoundSource {
  readonly kind = "microphone";
  sampleRate = SPEECH_RATE_HZ;
  private stream: MediaStream | null = null;
  private context: AudioContext | null = null;
  private input: MediaStreamAudioSourceNode | null = null;
  private capture: AudioWorkletNode | null = null;
  private merger: ChannelMergerNode | null = null;
  /** The computer's sound. */
  private shared: MediaStream | null = null;
  private sharingProblem: Problem | null = null;
  private events: SoundEvents | null = null;
  private isPassingOn = false;

  /** `mayLackComputer`: a meeting that has begun goes on, though the computer's sound is not shared this time. */
  constructor(
    readonly channels: Channels = 1,
    private readonly mayLackComputer = false,
  ) {}

  async open(): Promise<void> {
    // First: a browser asks what to share only right after a click.
    const shared = this.channels === 2 ? await this.askForComputer() : null;
    try {
      this.stream = await this.getStream();
      this.input = this.connect(this.stream, SPEECH_RATE_HZ) ?? this.connect(this.stream, undefined);
      await this.startCapture();
      if (shared !== null) this.listenTo(shared);
    } catch (error) {
      stop(shared);
      await this.close();
      throw error instanceof SourceError ? error : new SourceError(describe(error));
    }
  }

  start(events: SoundEvents): void {
    this.events = events;
    this.isPassingOn = true;
    if (this.sharingProblem !== null) events.shared(this.sharingProblem);
  }

  /** Where sharing ended, or was refused. From a click. Throws `SourceError`. */
  async shareAgain(): Promise<void> {
    const shared = await shareSound();
    if (this.context === null || this.channels === 1) return stop(shared);
    stop(this.shared);
    this.listenTo(shared);
    this.mute(!this.isPassingOn);
    this.events?.shared(null);
  }

  async pause(): Promise<void> {
    await this.flush();
    this.isPassingOn = false;
    this.mute(true);
    this.events?.level(this.silence());
  }

  async resume(): Promise<void> {
    if (this.stream?.getAudioTracks()[0]?.readyState !== "live") await this.reopen();
    this.mute(false);
    await this.context?.resume();
    this.isPassingOn = true;
  }

  async close(): Promise<void> {
    await this.flush();
    this.isPassingOn = false;
    stop(this.stream);
    stop(this.shared);
    if (this.context !== null && this.context.state !== "closed") await this.context.close();
    this.stream = this.shared = this.context = this.capture = this.merger = this.input = null;
  }

  private async askForComputer(): Promise<MediaStream | null> {
    try {
      return await shareSound();
    } catch (error) {
      if (!this.mayLackComputer || !(error instanceof SourceError)) throw error;
      this.sharingProblem = error.problem;
      return null;
    }
  }

  /** Its end is the end of the second channel only, which is silent from then on. */
  private listenTo(shared: MediaStream): void {
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
      this.events?.shared(SHARING_ENDED);
    });
  }

  /** Null when the browser cannot bring this microphone to that rate (Firefox). */
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
    this.capture.port.addEventListener("message", (event: MessageEvent<unknown>) => this.hear(event.data));
    this.capture.port.start();
    if (this.channels === 2) {
      // Each of its inputs is one channel: what has more is mixed down.
      this.merger = new ChannelMergerNode(context, { numberOfInputs: 2 });
      this.merger.connect(this.capture);
    }
    this.input.connect(this.merger ?? this.capture);
    // Its output is silence; without a destination some browsers do not run it.
    this.capture.connect(context.destination);
    await context.resume();
    this.watchForLoss();
  }

  private hear(data: unknown): void {
    if (!(data instanceof Int16Array) || !this.isPassingOn) return;
    const bytes = new Uint8Array(data.buffer as ArrayBuffer, data.byteOffset, data.byteLength);
    this.events?.sound(bytes);
    this.events?.level(this.silence().map((_, channel) => loudness(bytes, this.channels, channel)));
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
        clearTimeout(patience);
        resolve();
      };
      const patience = setTimeout(finish, 500);
      port.addEventListener("message", done);
      port.postMessage("flush");
    });
  }

  /** A microphone that was unplugged and came back, or another one. The rate stays: the meeting has begun. */
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
      this.events?.lost({
        code: "microphone_lost",
        message: "The microphone is gone.",
        remedy: "Plug it in again, or choose another one in the browser, then press Resume. What was said is kept.",
      });
    });
  }

  private mute(isMuted: boolean): void {
    for (const stream of [this.stream, this.shared]) {
      for (const track of stream?.getAudioTracks() ?? []) track.enabled = !isMuted;
    }
  }

  private getStream(): Promise<MediaStream> {
    return getStream(this.channels === 1 ? CONSTRAINTS : BESIDE_COMPUTER);
  }
}

function stop(stream: MediaStream | null): void {
  for (const track of stream?.getTracks() ?? []) track.stop();
}

async function getStream(constraints: MediaTrackConstraints): Promise<MediaStream> {
  // Absent on pages that are neither https nor localhost.
  const devices = navigator.mediaDevices as MediaDevices | undefined;
  if (devices === undefined) {
    throw new SourceError({
      code: "microphone_insecure",
      message: "The browser gives no microphone to a page that is not secure.",
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
