// Key storage management (KSM, clause 6.2.3): requests that are wrong in themselves, and callers who have no business there.

import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { KeyStorageService } from "../../gen/x1410/v1/key_storage_pb.ts";
import { TokenVerificationService } from "../../gen/x1410/v1/token_verification_pb.ts";
import type { TestCase } from "../test-case.ts";
import { keyStorage, orderFor, registeredKey, storedKey } from "./kss-stored-key.ts";
import { freshId, type MalformedField, malformedField, notIds } from "./malformed-field.ts";
import { type Purpose, purpose } from "./purpose.ts";
import { leavingUnchanged } from "./unchanged-state.ts";
import { type WrongCaller, wrongCaller } from "./wrong-caller.ts";

const registration = (t: TestCase, requestId: Uint8Array, managementIdentity = t.target.entities.dssm.identity) => ({
  requestId,
  managementIdentity,
});

/** Registers, and has the registration deleted afterwards. */
async function register(t: TestCase, requestId: Uint8Array, managementIdentity?: string): Promise<void> {
  const kss = keyStorage(t.provider);
  const { keyId } = await kss.registerKey(registration(t, requestId, managementIdentity));
  t.cleanUp(() => kss.deleteKey({ keyId }));
}

const unchecked = "the rule stands in the interface and nothing checks it before the store is asked";
const asPath = "ids are used as given: in a path, a query or a key of the store, where they mean something else";

const malformed: readonly MalformedField[] = [
  {
    id: "TP/KSS/KSM/BI-02",
    method: "KeyStorageService/RegisterKey",
    field: "request_id",
    holds: "15 bytes instead of 16",
    likelyMistake: unchecked,
    requests: async (t) => ({ right: () => register(t, t.random(16)), wrong: () => register(t, t.random(15)) }),
  },
  {
    id: "TP/KSS/KSM/BI-03",
    method: "KeyStorageService/RegisterKey",
    field: "management_identity",
    holds: "the identity of a key storage server",
    likelyMistake: "any identity is taken for a management's",
    requests: async (t) => ({
      right: () => register(t, t.random(16)),
      wrong: () => register(t, t.random(16), t.target.entities.kss.identity),
    }),
  },
  ...(
    [
      ["TP/KSS/KSM/BI-04", 31, "31 bytes instead of 32"],
      ["TP/KSS/KSM/BI-05", 33, "33 bytes instead of 32"],
      ["TP/KSS/KSM/BI-06", 0, "nothing"],
    ] as const
  ).map(
    ([id, size, holds]): MalformedField => ({
      id,
      method: "KeyStorageService/StoreKey",
      field: "key",
      holds,
      likelyMistake: "the length of the key is not checked: a package would be opened with a key cut short or padded",
      requests: async (t) => {
        const { keyId } = await registeredKey(t, t.target.entities.dssm.identity);
        const { keyId: other } = await registeredKey(t, t.target.entities.dssm.identity);
        return {
          right: () => keyStorage(t.provider).storeKey({ keyId, key: t.random(32) }),
          wrong: () => keyStorage(t.provider).storeKey({ keyId: other, key: t.random(size) }),
        };
      },
    }),
  ),
  {
    id: "TP/KSS/KSM/BI-07",
    method: "KeyStorageService/StoreKey",
    field: "key_id",
    holds: "a path that leads elsewhere",
    likelyMistake: asPath,
    requests: async (t) => {
      const { keyId } = await registeredKey(t, t.target.entities.dssm.identity);
      const key = t.random(32);
      return {
        right: () => keyStorage(t.provider).storeKey({ keyId, key }),
        wrong: () => keyStorage(t.provider).storeKey({ keyId: notIds.traversal, key }),
      };
    },
  },
  ...(
    [
      ["TP/KSS/KSM/BI-08", notIds.escaped, "an escaped path"],
      ["TP/KSS/KSM/BI-09", notIds.nul, "a NUL character"],
      ["TP/KSS/KSM/BI-10", notIds.upperCase, "upper-case digits"],
      ["TP/KSS/KSM/BI-11", notIds.newline, "an id and a line feed"],
    ] as const
  ).map(
    ([id, keyId, holds]): MalformedField => ({
      id,
      method: "KeyStorageService/GetKeyStatus",
      field: "key_id",
      holds,
      likelyMistake: asPath,
      requests: async (t) => {
        const known = await registeredKey(t, t.target.entities.dssm.identity);
        return {
          right: () => keyStorage(t.provider).getKeyStatus({ keyId: known.keyId }),
          wrong: () => keyStorage(t.provider).getKeyStatus({ keyId }),
        };
      },
    }),
  ),
  {
    id: "TP/KSS/KSM/BI-12",
    method: "KeyStorageService/DeleteKey",
    field: "key_id",
    holds: "nothing",
    likelyMistake: "an empty id is taken for all, or for none",
    requests: async (t) => {
      const { keyId } = await registeredKey(t, t.target.entities.dssm.identity);
      return {
        right: () => keyStorage(t.provider).deleteKey({ keyId }),
        wrong: () => keyStorage(t.provider).deleteKey({ keyId: notIds.empty }),
      };
    },
  },
  {
    id: "TP/KSS/KSM/BI-13",
    method: "KeyStorageService/GetKey",
    field: "request_id",
    holds: "no bytes instead of 16",
    tester: ["dssm"],
    likelyMistake: "an absent request_id is kept as one: each redemption without it would pass for a repetition",
    requests: async (t) => {
      const { keyId } = await storedKey(t);
      const [one, other] = [
        await t.management.issue(orderFor(t, { keyId })),
        await t.management.issue(orderFor(t, { keyId })),
      ];
      const kss = keyStorage(t.consumer);
      return {
        right: () => kss.getKey({ accessToken: one, keyId, requestId: t.random(16) }),
        wrong: () => kss.getKey({ accessToken: other, keyId, requestId: new Uint8Array() }),
      };
    },
  },
  {
    id: "TP/KSS/KSM/BI-14",
    method: "KeyStorageService/GetKey",
    field: "key_id",
    holds: "a path that leads elsewhere",
    tester: ["dssm"],
    likelyMistake: asPath,
    requests: async (t) => {
      const { keyId } = await storedKey(t);
      const accessToken = await t.management.issue(orderFor(t, { keyId }));
      const forPath = await t.management.issue(orderFor(t, { keyId: notIds.traversal }));
      const kss = keyStorage(t.consumer);
      return {
        right: () => kss.getKey({ accessToken, keyId, requestId: t.random(16) }),
        wrong: () => kss.getKey({ accessToken: forPath, keyId: notIds.traversal, requestId: t.random(16) }),
      };
    },
  },
  {
    id: "TP/KSS/KSM/BI-15",
    method: "KeyStorageService/SetKeyUse",
    field: "key_id",
    holds: "an id that is one digit too long",
    tester: ["dssm"],
    likelyMistake: "the pattern is searched for in the id instead of matched with all of it",
    requests: async (t) => {
      const { keyId } = await storedKey(t);
      const kss = keyStorage(t.as("dssm"));
      return {
        right: () => kss.setKeyUse({ keyId, inUse: false }),
        wrong: () => kss.setKeyUse({ keyId: notIds.tooLong, inUse: false }),
      };
    },
  },
];

const callers: readonly WrongCaller[] = [
  {
    id: "TP/KSS/KSM/BI-16",
    clause: "7.2.5",
    method: "KeyStorageService/RegisterKey",
    capabilities: ["KSM2"],
    tester: ["dssm"],
    caller: "a management",
    answers: "RegisterKey by a user",
    likelyMistake: "every certificate of the authority is let through; only users own keys",
    calls: async (t) => {
      const kss = keyStorage(t.as("dssm"));
      return {
        right: () => register(t, t.random(16)),
        wrong: async () => {
          const { keyId } = await kss.registerKey(registration(t, t.random(16)));
          t.cleanUp(() => kss.deleteKey({ keyId }));
        },
      };
    },
  },
  {
    id: "TP/KSS/KSM/BI-17",
    clause: "7.2.5",
    method: "KeyStorageService/GetKey",
    capabilities: ["KSM6"],
    tester: ["dssm"],
    caller: "the management that issued the token",
    answers: "GetKey by the consumer, with a token of its own",
    likelyMistake: "a token is all it takes: a management could issue itself tokens and read every key",
    calls: async (t) => {
      const key = await storedKey(t);
      const { keyId } = key;
      const good = await t.management.issue(orderFor(t, key));
      const own = await t.management.issue(orderFor(t, key, t.as("dssm")));
      return {
        right: () => keyStorage(t.consumer).getKey({ accessToken: good, keyId, requestId: t.random(16) }),
        wrong: () => keyStorage(t.as("dssm")).getKey({ accessToken: own, keyId, requestId: t.random(16) }),
      };
    },
  },
  {
    id: "TP/KSS/KSM/BI-18",
    clause: "7.2.5",
    method: "KeyStorageService/SetKeyUse",
    tester: ["dssm"],
    caller: "the key's owner",
    answers: "SetKeyUse by the management that the owner named",
    likelyMistake: "a provider can free a key under a live contract and delete it",
    calls: async (t) => {
      const { keyId } = await storedKey(t);
      const management = keyStorage(t.as("dssm"));
      t.cleanUp(() => management.setKeyUse({ keyId, inUse: false }));
      return {
        right: () => management.setKeyUse({ keyId, inUse: true }),
        wrong: () => keyStorage(t.provider).setKeyUse({ keyId, inUse: false }),
        state: () => keyStorage(t.provider).getKeyStatus({ keyId }),
      };
    },
  },
  {
    id: "TP/KSS/KSM/BI-19",
    clause: "7.2.5",
    method: "KeyStorageService/DeleteKey",
    tester: ["dssm"],
    caller: "the management that the owner named",
    answers: "DeleteKey by the owner",
    likelyMistake: "the management may ask about a key, so it is let through everywhere",
    calls: async (t) => {
      const [one, other] = [await storedKey(t), await storedKey(t)];
      return {
        right: () => keyStorage(t.provider).deleteKey({ keyId: one.keyId }),
        wrong: () => keyStorage(t.as("dssm")).deleteKey({ keyId: other.keyId }),
        state: () => keyStorage(t.provider).getKeyStatus({ keyId: other.keyId }),
      };
    },
  },
  {
    id: "TP/KSS/KSM/BI-20",
    clause: "7.2.5",
    method: "KeyStorageService/StoreKey",
    capabilities: ["KSM2"],
    tester: ["dssm"],
    caller: "the management that the owner named",
    answers: "StoreKey by the owner",
    likelyMistake: "the management may ask about a key, so it is let through everywhere",
    calls: async (t) => {
      const [one, other] = [await registeredKey(t), await registeredKey(t)];
      const key = t.random(32);
      return {
        right: () => keyStorage(t.provider).storeKey({ keyId: one.keyId, key }),
        wrong: () => keyStorage(t.as("dssm")).storeKey({ keyId: other.keyId, key }),
        state: () => keyStorage(t.provider).getKeyStatus({ keyId: other.keyId }),
      };
    },
  },
  {
    id: "TP/KSS/KSM/BI-21",
    clause: "7.2.5",
    method: "KeyStorageService/GetKeyStatus",
    caller: "an operator",
    answers: "GetKeyStatus by the owner",
    likelyMistake: "operators are let through everywhere; they create accounts and own no keys",
    calls: async (t) => {
      const { keyId } = await registeredKey(t, t.target.entities.dssm.identity);
      return {
        right: () => keyStorage(t.provider).getKeyStatus({ keyId }),
        wrong: () => t.as("operator").client(KeyStorageService, "kss").getKeyStatus({ keyId }),
      };
    },
  },
  {
    id: "TP/KSS/TV/BI-13",
    clause: "7.2.5",
    method: "TokenVerificationService/VerifyToken",
    steps: ["F4.13.1", "A2.10.1"],
    capabilities: ["TV1"],
    tester: ["dssm"],
    caller: "a user, with a good token",
    answers: "GetKey by the same user, with the same token",
    likelyMistake: "the component's interface is open to the network, where it says which tokens are good",
    calls: async (t) => {
      const key = await storedKey(t);
      const accessToken = await t.management.issue(orderFor(t, key));
      const { certificateSha256: consumerCertificateSha256 } = t.consumer;
      const verify = t.consumer.client(TokenVerificationService, "kss");
      return {
        right: () => keyStorage(t.consumer).getKey({ accessToken, keyId: key.keyId, requestId: t.random(16) }),
        wrong: () => verify.verifyToken({ accessToken, keyId: key.keyId, consumerCertificateSha256 }),
      };
    },
  },
  {
    id: "TP/KSS/TV/BI-14",
    clause: "7.2.5",
    method: "TokenVerificationService/VerifyToken",
    steps: ["F4.13.1", "A2.10.1"],
    capabilities: ["TV1"],
    tester: ["dssm", "kss"],
    caller: "another key storage server",
    answers: "GetKey by the consumer, with the same token",
    likelyMistake: "the kind of the caller is checked and not which one it is",
    calls: async (t) => {
      const key = await storedKey(t);
      const accessToken = await t.management.issue(orderFor(t, key));
      const { certificateSha256: consumerCertificateSha256 } = t.consumer;
      const verify = t.as("kss").client(TokenVerificationService, "kss");
      return {
        right: () => keyStorage(t.consumer).getKey({ accessToken, keyId: key.keyId, requestId: t.random(16) }),
        wrong: () => verify.verifyToken({ accessToken, keyId: key.keyId, consumerCertificateSha256 }),
      };
    },
  },
];

export const invalidKeyStoragePurposes: readonly Purpose[] = [
  ...malformed.map((row) => malformedField(row, { clause: "6.2.3", capabilities: ["KSM1"] })),
  ...callers.map(wrongCaller),
  purpose({
    id: "TP/KSS/KSM/BI-22",
    title: "registers no key for a management that is in no registry",
    clause: "7.3.1",
    steps: ["F3.2.2", "A1.2.2"],
    capabilities: ["KSM1"],
    methods: ["KeyStorageService/RegisterKey"],
    initialState: "a provider with a certificate",
    stimulus: "RegisterKey that names a management which nobody registered",
    expected: { reason: ErrorReason.ENTITY_NOT_REGISTERED },
    twin: "RegisterKey that names the registered management",
    likelyMistake: "the management is noted as given; whoever later gets a certificate of that name would open the key",
    async run(t) {
      await t.positiveTwin("a registered management is accepted", () => register(t, t.random(16)));
      await t.expectRefusal(() => register(t, t.random(16), `urn:x1410:entity:dssm:${t.freshName("nobody")}`));
    },
  }),
  purpose({
    id: "TP/KSS/KSM/BI-23",
    title: "answers a key's status to no other management than the one named",
    clause: "7.3.1",
    steps: ["F3.7", "A1.7"],
    capabilities: ["KSM4"],
    methods: ["KeyStorageService/GetKeyStatus", "KeyStorageService/SetKeyUse"],
    tester: ["dssm"],
    initialState: "a key stored for the tester's management",
    stimulus: "GetKeyStatus and SetKeyUse by another registered management, and for a key that does not exist",
    expected: { reason: ErrorReason.KEY_NOT_FOUND },
    twin: "GetKeyStatus by the management named",
    likelyMistake: "every management is answered: it learns who stores what elsewhere",
    async run(t) {
      const { keyId } = await storedKey(t);
      await t.positiveTwin("the management named is answered", () => keyStorage(t.as("dssm")).getKeyStatus({ keyId }));
      const other = keyStorage(t.as("secondDssm"));
      const status = () => keyStorage(t.provider).getKeyStatus({ keyId });
      for (const id of [keyId, freshId(t)])
        await leavingUnchanged("the key's status to its owner", status, async () => {
          await t.expectRefusal(() => other.getKeyStatus({ keyId: id }));
          await t.expectRefusal(() => other.setKeyUse({ keyId: id, inUse: true }));
        });
    },
  }),
];
