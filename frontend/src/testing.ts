// What tests of the page share.

import { vi } from "vitest";

type Answer = (path: string, init: RequestInit) => unknown;

/** Answer requests by `"METHOD path"`: a value is sent as JSON, a `Response` as it is. Returns the requests, in order. */
export function stubServer(answers: Record<string, Answer | object | string>): string[] {
  const requests: string[] = [];
  vi.stubGlobal("fetch", async (path: string, init: RequestInit = {}) => {
    const request = `${init.method ?? "GET"} ${path}`;
    requests.push(request);
    const answer = answers[request];
    if (answer === undefined) return problem(404, `No answer to ${request}.`);
    const body: unknown = typeof answer === "function" ? (answer as Answer)(path, init) : answer;
    return body instanceof Response ? body : Response.json(body);
  });
  return requests;
}

/** An answer that refuses, in the server's shape of errors. */
export const problem = (status: number, message: string): Response =>
  Response.json({ error: { code: "refused", message, remedy: "Try something else." } }, { status });

/** The body that a request carries. */
export const bodyOf = (init: RequestInit): unknown => JSON.parse(String(init.body));
