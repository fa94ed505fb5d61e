import { RequestState } from "../api/request-state.svelte";
import { keepLocal, listModelCalls } from "../api/rest";
import type { OpenMeeting } from "./open-meeting.svelte";
import { summarizeCalls, type ProviderCalls } from "./provider-calls";

/** The calls to language models about one meeting, by provider. */
export class ModelCalls extends RequestState {
  /** Null until they are loaded. */
  providers = $state.raw<readonly ProviderCalls[] | null>(null);

  constructor(private readonly open: OpenMeeting) {
    super();
  }

  async load(): Promise<void> {
    await this.attempt(listModelCalls(this.open.id), (calls) => (this.providers = summarizeCalls(calls)));
  }

  /** Let no remote language model see the meeting from now on. This cannot be undone. */
  async keepLocal(): Promise<void> {
    await this.attempt(keepLocal(this.open.id), (meeting) => (this.open.meeting = meeting));
  }
}
