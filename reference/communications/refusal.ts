// Errors of this protocol: a canonical code and an ErrorDetail whose reason programs decide by.
import { type DescEnumValue, getOption } from "@bufbuild/protobuf";
import { type Code, ConnectError } from "@connectrpc/connect";
import {
  ErrorDetailSchema,
  ErrorReason,
  ErrorReasonSchema,
  type ErrorRequirement,
  error,
} from "../../gen/x1410/v1/error_pb.ts";

/**
 * The error to throw for `reason`. Its code is the one that the reason's descriptor states; `subject` names what it concerns (a field
 * path, an id, a word such as "key") and never holds a secret or personal data.
 */
export function refusal(reason: ErrorReason, subject = ""): ConnectError {
  const { requirement, name } = ruleOf(reason);
  const text = subject === "" ? requirement.when : `${requirement.when} [${subject}]`;
  return new ConnectError(`${name}: ${text}`, requirement.code as number as Code, undefined, [
    { desc: ErrorDetailSchema, value: { reason, subject } },
  ]);
}

/** The reason inside an error, or UNSPECIFIED where it has none (a gRPC library made it, or the network). */
export function reasonOf(cause: unknown): ErrorReason {
  return detailOf(cause)?.reason ?? ErrorReason.UNSPECIFIED;
}

/** What an error concerns, or "" where it has no detail. */
export function subjectOf(cause: unknown): string {
  return detailOf(cause)?.subject ?? "";
}

/** The stable name of a reason without its prefix, e.g. `TOKEN_REDEEMED`. */
export function reasonName(reason: ErrorReason): string {
  return ruleOf(reason).name;
}

/** Code, occasion and recovery of a reason, as its descriptor states them. */
export function requirementOf(reason: ErrorReason): ErrorRequirement {
  return ruleOf(reason).requirement;
}

function detailOf(cause: unknown) {
  return ConnectError.from(cause).findDetails(ErrorDetailSchema)[0];
}

const rules = new Map(
  ErrorReasonSchema.values.map((value: DescEnumValue) => [
    value.number,
    { name: value.name.replace("ERROR_REASON_", ""), requirement: getOption(value, error) },
  ]),
);

function ruleOf(reason: ErrorReason) {
  const rule = rules.get(reason);
  if (rule === undefined) throw new RangeError(`${reason} is no ErrorReason`);
  return rule;
}
