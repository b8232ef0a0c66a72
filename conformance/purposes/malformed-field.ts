// A family of purposes: one field of a request breaks a rule of the interface. Each is a purpose of its own, since each rule is checked,
// or forgotten, on its own.
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { subjectOf } from "../../reference/communications/refusal.ts";
import { expect } from "../procedures/procedure.ts";
import type { EntityRole } from "../target.ts";
import type { TestCase } from "../test-case.ts";
import { type Purpose, type PurposeId, purpose } from "./purpose.ts";
import { leavingUnchanged, type StateReader } from "./unchanged-state.ts";

export interface MalformedField {
  readonly id: PurposeId;
  /** "KeyStorageService/StoreKey" */
  readonly method: string;
  /** Path of the field, which the error names as its subject: "open.sha256". */
  readonly field: string;
  /** What it holds instead of what the rule asks: "31 bytes instead of 32". */
  readonly holds: string;
  readonly likelyMistake: string;
  readonly tester?: readonly EntityRole[];
  /**
   * Sets the stage; then the request as it should be, and with the field wrong. Both are called in this order. `state` reads, as somebody
   * who may, what the wrong one would change.
   */
  readonly requests: (t: TestCase) => Promise<{
    readonly right: () => Promise<unknown>;
    readonly wrong: () => Promise<unknown>;
    readonly state?: StateReader;
  }>;
}

export interface MalformedFieldsOf {
  readonly clause: string;
  readonly capabilities: readonly string[];
}

export function malformedField(row: MalformedField, { clause, capabilities }: MalformedFieldsOf): Purpose {
  const { id, method, field, holds, likelyMistake, tester, requests } = row;
  const name = method.split("/")[1];
  return purpose({
    id,
    title: `refuses ${name} where ${field} holds ${holds}, and names the field`,
    clause,
    capabilities,
    methods: [method],
    ...(tester && { tester }),
    initialState: "whatever the request needs is there",
    stimulus: `${field}: ${holds}`,
    expected: { reason: ErrorReason.REQUEST_INVALID },
    twin: `${name} with a ${field} that keeps the rules`,
    likelyMistake,
    async run(t) {
      const { right, wrong, state = async () => undefined } = await requests(t);
      await t.positiveTwin(`${name} with ${field} as it should be`, right);
      await leavingUnchanged(`what ${name} would change`, state, () => expectInvalidField(t, wrong, field));
    },
  });
}

/** REQUEST_INVALID whose subject is the path of the field. */
export async function expectInvalidField(t: TestCase, call: () => Promise<unknown>, field: string): Promise<void> {
  let cause: unknown;
  const kept = () =>
    call().catch((error: unknown) => {
      cause = error;
      throw error;
    });
  await t.expectRefusal(kept, ErrorReason.REQUEST_INVALID);
  expect(subjectOf(cause) === field, `${field} as the subject of the error (got "${subjectOf(cause)}")`);
}

/** Strings that are no ids and are dangerous where they become paths, queries or URIs. */
export const notIds = {
  traversal: "../../../../etc/passwd",
  escaped: "..%2f..%2fetc%2fpasswd",
  nul: `${"a".repeat(31)}\u0000`,
  upperCase: "A".repeat(32),
  tooLong: "a".repeat(33),
  newline: `${"a".repeat(32)}\n`,
  empty: "",
} as const;

export function freshId(t: TestCase): string {
  return Buffer.from(t.random(16)).toString("hex");
}
