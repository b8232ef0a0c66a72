// Calls that come at the same time.
import { ConnectError } from "@connectrpc/connect";
import type { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { reasonOf } from "../../reference/communications/refusal.ts";

export interface Outcomes<T> {
  readonly accepted: readonly T[];
  /** Why the others were refused. */
  readonly refused: readonly ErrorReason[];
}

/** Makes all calls at once. A refusal with a reason counts; whatever else goes wrong is thrown on. */
export async function atOnce<T>(calls: readonly (() => Promise<T>)[]): Promise<Outcomes<T>> {
  const accepted: T[] = [];
  const refused: ErrorReason[] = [];
  for (const outcome of await Promise.allSettled(calls.map(async (call) => call())))
    if (outcome.status === "fulfilled") accepted.push(outcome.value);
    else if (outcome.reason instanceof ConnectError && reasonOf(outcome.reason) !== 0)
      refused.push(reasonOf(outcome.reason));
    else throw outcome.reason;
  return { accepted, refused };
}
