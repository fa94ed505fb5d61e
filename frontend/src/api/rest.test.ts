import { afterEach, expect, it, vi } from "vitest";
import { uploadRecording } from "./rest";

afterEach(() => void vi.unstubAllGlobals());

it("sends the special words of a meeting with its recording", async () => {
  const sent: FormData[] = [];
  class Request {
    upload = {};
    status = 201;
    responseText = '{"id": "m"}';
    onload = (): void => undefined;
    open(): void {}
    setRequestHeader(): void {}
    send(form: FormData): void {
      sent.push(form);
      this.onload();
    }
  }
  vi.stubGlobal("XMLHttpRequest", Request);
  const options = { title: "Weekly", attendees: ["Ana"], vocabulary: ["etcd", "Kubernetes"], local_only: false };
  const signal = new AbortController().signal;
  await uploadRecording(new File(["x"], "a.wav"), options, () => undefined, signal);
  expect(sent.map((form) => [form.get("vocabulary"), form.get("attendees"), form.get("title")])).toEqual([
    ["etcd, Kubernetes", "Ana", "Weekly"],
  ]);
});
