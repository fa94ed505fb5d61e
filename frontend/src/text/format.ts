// Times, dates, sizes and lists as people read and write them.

/** Format a position in a recording: `1:23`, `1:02:03`. */
export function clock(ms: number): string {
  const total = Math.max(0, Math.floor(ms / 1000));
  const [h, m, s] = [Math.floor(total / 3600), Math.floor(total / 60) % 60, total % 60];
  const seconds = String(s).padStart(2, "0");
  return h > 0 ? `${h}:${String(m).padStart(2, "0")}:${seconds}` : `${m}:${seconds}`;
}

/** Format a length: `48 s`, `12 min`, `1 h 5 min`. */
export function duration(ms: number): string {
  const seconds = Math.round(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  return minutes % 60 === 0 ? `${minutes / 60} h` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** Format the time at which a meeting began, in the reader's time zone. */
export function moment(unixMs: number, now = new Date()): string {
  const date = new Date(unixMs);
  const time = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" }).format(date);
  if (date.toDateString() === now.toDateString()) return `Today, ${time}`;
  const yesterday = new Date(now);
  yesterday.setDate(now.getDate() - 1);
  if (date.toDateString() === yesterday.toDateString()) return `Yesterday, ${time}`;
  const style: Intl.DateTimeFormatOptions = { weekday: "short", day: "numeric", month: "short" };
  if (date.getFullYear() !== now.getFullYear()) style.year = "numeric";
  return `${new Intl.DateTimeFormat(undefined, style).format(date)}, ${time}`;
}

/** Format an ISO date without its time: `Fri 12 Dec`. */
export function day(isoDate: string): string {
  const [y = 1970, m = 1, d = 1] = isoDate.split("-").map(Number);
  const style: Intl.DateTimeFormatOptions = { weekday: "short", day: "numeric", month: "short" };
  return new Intl.DateTimeFormat(undefined, style).format(new Date(y, m - 1, d));
}

/** Format a file size: `4.2 MB`. */
export function fileSize(bytes: number): string {
  if (bytes < 1_000_000) return `${Math.max(1, Math.round(bytes / 1000))} kB`;
  if (bytes < 1_000_000_000) return `${(bytes / 1_000_000).toFixed(1)} MB`;
  return `${(bytes / 1_000_000_000).toFixed(1)} GB`;
}

/** Split `Ana, Ben; Cleo` and separate lines into a list. */
export function splitList(text: string): string[] {
  return text
    .split(/[,;\n]/)
    .map((part) => part.trim())
    .filter((part) => part !== "");
}
