import { describe, expect, it } from "vitest";
import type { FinalMessage, Item, NotesMessage, PartialMessage, ServerMessage, UtteranceMessage } from "../api/types";
import { emptyMeeting, defaultNames, reduce, type MeetingView } from "./meeting-view";

const ID = "018f0000-0000-7000-8000-000000000001";

const play = (...messages: ServerMessage[]): MeetingView => messages.reduce(reduce, emptyMeeting);

const partial = (seq: number, utterance: number, stable: string, unstable = ""): PartialMessage => ({
  type: "partial_transcript",
  seq,
  meeting_id: ID,
  utterance,
  start_ms: utterance * 1000,
  end_ms: utterance * 1000 + 500,
  speaker: null,
  stable,
  unstable,
  lag_ms: 400,
  withdrawn: null,
});

describe("captions that are withdrawn", () => {
  const withdrawn = (seq: number, utterance: number): PartialMessage => ({ ...partial(seq, utterance, ""), withdrawn: "echo" });

  it("stay marked when the next caption comes, once each", () => {
    const view = play(partial(0, 1, "Hello"), withdrawn(0, 1), withdrawn(0, 1), partial(0, 2, "And"), finished(1, 2, "And so on."));
    expect(view.withdrawn.map((one) => one.start_ms)).toEqual([1000]);
    expect(view.utterances.map((one) => one.text)).toEqual(["And so on."]);
  });

  it("leave the caption of the other channel on the page", () => {
    const view = play(partial(0, 1, "Hello"), partial(0, 2, "Good morning"), withdrawn(0, 1));
    expect(view.partial?.stable).toBe("Good morning");
  });
});

const finished = (seq: number, utterance: number, text: string, rest: Partial<UtteranceMessage> = {}): UtteranceMessage => ({
  type: "transcript",
  seq,
  meeting_id: ID,
  utterance,
  rev: 1,
  start_ms: utterance * 1000,
  end_ms: utterance * 1000 + 900,
  speaker: "S1",
  is_assigned: false,
  overlap: false,
  echo: null,
  takes_back: false,
  timing: "engine",
  text,
  words: [],
  ...rest,
});

const texts = (view: MeetingView): string[] => view.utterances.map((utterance) => utterance.text);

describe("notes", () => {
  const item = (id: string, text: string): Item => ({
    id,
    text,
    evidence: [],
    support: "verified",
    is_edited: false,
    original_text: null,
  });
  const notes = (seq: number, rest: Partial<NotesMessage>): NotesMessage => ({
    type: "notes",
    seq,
    meeting_id: ID,
    decisions: [],
    action_items: [],
    open_questions: [],
    withdrawn: [],
    ...rest,
  });

  it("accumulate: an item replaces the one with its id, and a withdrawn item goes", () => {
    const view = play(
      notes(1, { decisions: [item("d1", "Ship."), item("d2", "Wait.")] }),
      notes(2, { decisions: [item("d1", "Ship on Monday."), item("d3", "Hire.")], withdrawn: ["d2"] }),
    );
    expect(view.notes?.decisions.map((one) => one.text)).toEqual(["Ship on Monday.", "Hire."]);
  });
});

describe("captions", () => {
  it("grow and turn into a finished utterance", () => {
    const growing = play(partial(0, 1, "We ship", "on fry"));
    expect(growing.partial).toMatchObject({ stable: "We ship", unstable: "on fry" });
    expect(growing.lagMs).toBe(400);
    const done = reduce(growing, finished(1, 1, "We ship on Friday."));
    expect(done.partial).toBeNull();
    expect(done.lagMs).toBe(0);
    expect(texts(done)).toEqual(["We ship on Friday."]);
    expect(done.speakers).toEqual([{ label: "S1", name: null }]);
  });

  it("keep the current utterance when an earlier one is finished late", () => {
    const view = play(partial(0, 2, "And then"), finished(1, 1, "First."));
    expect(view.partial?.stable).toBe("And then");
  });

  it("do not come back for an utterance that is finished", () => {
    expect(play(finished(1, 1, "Done."), partial(1, 1, "Do")).partial).toBeNull();
  });
});

describe("a finished utterance", () => {
  it("is replaced in place by a later revision", () => {
    const view = play(finished(1, 1, "Won"), finished(2, 2, "Two."), finished(3, 1, "One.", { rev: 2 }));
    expect(texts(view)).toEqual(["One.", "Two."]);
  });

  it("is not replaced by an earlier revision", () => {
    expect(texts(play(finished(1, 1, "One.", { rev: 2 }), finished(2, 1, "Won", { rev: 1 })))).toEqual(["One."]);
  });

  it("is placed by time, not by arrival", () => {
    expect(texts(play(finished(1, 2, "Two."), finished(2, 1, "One.")))).toEqual(["One.", "Two."]);
  });
});

describe("a replay after a lost connection", () => {
  it("changes nothing that was seen before", () => {
    const seen = play(finished(1, 1, "One."), finished(2, 2, "Two."));
    expect(reduce(seen, finished(1, 1, "One again."))).toBe(seen);
    expect(texts(reduce(seen, finished(3, 3, "Three.")))).toEqual(["One.", "Two.", "Three."]);
  });

  it("continues after the highest number seen, transient messages included", () => {
    const started: ServerMessage = {
      type: "started",
      seq: 0,
      meeting_id: ID,
      received_bytes: 0,
      resumed: true,
      protocol: 1,
      epoch: 2,
      storage: "journal",
      engines: { asr: "moonshine-tiny-en" },
    };
    const view = play(finished(1, 1, "One."), partial(1, 2, "Tw"), started);
    expect(view.lastSeq).toBe(1);
    expect(view.meetingId).toBe(ID);
    expect(view.engines).toEqual({ asr: "moonshine-tiny-en" });
  });
});

describe("speakers", () => {
  const renamed = (seq: number, names: Record<string, string | null>): ServerMessage => ({
    type: "speakers",
    seq,
    meeting_id: ID,
    utterances: [],
    names,
  });

  it("are named and unnamed", () => {
    const named = play(finished(1, 1, "Hello."), renamed(2, { S1: "Ana" }));
    expect(named.speakers).toEqual([{ label: "S1", name: "Ana" }]);
    expect(reduce(named, renamed(3, { S1: null })).speakers).toEqual([{ label: "S1", name: null }]);
  });

  it("are moved between utterances", () => {
    const view = play(finished(1, 1, "Hello."), {
      type: "speakers",
      seq: 2,
      meeting_id: ID,
      utterances: [{ utterance: 1, rev: 2, speaker: "S2", is_assigned: true }],
      names: {},
    });
    expect(view.utterances[0]).toMatchObject({ speaker: "S2", rev: 2 });
    expect(view.speakers.map((speaker) => speaker.label), "no utterance is by S1 any more").toEqual(["S2"]);
  });

  it("without an utterance are no longer offered, and keep their name in case they speak again", () => {
    const moved: ServerMessage = {
      type: "speakers",
      seq: 4,
      meeting_id: ID,
      utterances: [{ utterance: 2, rev: 2, speaker: "S1", is_assigned: false }],
      names: {},
    };
    const view = play(
      finished(1, 1, "Hello."),
      finished(2, 2, "Hello again.", { speaker: "S2" }),
      renamed(3, { S2: "Ben" }),
      moved,
    );
    expect(view.speakers).toEqual([{ label: "S1", name: null }]);
    const back = reduce(view, finished(5, 3, "It is me.", { speaker: "S2" }));
    expect(back.speakers).toEqual([
      { label: "S1", name: null },
      { label: "S2", name: "Ben" },
    ]);
  });

  it("of two channels are you and the others, until they are renamed", () => {
    const start: MeetingView = { ...emptyMeeting, names: defaultNames(2) };
    const view = [finished(1, 1, "Hello."), finished(2, 2, "Hi.", { speaker: "S2" })].reduce(reduce, start);
    expect(view.speakers.map((speaker) => speaker.name)).toEqual(["You", null]);
    expect(reduce(view, renamed(3, { S1: "Ana" })).speakers[0]?.name).toBe("Ana");
  });

  it("are ordered by number, with speakers added by hand last", () => {
    const view = play(...["P1", "S10", "S2"].map((speaker, n) => finished(n + 1, n + 1, "Hm.", { speaker })));
    expect(view.speakers.map((speaker) => speaker.label)).toEqual(["S2", "S10", "P1"]);
  });
});

describe("the state of the server", () => {
  it("shows a degradation until it is over", () => {
    const degraded = (level: number): ServerMessage => ({
      type: "degraded",
      seq: 0,
      meeting_id: ID,
      level,
      reason: "busy",
    });
    expect(play(degraded(2)).degraded?.level).toBe(2);
    expect(play(degraded(2), degraded(0)).degraded).toBeNull();
  });

  it("lists audio that was not transcribed", () => {
    const gap: ServerMessage = { type: "gap", seq: 1, meeting_id: ID, start_ms: 0, end_ms: 900, reason: "engine", unrecorded_ms: null };
    expect(play(gap, gap).gaps).toEqual([{ start_ms: 0, end_ms: 900, reason: "engine", unrecorded_ms: null }]);
  });

  it("ends with the final transcript", () => {
    const utterance = { utterance: 1, rev: 2, start_ms: 0, end_ms: 900, speaker: "S1", text: "All of it." };
    const final = {
      type: "final",
      seq: 2,
      meeting_id: ID,
      transcript: { utterances: [utterance], speakers: [{ label: "S1", name: "Ana" }], gaps: [] },
    } as unknown as FinalMessage;
    const view = play(finished(1, 1, "All"), partial(1, 2, "more"), final);
    expect(texts(view)).toEqual(["All of it."]);
    expect(view.partial).toBeNull();
    expect(view.final).toBe(final);
  });
});
