import { getPreferences, problemOf, setPreferences } from "../api/rest";
import type { Preferences, Problem } from "../api/types";

/** The user's own settings, which apply to all of their meetings. */
export class UserPreferences {
  /** Null until they are loaded, and where they cannot be. */
  current = $state.raw<Preferences | null>(null);
  problem = $state.raw<Problem | null>(null);

  /** Load the preferences. Recording works without them, so a failure is not shown. */
  async load(): Promise<void> {
    this.current = await getPreferences().catch(() => null);
  }

  async setLocalOnly(isLocalOnly: boolean): Promise<void> {
    if (this.current === null) return;
    try {
      this.current = await setPreferences({ ...this.current, local_only: isLocalOnly });
      this.problem = null;
    } catch (error) {
      this.problem = problemOf(error);
      await this.load();
    }
  }
}
