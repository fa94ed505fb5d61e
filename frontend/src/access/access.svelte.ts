// The identity of this page's user to the server: anyone, the holder of a token, or a reader of a shared meeting.

import { getSession, signIn, signOut, unauthenticated } from "../api/rest";
import type { Session } from "../api/types";

class Access {
  private session = $state.raw<Session | null>(null);
  /** Number of the latest request; an answer to an earlier one is outdated and ignored. */
  private latest = 0;

  constructor() {
    unauthenticated.listener = () => void this.refresh();
    void this.refresh();
  }

  /** False until the server has answered. */
  get isKnown(): boolean {
    return this.session !== null;
  }

  /** The user has to sign in before anything can be shown. */
  get isLocked(): boolean {
    return this.session !== null && !this.session.is_signed_in;
  }

  get needsToken(): boolean {
    return this.session?.access === "token";
  }

  get owner(): string {
    return this.session?.owner ?? "";
  }

  /** The user may record meetings and change their own. */
  get canRecord(): boolean {
    return this.has("record");
  }

  /** The user may search their own meetings and ask about them. */
  get canRead(): boolean {
    return this.has("read");
  }

  /** Ids of meetings that links have opened for this user. */
  get shared(): readonly string[] {
    return this.session?.shared ?? [];
  }

  /** The user may see the server's metrics. */
  get canAdminister(): boolean {
    return this.has("admin");
  }

  /** Called when somebody else signs in: nothing of the former user may be left. */
  onUserChange: () => void = () => undefined;

  async signIn(token: string): Promise<void> {
    const session = await signIn(token);
    this.latest += 1;
    this.session = session;
    this.onUserChange();
  }

  async signOut(): Promise<void> {
    await signOut();
    this.onUserChange();
    await this.refresh();
  }

  async refresh(): Promise<void> {
    const number = ++this.latest;
    try {
      const session = await getSession();
      if (number === this.latest) this.session = session;
    } catch {
      // Without an answer, each page shows that the server cannot be reached.
      this.session ??= { access: "open", is_signed_in: true, owner: "", scopes: ["record", "read"], shared: [] };
    }
  }

  private has(scope: Session["scopes"][number]): boolean {
    const scopes = this.session?.scopes ?? [];
    return scopes.includes(scope) || scopes.includes("admin");
  }
}

export const access = new Access();
