// What a refusal must look like: the canonical code and the reason, never the text.
import { Code, ConnectError } from "@connectrpc/connect";
import { ErrorReason } from "../gen/x1410/v1/error_pb.ts";
import { reasonName, reasonOf, requirementOf } from "../reference/communications/refusal.ts";
import { expect } from "./procedures/procedure.ts";

export interface ExpectedRefusal {
  readonly code: Code;
  /** Undefined where a gRPC library makes the refusal, which carries none. */
  readonly reason: ErrorReason | undefined;
}

/** Passes where `call` is refused with exactly this reason and its code. */
export async function expectRefusal(call: () => Promise<unknown>, reason: ErrorReason): Promise<void> {
  await expectRefusalOf(call, refusalFor(reason));
}

/** Passes where `call` is refused with this code and, where one is expected, this reason. */
export async function expectRefusalOf(call: () => Promise<unknown>, expected: ExpectedRefusal): Promise<void> {
  const wanted = `a refusal with ${refusalText(expected)}`;
  const cause = await call().then(
    () => undefined,
    (error: unknown) => error,
  );
  expect(cause !== undefined, wanted, "it was accepted");
  if (!(cause instanceof ConnectError)) throw cause;
  const got = reasonOf(cause);
  if (got === ErrorReason.UNSPECIFIED && lossy.has(cause.code) && cause.code !== expected.code) throw cause;
  const text = seenText(cause);
  const right = cause.code === expected.code && (expected.reason === undefined || got === expected.reason);
  expect(right, wanted, text);
}

function seenText(cause: ConnectError): string {
  const got = reasonOf(cause);
  return `${codeName(cause.code)}${got === 0 ? " without a reason" : ` ${reasonName(got)}`}`;
}

/** Code, reason and, at most so long, the text of a refusal that nobody asked for. */
export function refusalSeen(cause: ConnectError): string {
  const said = cause.rawMessage.slice(0, 200);
  return said === "" ? seenText(cause) : `${seenText(cause)} (${said})`;
}

/** Codes that a dead network gives as well: without a reason they refuse nothing. */
const lossy = new Set([Code.Unavailable, Code.DeadlineExceeded, Code.Canceled]);

export function refusalFor(reason: ErrorReason): ExpectedRefusal {
  return { code: requirementOf(reason).code as number as Code, reason };
}

/** e.g. "UNAUTHENTICATED TOKEN_INVALID". */
export function refusalText({ code, reason }: ExpectedRefusal): string {
  return reason === undefined ? codeName(code) : `${codeName(code)} ${reasonName(reason)}`;
}

/** The expectation of a purpose as a report words it. */
export function expectationText(expected: ExpectedRefusal | string): string {
  return typeof expected === "string" ? expected : `refused: ${refusalText(expected)}`;
}

/** The canonical name, e.g. "PERMISSION_DENIED". */
export function codeName(code: Code): string {
  return (Code[code] ?? String(code)).replace(/(?<=[a-z])(?=[A-Z])/g, "_").toUpperCase();
}
