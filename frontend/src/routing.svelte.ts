// The fragment of the address names the page: `#/`, `#/live`, `#/dashboard`, `#/meetings/ID`,
// `#/meetings/ID/UTTERANCE` and `#/shared/ID/TOKEN`. Browsers do not send it to the server.

export type Route =
  | { page: "home" }
  | { page: "unknown" }
  | { page: "live" }
  | { page: "dashboard" }
  | { page: "meeting"; id: string; utterance?: number }
  | { page: "shared"; id: string; token: string };

export function parseRoute(hash: string): Route {
  const [, page, id, last] = hash.replace(/^#/, "").split("/");
  if (page === "live" || page === "dashboard") return { page };
  if (page === "meetings" && id) {
    const utterance = /^\d+$/.test(last ?? "") ? { utterance: Number(last) } : {};
    return { page: "meeting", id: decodeURIComponent(id), ...utterance };
  }
  if (page === "shared" && id && last) return { page: "shared", id: decodeURIComponent(id), token: last };
  return page === undefined || page === "" ? { page: "home" } : { page: "unknown" };
}

/** Return the address of a meeting, or of a moment in it. */
export const meetingHash = (id: string, utterance?: number): string =>
  `#/meetings/${encodeURIComponent(id)}${utterance === undefined ? "" : `/${utterance}`}`;

class Router {
  route = $state.raw<Route>(parseRoute(location.hash));

  constructor() {
    addEventListener("hashchange", () => (this.route = parseRoute(location.hash)));
  }
}

export const router = new Router();

export function goTo(hash: string): void {
  location.hash = hash;
}

/** Like `goTo`, but without an entry in the history. */
export function replaceWith(hash: string): void {
  history.replaceState(null, "", hash);
  router.route = parseRoute(hash);
}
