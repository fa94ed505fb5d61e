// The audio of this computer, shared by the browser: the other participants of a call.

import type { Problem } from "../api/types";
import { SourceError } from "./audio-source";

type Options = DisplayMediaStreamOptions & {
  systemAudio?: "include" | "exclude";
  selfBrowserSurface?: "include" | "exclude";
  surfaceSwitching?: "include" | "exclude";
};

// Unprocessed audio; this page itself, which plays nothing, is not offered.
const OPTIONS: Options = {
  video: true,
  audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false },
  systemAudio: "include",
  selfBrowserSurface: "exclude",
  surfaceSwitching: "exclude",
};

/** Return false in browsers that share nothing (phones) or only pictures (Firefox, Safari). */
export function canShareAudio(): boolean {
  const devices = navigator.mediaDevices as MediaDevices | undefined;
  // No feature test for shared audio exists; browsers that support it also support muting what is shared.
  return (
    typeof devices?.getDisplayMedia === "function" &&
    "suppressLocalAudioPlayback" in devices.getSupportedConstraints()
  );
}

/** Ask the user to share audio. Call it from a click, before anything slow. Throws `SourceError`. */
export async function shareAudio(): Promise<MediaStream> {
  let stream: MediaStream;
  try {
    stream = await navigator.mediaDevices.getDisplayMedia(OPTIONS);
  } catch (error) {
    throw new SourceError(describe(error));
  }
  // Browsers share audio only together with video. Nobody watches it, so capture stops at once.
  for (const track of stream.getVideoTracks()) track.stop();
  const [audio] = stream.getAudioTracks();
  if (audio === undefined) throw new SourceError(WITHOUT_AUDIO);
  return new MediaStream([audio]);
}

const WITHOUT_AUDIO: Problem = {
  code: "sharing_without_sound",
  message: "What you chose was shared without its audio.",
  remedy: "Choose again and turn on “Also share audio” in the browser's window. A tab's audio can always be shared.",
};

/** Shown while the microphone alone is still recorded. */
export const SHARING_ENDED: Problem = {
  code: "sharing_ended",
  message: "This computer's audio is no longer shared.",
  remedy: "Your microphone is still recorded; share again to record the others too.",
};

function describe(error: unknown): Problem {
  const name = error instanceof DOMException ? error.name : "";
  if (name === "NotAllowedError") {
    return {
      code: "sharing_denied",
      message: "This computer's audio was not shared.",
      remedy: "Choose a tab or the whole screen in the browser's window, or record only the microphone.",
    };
  }
  return {
    code: "sharing_failed",
    message: "This computer's audio could not be shared.",
    remedy: "Try again with another tab or the whole screen, or record only the microphone.",
  };
}
