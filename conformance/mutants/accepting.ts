// The commonest fault: something is not checked, and what should be refused is answered.
import { create, type DescMethod } from "@bufbuild/protobuf";
import { ConnectError } from "@connectrpc/connect";
import type { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { reasonOf } from "../../reference/communications/refusal.ts";
import type { Alteration } from "./mutant.ts";

/** The answer, or where it is refused for `reason` what a server that does not check would say. */
export async function accepting<T>(answer: Promise<T>, reason: ErrorReason, instead: () => T | Promise<T>): Promise<T> {
  return answer.catch((cause: unknown) => {
    if (refusedFor(cause, reason)) return instead();
    throw cause;
  });
}

/** A method of any kind that answers, with nothing in its answer, what it should refuse for `reason`. */
export function acceptingAll(method: DescMethod, reason: ErrorReason): Alteration {
  const streams = method.methodKind === "server_streaming" || method.methodKind === "bidi_streaming";
  return {
    method,
    wrap: (original) =>
      streams
        ? async function* (input, context) {
            try {
              yield* original(input, context) as AsyncIterable<unknown>;
            } catch (cause) {
              if (!refusedFor(cause, reason)) throw cause;
            }
          }
        : async (input, context) => {
            try {
              return await original(input, context);
            } catch (cause) {
              if (refusedFor(cause, reason)) return create(method.output);
              throw cause;
            }
          },
  };
}

function refusedFor(cause: unknown, reason: ErrorReason): boolean {
  return cause instanceof ConnectError && reasonOf(cause) === reason;
}
