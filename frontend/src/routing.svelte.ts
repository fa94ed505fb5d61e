// The address names the page: `#/`, `#/live`, `#/figures`, `#/meetings/ID`, `#/meetings/ID/UTTERANCE`, `#/shared/ID/TOKEN` (what follows # is never sent).

export type Route =
  | { page: "home" }
  | { page: "live" }
  | { page: "figures" }
  | { page: "meeting"; id: string; utterance?: number }
  | { page: "shared"; id: string; token: string };

export function parseRoute(hash: string): Route {
  const [, page, id, token] = hash.replace(/^#/, "").split("/");
  if (page === "live" || page === "figures") return { page };
  if (page === "meetings" && id) {
    const said = /^\d+$/.test(token ?? "") ? { utterance: Number(token) } : {};
    return { page: "meeting", id: decodeURIComponent(id), ...said };
  }
  if (page === "shared" && id && token) return { page: "shared", id: decodeURIComponent(id), token };
  return { page: "home" };
}

export const meetingHash = (id: string): string => `#/meetings/${encodeURIComponent(id)}`;

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

/** Like `goTo`, but Back does not lead here again. */
export function replaceWith(hash: string): void {
  history.replaceState(null, "", hash);
  router.route = parseRoute(hash);
}
