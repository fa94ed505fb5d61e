// Which engines work, in words, and whether anything leaves the machine.

const TITLES: Record<string, string> = {
  asr: "Speech",
  vad: "Voice activity",
  diarization: "Speakers",
  minutes: "Minutes",
};

// Only what is known to compute inside the server itself; anything else gets no promise.
const LOCAL = /^(moonshine|faster-whisper|whisper-|silero|energy|embedded|pyannote|nemo|off$|none$|unknown$)/i;

/** One line per engine. */
export function engineLines(engines: Record<string, string>): { title: string; name: string }[] {
  return Object.entries(engines).map(([part, name]) => ({ title: TITLES[part] ?? part, name }));
}

/** The promise that holds for these engines, seen from a page at `hostname`; null when none does. */
export function privacyPromise(
  engines: Record<string, string>,
  hostname: string,
  tellsOthers = false,
): string | null {
  const names = Object.values(engines);
  if (tellsOthers || names.length === 0 || !names.every((name) => LOCAL.test(name))) return null;
  const isHere = ["localhost", "127.0.0.1", "[::1]", "::1"].includes(hostname);
  return isHere ? "Everything stays on this machine." : `Everything stays on ${hostname}.`;
}
