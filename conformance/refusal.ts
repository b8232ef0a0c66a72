// What a refusal must look like: the canonical code and the reason, never the text.
import { Code, ConnectError } from "@connectrpc/connect";
import type { ErrorReason } from "../gen/x1410/v1/error_pb.ts";
import { reasonName, reasonOf, requirementOf } from "../reference/communications/refusal.ts";
import { expect } from "./procedures/procedure.ts";

/** Passes where `call` is refused with exactly this reason and its code. */
export async function expectRefusal(call: () => Promise<unknown>, reason: ErrorReason): Promise<void> {
  const wanted = `a refusal with ${reasonName(reason)}`;
  const cause = await call().then(
    () => undefined,
    (error: unknown) => error,
  );
  expect(cause !== undefined, `${wanted} (it was accepted)`);
  if (!(cause instanceof ConnectError)) throw cause;
  const got = reasonOf(cause);
  const text = `${Code[cause.code]}${got === 0 ? " without a reason" : ` ${reasonName(got)}`}`;
  expect(got === reason && (cause.code as number) === requirementOf(reason).code, `${wanted} (got ${text})`);
}
