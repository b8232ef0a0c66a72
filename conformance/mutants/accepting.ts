// The commonest fault: something is not checked, and what should be refused is answered.
import { ConnectError } from "@connectrpc/connect";
import type { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { reasonOf } from "../../reference/communications/refusal.ts";

/** The answer, or where it is refused for `reason` what a server that does not check would say. */
export async function accepting<T>(answer: Promise<T>, reason: ErrorReason, instead: () => T | Promise<T>): Promise<T> {
  return answer.catch((cause: unknown) => {
    if (cause instanceof ConnectError && reasonOf(cause) === reason) return instead();
    throw cause;
  });
}
