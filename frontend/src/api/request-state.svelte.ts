import { problemOf } from "./rest";
import type { Problem } from "./types";

/** Base of state that requests fill; the last failure is kept to be shown. */
export class RequestState {
  problem = $state.raw<Problem | null>(null);

  /** Wait for a request and apply its result. Returns false when it failed, with `problem` set. */
  protected async attempt<T>(request: Promise<T>, apply: (result: T) => unknown = () => undefined): Promise<boolean> {
    try {
      apply(await request);
      this.problem = null;
      return true;
    } catch (error) {
      this.problem = problemOf(error);
      return false;
    }
  }
}
