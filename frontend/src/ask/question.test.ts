import { afterEach, expect, it, vi } from "vitest";
import { problem, stubServer } from "../testing";
import { Question } from "./question.svelte";

const sentence = (text: string) => ({ type: "sentence", text, citations: [] });
const END = { type: "end", is_found: true, provider: "embedded", model: null, dropped: 0, trouble: null };

/** An answer whose events arrive in the given chunks, wherever these are cut. */
const stream = (...chunks: string[]): Response =>
  new Response(new Blob(chunks).stream(), { headers: { "Content-Type": "text/event-stream" } });

afterEach(() => void vi.unstubAllGlobals());

it("receives sentences and the end of an answer, however its events are cut", async () => {
  const events = [sentence("It costs"), sentence("four euros."), END];
  const text = events.map((event) => `data: ${JSON.stringify(event)}\n\n`).join("");
  stubServer({ "POST /api/meetings/m/ask": () => stream(text.slice(0, 30), text.slice(30, 31), text.slice(31)) });
  const question = new Question("m");
  await question.ask("What does it cost?");
  expect(question.sentences.map((one) => one.text)).toEqual(["It costs", "four euros."]);
  expect(question.end).toEqual(END);
  expect([question.isPending, question.problem]).toEqual([false, null]);
});

it("reports a refusal, and an answer without an end", async () => {
  stubServer({ "POST /api/ask": () => problem(429, "Too many questions.") });
  const question = new Question(null);
  await question.ask("Why?");
  expect(question.problem?.message).toBe("Too many questions.");
  stubServer({ "POST /api/ask": () => stream(`data: ${JSON.stringify(sentence("Because"))}\n\n`) });
  await question.ask("Why?");
  expect(question.sentences).toHaveLength(1);
  expect(question.problem?.code).toBe("unreachable");
});

it("ignores what arrives after it was cancelled", async () => {
  let release = (): void => undefined;
  const gate = new Promise<void>((resolve) => (release = resolve));
  vi.stubGlobal("fetch", async () => {
    await gate;
    return stream(`data: ${JSON.stringify(sentence("Late."))}\n\ndata: ${JSON.stringify(END)}\n\n`);
  });
  const question = new Question("m");
  const asked = question.ask("Why?");
  expect(question.isPending).toBe(true);
  question.cancel();
  release();
  await asked;
  expect([question.sentences, question.end, question.problem, question.isPending]).toEqual([[], null, null, false]);
});
