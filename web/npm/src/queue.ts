// Owns the order of work on one model: one thing after the other, as they came.
import { unless } from "./abort.js";

/** @internal */
export class Queue {
  #last: Promise<unknown> = Promise.resolve();

  /**
   * Does `work` after everything that was added before. Once a signal aborts, what waits is never done, and what is
   * being done loses its listener; the next still waits for its end.
   */
  add<T>(work: () => Promise<T>, ...signals: (AbortSignal | undefined)[]): Promise<T> {
    const turn = this.#last.then(() => {
      for (const signal of signals) signal?.throwIfAborted();
      return work();
    });
    this.#last = turn.catch(() => undefined);
    return unless(turn, ...signals);
  }
}
