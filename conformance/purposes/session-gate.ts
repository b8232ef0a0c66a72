// A family of purposes: what a method says to a user who has no session, somebody else's session, or not the right that it needs.
import type { CallOptions } from "@connectrpc/connect";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import type { Rights } from "../../gen/x1410/v1/identity_pb.ts";
import { UserAccountService } from "../../gen/x1410/v1/user_account_pb.ts";
import { expectRefusal } from "../refusal.ts";
import { DataProvider } from "../roles/data-provider.ts";
import type { User } from "../roles/user.ts";
import type { TestCase } from "../test-case.ts";
import { type Purpose, purpose } from "./purpose.ts";

export interface GatedMethod {
  readonly of: `TP/DSSM/${string}`;
  /** Number of the purpose without a session; the one with another's session is the next, the one without the right the one after. */
  readonly number: number;
  readonly clause: string;
  readonly steps?: readonly string[];
  readonly capabilities: readonly string[];
  readonly method: string;
  readonly right?: keyof Omit<Rights, "$typeName" | "$unknown">;
  /** The call by a user, right in all but what it may ask for. */
  readonly call: (t: TestCase, user: DataProvider, options: CallOptions) => Promise<unknown>;
  /** What the call is refused for in session; left out, it succeeds. */
  readonly otherwise?: ErrorReason;
}

/** The first message of a stream, which then is left. */
export async function firstOf<M>(open: (signal: AbortSignal) => AsyncIterable<M>): Promise<M | undefined> {
  const left = new AbortController();
  try {
    for await (const message of open(left.signal)) return message;
    return undefined;
  } finally {
    left.abort();
  }
}

export function gatedPurposes(gated: GatedMethod): readonly Purpose[] {
  const { of, number, clause, steps = [], capabilities, method, right, call, otherwise } = gated;
  const name = method.split("/")[1];
  const shared = { clause, steps, capabilities: ["AAU2", ...capabilities], methods: [method] } as const;
  const id = (offset: number) => `${of}/BI-${String(number + offset).padStart(2, "0")}` as const;
  const past = (work: () => Promise<unknown>) => (otherwise === undefined ? work() : expectRefusal(work, otherwise));
  const twin =
    otherwise === undefined ? `${name} in session` : `${name} in session, which is refused for what it asks alone`;
  const purposes = [
    purpose({
      ...shared,
      id: id(0),
      title: `answers ${name} to nobody without a session`,
      initialState: "a user with a certificate, an account and a session that it does not send",
      stimulus: `${name} without x1410-session`,
      expected: { reason: ErrorReason.SESSION_REQUIRED },
      twin,
      likelyMistake: "the certificate alone is taken for the user: the account and its rights are never looked at",
      async run(t) {
        const user = await t.inSession(t.provider);
        await t.positiveTwin(twin, () => past(() => call(t, user, user.inSession)));
        await t.expectRefusal(() => call(t, user, {}));
      },
    }),
    purpose({
      ...shared,
      id: id(1),
      title: `answers ${name} to nobody with another user's session, or with one that does not exist`,
      initialState: "two users with accounts and sessions",
      stimulus: `${name} with the other user's x1410-session; with a session that nobody has`,
      expected: { reason: ErrorReason.SESSION_INVALID },
      twin,
      likelyMistake: "the session is a bearer secret: it is not bound to the certificate under which it was made",
      async run(t) {
        const user = await t.inSession(t.provider);
        const other = await t.inSession(t.secondProvider);
        await t.positiveTwin(twin, () => past(() => call(t, user, user.inSession)));
        await t.expectRefusal(() => call(t, user, other.inSession));
        const nobodys = { headers: { "x1410-session": Buffer.from(t.random(32)).toString("base64url") } };
        await t.expectRefusal(() => call(t, user, nobodys));
      },
    }),
  ];
  if (right !== undefined)
    purposes.push(
      purpose({
        ...shared,
        id: id(2),
        title: `answers ${name} to nobody whose right to ${right} has been taken away, from the next request on`,
        initialState: `a user in session with the right to ${right}`,
        stimulus: `UpdateAccount by an operator, without the right to ${right}; ${name} in the same session`,
        expected: { reason: ErrorReason.RIGHT_MISSING },
        twin: `${name} in the same session, before`,
        likelyMistake: "rights are copied into the session when it begins",
        async run(t) {
          const user = await t.freshUser(DataProvider);
          await user.logIn();
          await t.positiveTwin("with the right", () => past(() => call(t, user, user.inSession)));
          await withoutRight(t, user, right);
          await t.expectRefusal(() => call(t, user, user.inSession));
        },
      }),
    );
  return purposes;
}

/** The operator takes a right away from the account. */
export async function withoutRight(t: TestCase, { identity }: User, right: "publish" | "access"): Promise<void> {
  const accounts = t.as("operator").client(UserAccountService, "dssm");
  const { account } = await accounts.getAccount({ identity });
  if (account?.rights === undefined) throw new Error("an account without rights");
  account.rights[right] = false;
  await accounts.updateAccount({ account });
}
