import { beforeEach, expect, it, vi } from "vitest";
import { RequestError, uploadRecording } from "../api/rest";
import type { MeetingOptions } from "../api/types";
import { Uploads } from "./upload.svelte";

vi.mock("../api/rest", async (original) => ({ ...(await original<object>()), uploadRecording: vi.fn() }));
const send = vi.mocked(uploadRecording);

const OPTIONS: MeetingOptions = { title: "Weekly", attendees: [], vocabulary: ["etcd"], local_only: false };
const files = (...names: string[]): File[] => names.map((name) => new File(["x"], name));

beforeEach(() => void send.mockReset());

it("sends files one after another, and opens only one that was sent alone", async () => {
  send.mockImplementation(async (file) => ({ id: file.name }) as never);
  const done: unknown[] = [];
  const uploads = new Uploads((meeting, isOpened) => done.push([meeting.id, isOpened]));
  await uploads.send(files("a.wav", "b.wav"), (count) => ({ ...OPTIONS, title: count === 1 ? "Weekly" : "" }), true);
  await uploads.send(files("c.wav"), () => OPTIONS, true);
  expect(done).toEqual([["a.wav", false], ["b.wav", false], ["c.wav", true]]);
  expect(send.mock.calls.map(([, options]) => options.title)).toEqual(["", "", "Weekly"]);
  expect(uploads.file).toBeNull();
});

it("queues what is added meanwhile", async () => {
  const finish: (() => void)[] = [];
  send.mockImplementation((file) => new Promise((resolve) => finish.push(() => resolve({ id: file.name } as never))));
  const uploads = new Uploads(() => undefined);
  const all = uploads.send(files("a.wav"), () => OPTIONS);
  await uploads.send(files("b.wav"), () => OPTIONS);
  expect([uploads.file?.name, uploads.waiting.length]).toEqual(["a.wav", 1]);
  finish[0]?.();
  await vi.waitFor(() => expect(uploads.file?.name).toBe("b.wav"));
  finish[1]?.();
  await all;
  expect(send).toHaveBeenCalledTimes(2);
});

it("names each file that was refused, and goes on with the next", async () => {
  const problem = { code: "not_audio", message: "This file is not sound.", remedy: "Send a recording." };
  send.mockRejectedValueOnce(new RequestError(problem, 415)).mockResolvedValueOnce({ id: "b" } as never);
  const uploads = new Uploads(() => undefined);
  await uploads.send(files("notes.txt", "b.wav"), () => OPTIONS);
  expect(uploads.problems.map((one) => one.message)).toEqual(["“notes.txt” was not uploaded. This file is not sound."]);
  expect(send).toHaveBeenCalledTimes(2);
  uploads.problems.forEach((one) => uploads.dismiss(one));
  expect(uploads.problems).toEqual([]);
});
