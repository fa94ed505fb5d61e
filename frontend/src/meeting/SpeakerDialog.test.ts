// @vitest-environment happy-dom
import { cleanup, render, screen } from "@testing-library/svelte";
import userEvent from "@testing-library/user-event";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import type { Utterance } from "../api/types";
import { bodyOf, problem, stubServer } from "../testing";
import SpeakerDialog from "./SpeakerDialog.svelte";

const said = (utterance: number, speaker: string | null): Utterance => ({
  utterance,
  speaker,
  text: `Line ${utterance}.`,
  rev: 1,
  start_ms: 0,
  end_ms: 1,
  is_assigned: false,
  overlap: false,
  echo: null,
  timing: "engine",
  words: [],
});
const SPEAKERS = [
  { label: "S1", name: "Ana" },
  { label: "S2", name: null },
];
const CHANGED = { utterances: [], speakers: [], gaps: [] };
const callbacks = { onChanged: vi.fn(), onClose: vi.fn() };
let bodies: unknown[] = [];

beforeEach(() => {
  bodies = [];
  const record = (_path: string, init: RequestInit): object => {
    bodies.push(bodyOf(init));
    return CHANGED;
  };
  stubServer({
    "GET /api/voices": { voices: [{ id: "v", name: "Maya", spoken_ms: 1, created_at_ms: 1 }] },
    "DELETE /api/voices/v": () => new Response(null, { status: 204 }),
    "POST /api/meetings/m/speakers": record,
    "POST /api/meetings/m/speakers/S1/merge": record,
    "POST /api/meetings/m/voices": () => problem(409, "The voice is too short."),
  });
});
afterEach(() => {
  cleanup();
  vi.clearAllMocks();
  vi.unstubAllGlobals();
});

const open = (utterances: Utterance[], canRememberVoice = true): unknown =>
  render(SpeakerDialog, {
    meetingId: "m",
    utterances,
    speakers: SPEAKERS,
    attendees: [],
    canRememberVoice,
    ...callbacks,
  });

const save = (): Promise<void> => userEvent.click(screen.getByTestId("speaker-save"));

it("gives lines to a new person", async () => {
  open([said(1, "S1"), said(2, "S1")]);
  await userEvent.type(screen.getByTestId("speaker-new-name"), "Ben");
  await save();
  await vi.waitFor(() => expect(callbacks.onChanged).toHaveBeenCalledWith(CHANGED));
  expect(bodies).toEqual([{ utterances: [1, 2], speaker: "new", name: "Ben" }]);
});

it("merges a speaker into the first of the others, unless another is chosen", async () => {
  open([said(1, "S1")]);
  await userEvent.click(screen.getByTestId("speaker-merge"));
  await save();
  await vi.waitFor(() => expect(bodies).toEqual([{ into: "S2" }]));
});

it("offers what is true of one speaker only where all lines are of one", () => {
  open([said(1, "S1"), said(2, "S2")]);
  expect(screen.queryByTestId("speaker-merge")).toBeNull();
  expect(screen.queryByTestId("remember-voice")).toBeNull();
});

it("treats a speaker who is not determined yet as unknown", () => {
  open([said(1, "S?")]);
  expect(screen.queryByTestId("speaker-merge")).toBeNull();
  expect(screen.getByTestId("speaker").textContent).not.toContain("unknown");
});

it("shows why a voice is not remembered, and stays open", async () => {
  open([said(1, "S1")]);
  await userEvent.click(screen.getByTestId("remember-voice"));
  expect(screen.getByTestId<HTMLInputElement>("voice-name").value).toBe("Ana");
  await save();
  await vi.waitFor(() => expect(screen.getByTestId("error-banner").textContent).toContain("too short"));
  expect(callbacks.onClose).not.toHaveBeenCalled();
});

it("forgets a remembered voice", async () => {
  open([said(1, "S1")]);
  await userEvent.click(await screen.findByTestId("forget-voice"));
  await vi.waitFor(() => expect(screen.queryByTestId("forget-voice")).toBeNull());
});
