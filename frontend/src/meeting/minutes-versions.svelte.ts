import { RequestState } from "../api/request-state.svelte";
import { getMinutesOptions, listMinutesVersions, restoreMinutes } from "../api/rest";
import type { MinutesOptions, MinutesVersion, RewriteOptions } from "../api/types";
import type { OpenMeeting } from "./open-meeting.svelte";

/** The versions of a meeting's minutes, and the choices for the next one. */
export class MinutesVersions extends RequestState {
  options = $state.raw<MinutesOptions | null>(null);
  /** Earlier versions, newest first. */
  earlier = $state.raw<readonly MinutesVersion[]>([]);

  constructor(private readonly open: OpenMeeting) {
    super();
  }

  async load(): Promise<void> {
    const requests = Promise.all([getMinutesOptions(), listMinutesVersions(this.open.id)]);
    await this.attempt(requests, ([options, versions]) => {
      this.options = options;
      this.earlier = versions.slice(0, -1).reverse();
    });
  }

  /** Start to rewrite the minutes. Returns whether the server accepted it. */
  rewrite(options: RewriteOptions): Promise<boolean> {
    return this.attempt(this.open.rewrite(options));
  }

  /** Make an earlier version the newest. Returns whether that succeeded. */
  restore(version: number): Promise<boolean> {
    return this.attempt(restoreMinutes(this.open.id, version), (restored) => (this.open.minutes = restored));
  }
}
