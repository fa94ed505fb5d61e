import { RequestState } from "../api/request-state.svelte";
import { assignUtterances, forgetVoice, listVoices, mergeSpeakers, rememberVoice } from "../api/rest";
import type { KnownVoice, Transcript } from "../api/types";

/** A correction of speakers. `speaker` is a label, `new` for a further person, or null for an unknown one. */
export type SpeakerEdit =
  | { kind: "assign"; utterances: readonly number[]; speaker: string | null; name: string }
  | { kind: "merge"; label: string; into: string };

/** Corrections of the speakers of one meeting, and the voices that the server remembers. */
export class SpeakerEdits extends RequestState {
  voices = $state.raw<readonly KnownVoice[]>([]);

  constructor(readonly meetingId: string) {
    super();
  }

  /** Load the remembered voices. The dialog works without them, so a failure is not shown. */
  async loadVoices(): Promise<void> {
    this.voices = await listVoices().catch(() => []);
  }

  /** Apply a correction. Returns the new transcript, or null when the server refused. */
  async apply(edit: SpeakerEdit): Promise<Transcript | null> {
    let changed: Transcript | null = null;
    const request =
      edit.kind === "merge"
        ? mergeSpeakers(this.meetingId, edit.label, edit.into)
        : assignUtterances(this.meetingId, edit.utterances, edit.speaker, edit.name);
    await this.attempt(request, (transcript) => (changed = transcript));
    return changed;
  }

  /** Recognise this speaker's voice in later meetings. Returns whether it succeeded. */
  remember(label: string, name: string): Promise<boolean> {
    return this.attempt(rememberVoice(this.meetingId, label, name));
  }

  async forget(voice: KnownVoice): Promise<void> {
    await this.attempt(forgetVoice(voice.id), () => (this.voices = this.voices.filter(({ id }) => id !== voice.id)));
  }
}
