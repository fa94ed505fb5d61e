import { ask, problemOf } from "../api/rest";
import type { AnswerEnd, AnswerSentence, Problem } from "../api/types";

/** A question about one meeting, or about all of them (`null`), and its answer as it arrives. */
export class Question {
  sentences = $state.raw<readonly AnswerSentence[]>([]);
  /** How the answer ended; null before its end. */
  end = $state.raw<AnswerEnd | null>(null);
  problem = $state.raw<Problem | null>(null);
  /** What was asked last. */
  text = "";
  private request = $state.raw<AbortController | null>(null);

  constructor(private readonly meetingId: string | null) {}

  get isPending(): boolean {
    return this.request !== null;
  }

  /** Ask; a question that is still being answered is cancelled. */
  async ask(question: string): Promise<void> {
    this.cancel();
    this.text = question;
    const request = new AbortController();
    this.request = request;
    this.sentences = [];
    this.end = this.problem = null;
    const onSentence = (sentence: AnswerSentence): void => {
      if (!request.signal.aborted) this.sentences = [...this.sentences, sentence];
    };
    try {
      const end = await ask(this.meetingId, question, onSentence, request.signal);
      if (!request.signal.aborted) this.end = end;
    } catch (error) {
      if (!request.signal.aborted) this.problem = problemOf(error);
    }
    if (this.request === request) this.request = null;
  }

  cancel(): void {
    this.request?.abort();
    this.request = null;
  }
}
