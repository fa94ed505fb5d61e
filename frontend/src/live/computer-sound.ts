// The sound of this computer, as the browser shares it: what the others say in a call.

import type { Problem } from "../api/types";
import { SourceError } from "./source";

type Options = DisplayMediaStreamOptions & {
  systemAudio?: "include" | "exclude";
  selfBrowserSurface?: "include" | "exclude";
  surfaceSwitching?: "include" | "exclude";
};

// Plain, as it is heard; and this page, which says nothing, is not offered.
const OPTIONS: Options = {
  video: true,
  audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false },
  systemAudio: "include",
  selfBrowserSurface: "exclude",
  surfaceSwitching: "exclude",
};

/** False in browsers that share nothing (telephones) or pictures alone (Firefox, Safari). */
export function canShareSound(): boolean {
  const devices = navigator.mediaDevices as MediaDevices | undefined;
  // Nothing says outright that sound can be shared; browsers that do it can also silence what is shared.
  return (
    typeof devices?.getDisplayMedia === "function" &&
    "suppressLocalAudioPlayback" in devices.getSupportedConstraints()
  );
}

/** Ask for it; call it from a click, before anything that takes long. Throws `SourceError`. */
export async function shareSound(): Promise<MediaStream> {
  let stream: MediaStream;
  try {
    stream = await navigator.mediaDevices.getDisplayMedia(OPTIONS);
  } catch (error) {
    throw new SourceError(describe(error));
  }
  // No browser shares sound without a picture, and nobody looks at it: it is not even captured.
  for (const track of stream.getVideoTracks()) track.stop();
  const [sound] = stream.getAudioTracks();
  if (sound === undefined) throw new SourceError(NO_SOUND);
  return new MediaStream([sound]);
}

const NO_SOUND: Problem = {
  code: "sharing_without_sound",
  message: "What you chose was shared without its sound.",
  remedy: "Choose again and switch on “Also share audio” in the browser's window. A tab's sound can always be shared.",
};

/** While recording: the microphone goes on alone. */
export const SHARING_ENDED: Problem = {
  code: "sharing_ended",
  message: "The sound of this computer is no longer shared.",
  remedy: "Your microphone is still recorded; share again to hear the others too.",
};

function describe(error: unknown): Problem {
  const name = error instanceof DOMException ? error.name : "";
  if (name === "NotAllowedError") {
    return {
      code: "sharing_denied",
      message: "The sound of this computer was not shared.",
      remedy: "Choose a tab or the whole screen in the browser's window, or record the microphone alone.",
    };
  }
  return {
    code: "sharing_failed",
    message: "The sound of this computer could not be shared.",
    remedy: "Try again with another tab or the whole screen, or record the microphone alone.",
  };
}
