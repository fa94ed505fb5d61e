import type { LiveSession } from "./live-session.svelte";

/** Describe what a recording is doing, in a few words. */
export function statusText({ phase, kind, connection, view }: Pick<LiveSession, "phase" | "kind" | "connection" | "view">): string {
  if (phase === "opening") return kind === "sample" ? "Loading the sample" : "Opening the microphone";
  if (phase === "failed") return "Not recording";
  if (connection === "connecting") return "Connecting";
  if (connection !== "open") return "Connection lost";
  if (phase === "paused") return "Paused: nothing is recorded";
  if (phase === "stopping") return view.status?.status ?? "Processing audio";
  return view.status?.status ?? "Listening";
}
