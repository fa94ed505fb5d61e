// One colour per speaker, the same on every page.

const HUES = [215, 25, 145, 300, 65, 180, 340, 255];

/** A hue in degrees for a label such as `S3`; the same label always has the same. */
export function speakerHue(label: string | null): number | null {
  const number = Number(label?.replace(/^S/, "").replace(/^P/, "1"));
  return Number.isInteger(number) && number > 0 ? (HUES[(number - 1) % HUES.length] ?? null) : null;
}

/** Up to two letters to stand for a name. */
export function initials(name: string): string {
  const words = name.split(/\s+/).filter((word) => word !== "");
  const letters = words.length > 1 ? [words[0], words[words.length - 1]] : [words[0]];
  return letters.map((word) => Array.from(word ?? "")[0]?.toLocaleUpperCase() ?? "").join("");
}
