import { problemOf, uploadRecording } from "../api/rest";
import type { Meeting, MeetingOptions, Problem } from "../api/types";

interface Waiting {
  file: File;
  options: MeetingOptions;
  /** Its meeting is opened when it is there. */
  isOpened: boolean;
}

/** Uploads of recordings, one after another. */
export class Uploads {
  /** The file being sent; null between uploads. */
  file = $state.raw<File | null>(null);
  /** Files that wait for their turn. */
  waiting = $state.raw<readonly Waiting[]>([]);
  /** Share of the present file sent, 0..1. */
  progress = $state(0);
  /** What became of files that could not be uploaded; each message names its file. */
  problems = $state.raw<readonly Problem[]>([]);
  private request: AbortController | null = null;

  /** `onUploaded` is called with each meeting, and whether its sender waits for it. */
  constructor(private readonly onUploaded: (meeting: Meeting, isOpened: boolean) => void) {}

  /** Queue files, which are sent in their order. With `isOpened`, the sender waits for a single one. Resolves when no file
   * is left. */
  async send(
    files: readonly File[],
    optionsOf: (fileCount: number) => MeetingOptions,
    isOpened = false,
  ): Promise<void> {
    if (files.length === 0) return;
    const options = optionsOf(files.length);
    this.waiting = [...this.waiting, ...files.map((file) => ({ file, options, isOpened: isOpened && files.length === 1 }))];
    if (this.file !== null) return;
    this.problems = [];
    for (let next = this.take(); next !== undefined; next = this.take()) await this.sendOne(next);
  }

  /** Stop sending the present file; the next one follows. */
  cancel(): void {
    this.request?.abort();
  }

  dismiss(problem: Problem): void {
    this.problems = this.problems.filter((one) => one !== problem);
  }

  private take(): Waiting | undefined {
    const [next, ...others] = this.waiting;
    this.waiting = others;
    return next;
  }

  private async sendOne({ file, options, isOpened }: Waiting): Promise<void> {
    const request = new AbortController();
    this.request = request;
    this.file = file;
    this.progress = 0;
    try {
      const meeting = await uploadRecording(file, options, (share) => (this.progress = share), request.signal);
      this.file = null;
      this.onUploaded(meeting, isOpened);
    } catch (error) {
      this.file = null;
      if (request.signal.aborted) return;
      const problem = problemOf(error);
      this.problems = [...this.problems, { ...problem, message: `“${file.name}” was not uploaded. ${problem.message}` }];
    }
  }
}
