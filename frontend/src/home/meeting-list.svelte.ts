import { RequestState } from "../api/request-state.svelte";
import { deleteMeeting, listMeetings } from "../api/rest";
import type { Meeting } from "../api/types";

/** The user's meetings, newest first, loaded page by page. */
export class MeetingList extends RequestState {
  meetings = $state.raw<readonly Meeting[]>([]);
  /** Where the next page begins; null on the last. */
  next = $state<string | null>(null);
  hasLoaded = $state(false);

  async load(): Promise<void> {
    await this.loadPage(null);
    this.hasLoaded = true;
  }

  async loadMore(): Promise<void> {
    if (this.next !== null) await this.loadPage(this.next);
  }

  async delete({ id }: Meeting): Promise<void> {
    await this.attempt(deleteMeeting(id), () => (this.meetings = this.meetings.filter((one) => one.id !== id)));
  }

  private async loadPage(before: string | null): Promise<void> {
    await this.attempt(listMeetings(before), ({ meetings, next }) => {
      this.meetings = before === null ? meetings : [...this.meetings, ...meetings];
      this.next = next;
    });
  }
}
