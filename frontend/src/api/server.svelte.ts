// Facts about the server, requested once.

import { getInfo } from "./rest";
import type { ServerInfo } from "./types";

class Server {
  info = $state.raw<ServerInfo | null>(null);

  constructor() {
    // The page works without them; it only cannot name the engines.
    getInfo().then(
      (info) => (this.info = info),
      () => undefined,
    );
  }
}

export const server = new Server();
