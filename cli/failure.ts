// How a failure reads on the command line: one line that says what, and where it helps how to mend it.
import { ConnectError } from "@connectrpc/connect";
import { ErrorReason } from "../gen/x1410/v1/error_pb.ts";
import { reasonOf, requirementOf } from "../reference/communications/refusal.ts";
import { oneLine } from "./one-line.ts";

/** One line without prefix, whatever was thrown. */
export function failureLine(error: unknown): string {
  if (error instanceof ConnectError) {
    const reason = reasonOf(error);
    const recovery = reason === ErrorReason.UNSPECIFIED ? "" : ` ${requirementOf(reason).recovery}`;
    return oneLine(`${error.rawMessage}${recovery}`);
  }
  if (error instanceof AggregateError && error.message === "") return error.errors.map(failureLine).join("; ");
  if (!(error instanceof Error)) return oneLine(String(error));
  const text = error.message === "" ? error.name : error.message;
  // Node.js wraps the telling error as cause behind a general one; an error of our own tells all there is to tell.
  const general = error.name === "Error" || error.name === "TypeError";
  const cause = general && error.cause instanceof Error ? error.cause.message : "";
  return oneLine(cause === "" || text.includes(cause) ? text : `${text}: ${cause}`);
}
