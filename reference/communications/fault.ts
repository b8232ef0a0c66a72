// What a caller is told when an implementation throws.
import { ConnectError } from "@connectrpc/connect";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import type { Log } from "./log.ts";
import { refusal } from "./refusal.ts";

/** A ConnectError goes out as it is; anything else is a fault of this server: logged here, told as INTERNAL_FAULT without its text. */
export function errorForCaller(cause: unknown, where: string, log: Log): ConnectError {
  if (cause instanceof ConnectError) return cause;
  log.error("fault", { method: where, cause: cause instanceof Error ? (cause.stack ?? cause.message) : String(cause) });
  return refusal(ErrorReason.INTERNAL_FAULT);
}
