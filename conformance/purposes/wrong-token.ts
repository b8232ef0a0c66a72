// GetKey with a token that is wrong in one place (TV, clause 6.2.3), the kit being the management that issues the tokens.
import type { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import type { TestCase } from "../test-case.ts";
import { orderFor, redeem, type StoredKey, storedKey } from "./kss-stored-key.ts";
import { type Purpose, type PurposeId, purpose } from "./purpose.ts";

/** What all purposes have in common that see token verification at GetKey. */
export const getKeyByToken = {
  clause: "6.2.3",
  steps: ["F4.13.1", "A2.10.1"],
  capabilities: ["TV1", "TV2"],
  methods: ["KeyStorageService/GetKey"],
  tester: ["dssm"],
  initialState: "a key stored by a provider who named the tester's management",
} as const;

/** The time as tokens have it. */
export const seconds = () => Math.floor(Date.now() / 1000);

export interface WrongToken {
  readonly id: PurposeId;
  readonly title: string;
  readonly stimulus: string;
  readonly reason: ErrorReason;
  readonly likelyMistake: string;
  readonly capabilities?: readonly string[];
  /** The token that is refused; `good` is one that nothing is wrong with. */
  readonly wrong: (t: TestCase, key: StoredKey, good: string) => Promise<string> | string;
}

export function wrongToken({ wrong, reason, ...spec }: WrongToken): Purpose {
  return purpose({
    ...getKeyByToken,
    ...spec,
    expected: { reason },
    twin: "GetKey with a good token for the same key",
    diagram: [
      ["tester's DSSM", "DC", `access token: ${spec.stimulus}`],
      ["DC", "KSS", "GetKey(token)"],
      ["KSS", "tester's DSSM", "ListTokenKeys"],
      ["KSS", "DC", "refused"],
    ],
    async run(t) {
      const key = await storedKey(t);
      const good = await t.management.issue(orderFor(t, key));
      await t.positiveTwin("a good token gets the key", () => redeem(t, good, key));
      const another = await t.management.issue(orderFor(t, key));
      const token = await wrong(t, key, another);
      await t.expectRefusal(() => redeem(t, token, key));
    },
  });
}
