// What this page knows about its server, asked once.

import { getInfo } from "./rest";
import type { ServerInfo } from "./types";

class Server {
  info = $state.raw<ServerInfo | null>(null);

  constructor() {
    // Without an answer the page works all the same: it only cannot say which engines there are.
    getInfo().then(
      (info) => (this.info = info),
      () => undefined,
    );
  }
}

export const server = new Server();
