// Speaker labels as people see them: a name, initials and a colour, the same on every page.

import type { Speaker } from "../api/types";

/** Label of an utterance whose speaker the server has not determined yet. */
const PENDING_LABEL = "S?";

const HUES = [215, 25, 145, 300, 65, 180, 340, 255];

/** Return the label of an identified speaker, or null for an unknown or undetermined one. */
export const identifiedLabel = (label: string | null): string | null => (label === PENDING_LABEL ? null : label);

/** Return the name given to a speaker, else `Speaker 2`; a label is never shown as it is. */
export function speakerName(label: string | null, speakers: readonly Speaker[]): string {
  const identified = identifiedLabel(label);
  if (identified === null) return "Unknown speaker";
  const given = speakers.find((speaker) => speaker.label === identified)?.name;
  return given || identified.replace(/^S(\d+)$/, "Speaker $1").replace(/^P(\d+)$/, "Person $1");
}

/** Return a hue in degrees, always the same for the same label; null for an unknown speaker. */
export function speakerHue(label: string | null): number | null {
  const number = Number(label?.replace(/^S/, "").replace(/^P/, "1"));
  return Number.isInteger(number) && number > 0 ? (HUES[(number - 1) % HUES.length] ?? null) : null;
}

/** Return up to two letters that stand for a name. */
export function initials(name: string): string {
  const words = name.split(/\s+/).filter((word) => word !== "");
  const letters = words.length > 1 ? [words[0], words[words.length - 1]] : [words[0]];
  return letters.map((word) => Array.from(word ?? "")[0]?.toLocaleUpperCase() ?? "").join("");
}
