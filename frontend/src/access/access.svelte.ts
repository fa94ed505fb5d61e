// Who this page is to its server: anybody, somebody with a token, or a reader of a shared meeting.

import { getSession, onUnauthenticated, signIn, signOut } from "../api/rest";
import type { Session } from "../api/types";

class Access {
  private session = $state.raw<Session | null>(null);
  /** Counts questions: an answer that was overtaken by a sign-in or a later question says nothing any more. */
  private asked = 0;

  constructor() {
    onUnauthenticated.listener = () => void this.refresh();
    void this.refresh();
  }

  /** False until the server has answered. */
  get isKnown(): boolean {
    return this.session !== null;
  }

  /** Nothing can be shown before somebody signs in. */
  get isLocked(): boolean {
    return this.session !== null && !this.session.is_signed_in;
  }

  get needsToken(): boolean {
    return this.session?.access === "token";
  }

  get owner(): string {
    return this.session?.owner ?? "";
  }

  /** Open meetings and change one's own. */
  get mayRecord(): boolean {
    return this.has("record");
  }

  /** Search in one's own meetings, and ask about them. */
  get mayRead(): boolean {
    return this.has("read");
  }

  /** See the server's figures. */
  get mayAdminister(): boolean {
    return this.has("admin");
  }

  async enter(token: string): Promise<void> {
    const session = await signIn(token);
    this.asked += 1;
    this.session = session;
  }

  async leave(): Promise<void> {
    await signOut();
    await this.refresh();
  }

  async refresh(): Promise<void> {
    const mine = ++this.asked;
    try {
      const session = await getSession();
      if (mine === this.asked) this.session = session;
    } catch {
      // Without an answer the pages say for themselves that the server is gone.
      this.session ??= { access: "open", is_signed_in: true, owner: "", scopes: ["record", "read"], shared: [] };
    }
  }

  private has(scope: string): boolean {
    const scopes = this.session?.scopes ?? [];
    return scopes.includes(scope) || scopes.includes("admin");
  }
}

export const access = new Access();
