// What a caller is told when an implementation throws.
import { ConnectError } from "@connectrpc/connect";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import type { Log } from "./log.ts";
import { refusal } from "./refusal.ts";

/**
 * A ConnectError goes out as it is; anything else is logged here and told without its text: as STORAGE_UNAVAILABLE where the disk takes no more,
 * which passes when there is room, and otherwise as INTERNAL_FAULT.
 */
export function errorForCaller(cause: unknown, where: string, log: Log): ConnectError {
  if (cause instanceof ConnectError) return cause;
  tellFault(cause, where, log);
  return refusal(isStorageFailure(cause) ? ErrorReason.STORAGE_UNAVAILABLE : ErrorReason.INTERNAL_FAULT);
}

/** For whoever answers such a failure with a reason of its own, or goes on after it: a ConnectError says what it is, anything else is logged. */
export function tellFault(cause: unknown, where: string, log: Log): void {
  if (cause instanceof ConnectError) return;
  log.error(isStorageFailure(cause) ? "storage failed" : "fault", {
    method: where,
    cause: cause instanceof Error ? (cause.stack ?? cause.message) : String(cause),
  });
}

/** Of the file system, of LevelDB, and of a database that is being opened anew after one of these. */
const storageCodes: ReadonlySet<unknown> = new Set([
  "ENOSPC",
  "EDQUOT",
  "EIO",
  "EROFS",
  "LEVEL_IO_ERROR",
  "LEVEL_DATABASE_NOT_OPEN",
  "LEVEL_ITERATOR_NOT_OPEN",
]);

/** Whether this, or what caused it, says that storage cannot be written or read now. */
export function isStorageFailure(cause: unknown): boolean {
  for (let error = cause; error instanceof Error; error = error.cause) {
    if (storageCodes.has((error as { code?: unknown }).code)) return true;
  }
  return false;
}
