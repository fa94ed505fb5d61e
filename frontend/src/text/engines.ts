// Names of the engines in use, and whether any data leaves the machine.

const TITLES: Record<string, string> = {
  asr: "Speech",
  vad: "Voice activity",
  diarization: "Speakers",
  minutes: "Minutes",
};

// Engines known to run inside the server process; any other name gets no promise.
const LOCAL = /^(moonshine|faster-whisper|whisper-|silero|energy|embedded|pyannote|nemo|off$|none$|unknown$)/i;

/** Return one line per engine. */
export function engineLines(engines: Record<string, string>): { title: string; name: string }[] {
  return Object.entries(engines).map(([part, name]) => ({ title: TITLES[part] ?? part, name }));
}

/** Return the privacy promise that these engines allow on a page at `hostname`, or null. */
export function privacyPromise(
  engines: Record<string, string>,
  hostname: string,
  hasRemoteIntegrations = false,
): string | null {
  const names = Object.values(engines);
  if (hasRemoteIntegrations || names.length === 0 || !names.every((name) => LOCAL.test(name))) return null;
  const isHere = ["localhost", "127.0.0.1", "[::1]", "::1"].includes(hostname);
  return isHere ? "Everything stays on this machine." : `Everything stays on ${hostname}.`;
}
