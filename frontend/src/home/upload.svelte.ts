import { problemOf, uploadRecording } from "../api/rest";
import type { MeetingOptions, Problem } from "../api/types";
import { goTo, meetingHash } from "../routing.svelte";

/** The upload of one recording at a time. */
export class Upload {
  /** The file being sent; null between uploads. */
  file = $state.raw<File | null>(null);
  /** Share sent, 0..1. */
  progress = $state(0);
  problem = $state.raw<Problem | null>(null);
  private request: AbortController | null = null;

  /** Send a file and open its meeting. Does nothing while another file is being sent. */
  async send(file: File, options: MeetingOptions): Promise<void> {
    if (this.file !== null) return;
    const request = new AbortController();
    this.request = request;
    this.file = file;
    this.progress = 0;
    this.problem = null;
    try {
      const meeting = await uploadRecording(file, options, (share) => (this.progress = share), request.signal);
      goTo(meetingHash(meeting.id));
    } catch (error) {
      if (!request.signal.aborted) this.problem = problemOf(error);
    }
    this.file = null;
  }

  cancel(): void {
    this.request?.abort();
  }
}
