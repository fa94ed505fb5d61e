import { listIntegrations } from "../api/rest";
import type { Integration, MeetingOptions } from "../api/types";
import { splitList } from "../text/format";

/** What the user chooses before a meeting begins. */
export class StartOptions {
  title = $state("");
  /** Separated by commas. */
  attendees = $state("");
  /** Separated by commas. */
  vocabulary = $state("");
  isLocalOnly = $state(false);
  withComputerAudio = $state(false);
  integrations = $state.raw<readonly Integration[]>([]);
  /** Names of integrations that do not receive the meeting. */
  private excluded = $state.raw<readonly string[]>([]);

  /** Load the integrations. Recording works without them, so a failure is not shown. */
  async load(): Promise<void> {
    this.integrations = await listIntegrations().catch(() => []);
  }

  isIncluded(integration: string): boolean {
    return !this.excluded.includes(integration);
  }

  include(integration: string, isIncluded: boolean): void {
    const others = this.excluded.filter((name) => name !== integration);
    this.excluded = isIncluded ? others : [...others, integration];
  }

  /** The options for one of several files, which have titles of their own. */
  toFileOptions(fileCount: number): MeetingOptions {
    const options = this.toMeetingOptions();
    return fileCount === 1 ? options : { ...options, title: "" };
  }

  toMeetingOptions(): MeetingOptions {
    const included = this.integrations.map(({ name }) => name).filter((name) => this.isIncluded(name));
    return {
      title: this.title.trim(),
      attendees: splitList(this.attendees),
      vocabulary: splitList(this.vocabulary),
      local_only: this.isLocalOnly,
      // Without a choice, the server decides.
      ...(this.excluded.length > 0 ? { workflows: included } : {}),
    };
  }
}

/** One for the page: files may be dropped anywhere. */
export const startOptions = new StartOptions();
