import { RequestState } from "../api/request-state.svelte";
import { listIntegrations, problemOf, testIntegration } from "../api/rest";
import type { Integration } from "../api/types";

/** The configured integrations, and the results of testing them. */
export class IntegrationTests extends RequestState {
  /** Null until they are loaded. */
  integrations = $state.raw<readonly Integration[] | null>(null);
  results = $state<Record<string, { text: string; isSuccess: boolean } | undefined>>({});
  /** Name of the integration being tested. */
  running = $state<string | null>(null);

  async load(): Promise<void> {
    await this.attempt(listIntegrations(), (integrations) => (this.integrations = integrations));
  }

  async run(name: string): Promise<void> {
    this.running = name;
    try {
      this.results[name] = { text: (await testIntegration(name)).message, isSuccess: true };
    } catch (error) {
      const { message, remedy } = problemOf(error);
      this.results[name] = { text: `${message} ${remedy}`, isSuccess: false };
    }
    this.running = null;
  }
}
