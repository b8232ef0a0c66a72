// Repeating what may be repeated. Every write of this protocol is idempotent by its signed bytes or its request id, so a lost answer costs
// nothing: the identical request goes out again, a bounded number of times, ever more slowly.
import { setTimeout as wait } from "node:timers/promises";
import { Code, ConnectError } from "@connectrpc/connect";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { reasonOf } from "../communications/refusal.ts";

export interface Patience {
  /** Calls in all, the first included. */
  readonly attempts: number;
  readonly firstPauseMs: number;
  /** Pauses double up to this. */
  readonly longestPauseMs: number;
  /** How to wait; tests need not. */
  readonly pause?: (ms: number, signal?: AbortSignal) => Promise<void>;
}

/** About 20 s in all: well inside the 300 s for which a signed request is accepted. */
export const defaultPatience: Patience = { attempts: 8, firstPauseMs: 200, longestPauseMs: 5_000 };

/**
 * Whether an error may pass by itself: UNAVAILABLE, which covers LEDGER_UNAVAILABLE, PEER_UNAVAILABLE and OUTCOME_UNKNOWN, and what a gRPC
 * library says without a reason when a connection breaks.
 */
export function mayPass(cause: unknown): boolean {
  if (!(cause instanceof ConnectError)) return false;
  if (cause.code === Code.Unavailable) return true;
  if (reasonOf(cause) !== ErrorReason.UNSPECIFIED) return false;
  return [Code.Aborted, Code.Canceled, Code.DeadlineExceeded].includes(cause.code);
}

/** Counts failures in a row and waits between them. */
export class BackOff {
  readonly #patience: Patience;
  readonly #signal: AbortSignal | undefined;
  #failures = 0;

  constructor(patience: Patience, signal?: AbortSignal) {
    this.#patience = patience;
    this.#signal = signal;
  }

  /** Something worked: the next failure is the first again. */
  reset(): void {
    this.#failures = 0;
  }

  /** Waits until the next attempt is due. @throws `cause` where it will not pass, or patience is at its end */
  async after(cause: unknown): Promise<void> {
    const { attempts, firstPauseMs, longestPauseMs, pause = sleep } = this.#patience;
    this.#failures++;
    if (this.#signal?.aborted === true || !mayPass(cause) || this.#failures >= attempts) throw cause;
    const longest = Math.min(longestPauseMs, firstPauseMs * 2 ** (this.#failures - 1));
    // Spread, so that users whom one failure hit do not all come back at once.
    await pause(longest * (0.5 + Math.random() / 2), this.#signal);
  }
}

/** Makes an idempotent call until it is answered for good. @throws what it throws for good, or last */
export async function repeat<T>(patience: Patience, call: () => Promise<T>): Promise<T> {
  const backOff = new BackOff(patience);
  for (;;) {
    try {
      return await call();
    } catch (cause) {
      await backOff.after(cause);
    }
  }
}

function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return wait(ms, undefined, signal === undefined ? {} : { signal });
}
