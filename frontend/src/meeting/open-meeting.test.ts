import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { ServerMessage, StatusMessage } from "../api/types";
import { problem, stubServer } from "../testing";
import { OpenMeeting } from "./open-meeting.svelte";

/** The watchers of the meeting: the test sends them events and reconnects them. */
const watchers = vi.hoisted(() => [] as { send: (message: ServerMessage) => void; reconnect: () => void }[]);
vi.mock("./event-stream", () => ({
  watchMeeting: (_id: string, _lastSeq: () => number, send: (message: ServerMessage) => void, reconnect: () => void) => {
    watchers.push({ send, reconnect });
    return () => undefined;
  },
}));
vi.mock("../routing.svelte", () => ({ goTo: vi.fn() }));

const said = (utterance: number, text: string, speaker = "S1") => ({
  utterance,
  rev: 1,
  start_ms: utterance * 1000,
  end_ms: utterance * 1000 + 900,
  speaker,
  text,
  words: [],
});
const document = (lastSeq: number, more: object = {}, utterances = [said(1, "Hello.")]) => ({
  meeting: { id: "m", title: "Weekly", state: "done", channels: 1, sound_deleted_at_ms: null, ...more },
  transcript: { utterances, speakers: [{ label: "S1", name: null }], gaps: [] },
  minutes: { version: 1 },
  last_seq: lastSeq,
});
const status = (text: StatusMessage["status"]): ServerMessage => ({
  type: "status",
  seq: 1,
  meeting_id: "m",
  status: text,
  detail: "",
  progress: null,
  queue_position: null,
});
const READ = "GET /api/meetings/m";

async function openMeeting(answers: Parameters<typeof stubServer>[0]) {
  const requests = stubServer(answers);
  const open = new OpenMeeting("m");
  await open.open();
  return { open, requests, watcher: watchers.at(-1)! };
}

beforeEach(() => {
  watchers.length = 0;
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

describe("an open meeting", () => {
  it("is read once and followed from there", async () => {
    const { open } = await openMeeting({ [READ]: document(1) });
    expect(open.meeting?.title).toBe("Weekly");
    expect(open.view.lastSeq).toBe(1);
    expect(watchers).toHaveLength(1);
  });

  it("says why it cannot be read, and is not followed", async () => {
    const { open } = await openMeeting({ [READ]: () => problem(404, "There is no such meeting.") });
    expect(open.problem?.message).toBe("There is no such meeting.");
    expect(watchers).toHaveLength(0);
  });

  it("is read anew once after several events at the same time", async () => {
    const { requests, watcher } = await openMeeting({ [READ]: document(5) });
    for (const seq of [6, 7, 8]) watcher.send({ type: "speakers", seq, meeting_id: "m", utterances: [], names: {} });
    await vi.advanceTimersByTimeAsync(199);
    expect(requests).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(1);
    expect(requests).toHaveLength(2);
  });

  it("does not let an answer that events have overtaken replace them", async () => {
    const lastSeqs = [1, 1, 2];
    const texts = ["Old.", "Old.", "New."];
    const { open, watcher } = await openMeeting({
      [READ]: () => document(lastSeqs.shift() ?? 2, {}, [said(1, texts.shift() ?? "New.")]),
    });
    watcher.send({ type: "speakers", seq: 2, meeting_id: "m", utterances: [], names: { S1: "Ana" } });
    await vi.advanceTimersByTimeAsync(200);
    expect(open.view.speakers[0]?.name, "the older answer is not applied").toBe("Ana");
    await vi.advanceTimersByTimeAsync(200);
    expect(open.view.utterances[0]?.text).toBe("New.");
  });
});

describe("rewriting minutes", () => {
  const options = { template: "general", language: "en", llm_provider: "auto" };

  it("lasts until an event reports the end", async () => {
    const { open, watcher } = await openMeeting({ [READ]: document(1), "POST /api/meetings/m/minutes": {} });
    await open.rewrite(options);
    expect(open.isRewriting).toBe(true);
    watcher.send(status("Done"));
    await vi.advanceTimersByTimeAsync(200);
    expect(open.isRewriting).toBe(false);
  });

  it("ends at once when the server refuses", async () => {
    const { open } = await openMeeting({
      [READ]: document(1),
      "POST /api/meetings/m/minutes": () => problem(409, "Already rewriting."),
    });
    await expect(open.rewrite(options)).rejects.toThrow("Already rewriting.");
    expect(open.isRewriting).toBe(false);
  });

  it("is forgotten over a lost connection, whose events are not repeated", async () => {
    const { open, watcher } = await openMeeting({ [READ]: document(1) });
    watcher.send(status("Writing minutes"));
    expect(open.isRewriting).toBe(true);
    watcher.reconnect();
    expect(open.isRewriting).toBe(false);
  });
});

describe("changes", () => {
  it("return the second part of an utterance that was split", async () => {
    const parts = [said(1, "Hello."), said(2, "Hi.")];
    const { open } = await openMeeting({
      [READ]: document(1),
      "POST /api/meetings/m/utterances/1/split": document(1, {}, parts).transcript,
    });
    const part = await open.split(open.view.utterances[0]!, 1);
    expect(part?.text).toBe("Hi.");
    expect(open.view.utterances).toHaveLength(2);
  });

  it("count audio without a transcript, apart from what is off the record", async () => {
    const coverage = { captured_s: 100, transcribed_s: 60 };
    const { open } = await openMeeting({ [READ]: document(1, { coverage }) });
    open.view = { ...open.view, gaps: [{ start_ms: 0, end_ms: 30_000, reason: "off_the_record", unrecorded_ms: null }] };
    expect(open.untranscribedS).toBe(10);
  });
});
