// One call on the exposure port, as what may end it before its implementation does.
import type { ArrivingCall } from "./guard.ts";
import type { RunningCall } from "./running-calls.ts";

export class ExposedCall implements RunningCall {
  readonly arrival: ArrivingCall;
  readonly #refused: () => void;
  readonly #ending = new AbortController();
  readonly #waiting = new Set<(cause: unknown) => void>();

  /** `refused` is called once, when the call ends that way. */
  constructor(arrival: ArrivingCall, refused: () => void) {
    this.arrival = arrival;
    this.#refused = refused;
  }

  /** For the implementation, besides the signal of the call itself. */
  get signal(): AbortSignal {
    return this.#ending.signal;
  }

  refuse(cause: unknown): void {
    if (this.signal.aborted) return;
    this.#ending.abort(cause);
    for (const reject of this.#waiting) reject(cause);
    this.#refused();
  }

  /** What `outcome` comes to, unless the call is refused before. */
  unlessRefused<T>(outcome: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      // Not Promise.race: on a long stream, each race would leave something behind at the promise that it lost to.
      this.#waiting.add(reject);
      outcome.then(resolve, reject).finally(() => this.#waiting.delete(reject));
      if (this.signal.aborted) reject(this.signal.reason);
    });
  }

  /** The messages of a stream, until the call is refused. */
  async *during<T>(messages: AsyncIterable<T>): AsyncIterable<T> {
    const source = messages[Symbol.asyncIterator]();
    try {
      for (;;) {
        const next = await this.unlessRefused(source.next());
        if (next.done === true) return;
        yield next.value;
      }
    } finally {
      // Not waited for: what the source is about may end with the signal only.
      source.return?.()?.catch(() => undefined);
    }
  }
}
