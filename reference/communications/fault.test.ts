// A disk that takes no more is no fault of the code: it passes, and is told so. Whatever else is thrown is.
import { Code } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { errorForCaller } from "./fault.ts";
import { silentLog } from "./log.ts";
import { reasonOf, refusal } from "./refusal.ts";

function told(cause: unknown) {
  const events: string[] = [];
  const error = errorForCaller(cause, "/Service/Method", { ...silentLog, error: (event) => void events.push(event) });
  expect(error.message).not.toContain("secret");
  return [error.code, reasonOf(error), ...events];
}

const withCode = (code: string, cause?: unknown) => Object.assign(new Error("secret", { cause }), { code });

test.each(["ENOSPC", "EDQUOT", "EIO", "EROFS", "LEVEL_IO_ERROR", "LEVEL_DATABASE_NOT_OPEN", "LEVEL_ITERATOR_NOT_OPEN"])(
  "%s is told as STORAGE_UNAVAILABLE, also behind another error, and logged",
  (code) => {
    const unavailable = [Code.Unavailable, ErrorReason.STORAGE_UNAVAILABLE, "storage failed"];
    expect(told(withCode(code))).toEqual(unavailable);
    expect(told(withCode("storage_failed", withCode(code)))).toEqual(unavailable);
  },
);

test("anything else is told as INTERNAL_FAULT and logged, a refusal as it is", () => {
  const fault = [Code.Internal, ErrorReason.INTERNAL_FAULT, "fault"];
  expect(told(withCode("LEVEL_CORRUPTION"))).toEqual(fault);
  expect(told("ENOSPC")).toEqual(fault);
  expect(told(refusal(ErrorReason.KEY_NOT_FOUND))).toEqual([Code.NotFound, ErrorReason.KEY_NOT_FOUND]);
});
