import { RequestState } from "../api/request-state.svelte";
import { deleteMeeting, listMeetings } from "../api/rest";
import type { Meeting } from "../api/types";

/** While the list is shown and visible, meetings of other windows and devices appear within this time. */
const REFRESH_MS = 20_000;

/** The user's meetings, newest first, loaded page by page. */
export class MeetingList extends RequestState {
  meetings = $state.raw<readonly Meeting[]>([]);
  /** Where the next page begins; null on the last. */
  next = $state<string | null>(null);
  hasLoaded = $state(false);

  /** Load the newest meetings; older ones that were loaded stay. */
  async refresh(): Promise<void> {
    await this.attempt(listMeetings(null), ({ meetings, next }) => {
      const oldest = meetings.at(-1)?.id;
      // Ids sort by time. What is as new and not in the answer was deleted.
      const older = next === null || oldest === undefined ? [] : this.meetings.filter(({ id }) => id < oldest);
      this.meetings = [...meetings, ...older];
      if (older.length === 0) this.next = next;
    });
    this.hasLoaded = true;
  }

  /** Keep the list current until the returned function is called: now, regularly, and when the page is looked at. */
  follow(): () => void {
    const refreshVisible = (): void => {
      if (document.visibilityState === "visible") void this.refresh();
    };
    void this.refresh();
    const timer = setInterval(refreshVisible, REFRESH_MS);
    document.addEventListener("visibilitychange", refreshVisible);
    return () => {
      clearInterval(timer);
      document.removeEventListener("visibilitychange", refreshVisible);
    };
  }

  async loadMore(): Promise<void> {
    if (this.next === null) return;
    await this.attempt(listMeetings(this.next), ({ meetings, next }) => {
      this.meetings = [...this.meetings, ...meetings];
      this.next = next;
    });
  }

  async delete({ id }: Meeting): Promise<void> {
    await this.attempt(deleteMeeting(id), () => (this.meetings = this.meetings.filter((one) => one.id !== id)));
  }

  /** Forget everything: somebody else has signed in. */
  clear(): void {
    this.meetings = [];
    this.next = null;
    this.hasLoaded = false;
  }
}

/** One for the page: whoever comes back to the list finds it as it was. */
export const meetingList = new MeetingList();
