import { RequestState } from "../api/request-state.svelte";
import { createShare, listShares, revokeShare } from "../api/rest";
import type { ShareLink } from "../api/types";

/** The links that open one meeting for reading. */
export class ShareLinks extends RequestState {
  links = $state.raw<readonly ShareLink[]>([]);
  /** The address of the link that was just created; the server does not repeat it. */
  created = $state<string | null>(null);

  constructor(private readonly meetingId: string) {
    super();
  }

  async load(): Promise<void> {
    await this.attempt(listShares(this.meetingId), (links) => (this.links = links));
  }

  async create(hours: number): Promise<void> {
    const isCreated = await this.attempt(createShare(this.meetingId, hours), (link) => {
      this.created = location.origin + (link.path ?? "");
    });
    if (isCreated) await this.load();
  }

  async revoke(link: ShareLink): Promise<void> {
    if (await this.attempt(revokeShare(this.meetingId, link.id))) await this.load();
  }
}
