// The microphone as a source of sound.

import type { Problem } from "../api/types";
import captureUrl from "./capture.worklet.ts?worker&url";
import { loudness } from "./pcm";
import { SourceError, type SoundEvents, type SoundSource } from "./source";

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

export class Microphone implements SoundSource {
  readonly kind = "microphone";
  sampleRate = SPEECH_RATE_HZ;
  private stream: MediaStream | null = null;
  private context: AudioContext | null = null;
  private input: MediaStreamAudioSourceNode | null = null;
  private capture: AudioWorkletNode | null = null;
  private events: SoundEvents | null = null;
  private isPassingOn = false;

  async open(): Promise<void> {
    this.stream = await getStream();
    try {
      this.input = this.connect(this.stream, SPEECH_RATE_HZ) ?? this.connect(this.stream, undefined);
      await this.startCapture();
    } catch (error) {
      await this.close();
      throw error instanceof SourceError ? error : new SourceError(describe(error));
    }
  }

  start(events: SoundEvents): void {
    this.events = events;
    this.isPassingOn = true;
  }

  async pause(): Promise<void> {
    await this.flush();
    this.isPassingOn = false;
    this.mute(true);
    this.events?.level(0);
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
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    if (this.context !== null && this.context.state !== "closed") await this.context.close();
    this.stream = this.context = this.capture = this.input = null;
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
      channelCount: 1,
      channelCountMode: "explicit",
      processorOptions: { decimation },
    });
    this.capture.port.addEventListener("message", (event: MessageEvent<unknown>) => this.hear(event.data));
    this.capture.port.start();
    this.input.connect(this.capture);
    // Its output is silence; without a destination some browsers do not run it.
    this.capture.connect(context.destination);
    await context.resume();
    this.watchForLoss();
  }

  private hear(data: unknown): void {
    if (!(data instanceof Int16Array) || !this.isPassingOn) return;
    const bytes = new Uint8Array(data.buffer as ArrayBuffer, data.byteOffset, data.byteLength);
    this.events?.sound(bytes);
    this.events?.level(loudness(bytes));
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
    this.stream = await getStream();
    this.input?.disconnect();
    if (this.context === null || this.capture === null) return;
    try {
      this.input = this.context.createMediaStreamSource(this.stream);
    } catch (error) {
      throw new SourceError(describe(error));
    }
    this.input.connect(this.capture);
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
    for (const track of this.stream?.getAudioTracks() ?? []) track.enabled = !isMuted;
  }
}

async function getStream(): Promise<MediaStream> {
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
    return await devices.getUserMedia({ audio: CONSTRAINTS });
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
