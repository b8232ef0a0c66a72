// Key storage management (KSM, clause 6.2.3): the life of a key, what comes at the wrong time, and what comes at the same time.
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { KeyState } from "../../gen/x1410/v1/key_storage_pb.ts";
import { expect } from "../procedures/procedure.ts";
import { expectRefusal } from "../refusal.ts";
import { same } from "../roles/user.ts";
import { atOnce } from "./at-once.ts";
import { keyStorage, orderFor, redeem, registeredKey, storedKey } from "./kss-stored-key.ts";
import { type Purpose, purpose } from "./purpose.ts";
import { leavingUnchanged } from "./unchanged-state.ts";

export const keyStorageOrderPurposes: readonly Purpose[] = [
  purpose({
    id: "TP/KSS/KSM/BV-03",
    title: "says of a registered key that nothing is stored yet",
    clause: "7.3.1",
    steps: ["F3.7", "A1.7"],
    capabilities: ["KSM4"],
    methods: ["KeyStorageService/GetKeyStatus"],
    initialState: "a key registered, not stored",
    stimulus: "GetKeyStatus",
    expected: "the state REGISTERED, no time of storage, not in use",
    likelyMistake: "a row in the table is taken for a key: policy management would publish data that nobody can open",
    async run(t) {
      const { keyId } = await registeredKey(t, t.target.entities.dssm.identity);
      const status = await keyStorage(t.provider).getKeyStatus({ keyId });
      expect(status.state === KeyState.REGISTERED, "the state REGISTERED");
      expect(status.storedAt === undefined && !status.inUse, "no time of storage, and not in use");
    },
  }),
  purpose({
    id: "TP/KSS/KSM/BV-04",
    title: "keeps request ids apart by owner",
    clause: "7.3.1",
    steps: ["F3.2.2", "A1.2.2"],
    capabilities: ["KSM1", "KSM2"],
    methods: ["KeyStorageService/RegisterKey"],
    initialState: "two providers",
    stimulus: "RegisterKey by both under the same request id",
    expected: "a key id of its own for each",
    likelyMistake: "request ids are kept without their owner: the second provider is handed the first one's key id",
    async run(t) {
      const request = { requestId: t.random(16), managementIdentity: t.target.entities.dssm.identity };
      const ids: string[] = [];
      for (const user of [t.provider, t.secondProvider]) {
        const { keyId } = await keyStorage(user).registerKey(request);
        t.cleanUp(() => keyStorage(user).deleteKey({ keyId }));
        ids.push(keyId);
      }
      expect(ids[0] !== ids[1], "two key ids");
    },
  }),
  purpose({
    id: "TP/KSS/KSM/BV-05",
    title: "makes one registration of many that come at once under one request id",
    clause: "7.3.1",
    steps: ["F3.2.2", "A1.2.2"],
    capabilities: ["KSM1"],
    methods: ["KeyStorageService/RegisterKey"],
    initialState: "a provider with a certificate",
    stimulus: "RegisterKey twenty times at once under one request id",
    expected: "the same key id twenty times",
    likelyMistake:
      "the request id is looked up before it is written, with nothing to keep two requests apart in between",
    async run(t) {
      const kss = keyStorage(t.provider);
      const request = { requestId: t.random(16), managementIdentity: t.target.entities.dssm.identity };
      const answers = await Promise.all(Array.from({ length: 20 }, () => kss.registerKey(request)));
      const ids = new Set(answers.map(({ keyId }) => keyId));
      for (const keyId of ids) t.cleanUp(() => kss.deleteKey({ keyId }));
      expect(ids.size === 1, `one key id (got ${ids.size})`);
    },
  }),
  purpose({
    id: "TP/KSS/KSM/BV-06",
    title: "stores one of several keys that come at once for one id, and confirms only that one",
    clause: "7.3.1",
    steps: ["F3.7.2", "A1.7.1"],
    capabilities: ["KSM3"],
    methods: ["KeyStorageService/StoreKey", "KeyStorageService/GetKey"],
    tester: ["dssm"],
    initialState: "a key registered",
    stimulus: "StoreKey with eight different keys at once; then GetKey",
    expected: "exactly one is stored, the others are refused with KEY_EXISTS; the one stored is the one given out",
    likelyMistake: "the last one wins after the first was confirmed: the provider's package can no longer be opened",
    async run(t) {
      const key = await registeredKey(t);
      const secrets = Array.from({ length: 8 }, () => t.random(32));
      const kss = keyStorage(t.provider);
      const { accepted, refused } = await atOnce(
        secrets.map((secret) => async () => {
          await kss.storeKey({ keyId: key.keyId, key: secret });
          return secret;
        }),
      );
      const [stored] = accepted;
      expect(accepted.length === 1 && stored !== undefined, `one key stored (got ${accepted.length})`);
      expect(
        refused.every((reason) => reason === ErrorReason.KEY_EXISTS),
        "the others refused with KEY_EXISTS",
      );
      const released = await redeem(t, await t.management.issue(orderFor(t, key)), key);
      expect(same(released, stored), "the key whose storage was confirmed");
    },
  }),
  purpose({
    id: "TP/KSS/KSM/BV-07",
    title: "deletes a key, confirms it again, and then knows nothing of it",
    clause: "6.2.3",
    capabilities: ["KSM1", "API2"],
    methods: ["KeyStorageService/DeleteKey", "KeyStorageService/GetKeyStatus", "KeyStorageService/StoreKey"],
    initialState: "a key stored",
    stimulus: "DeleteKey, twice; then GetKeyStatus and StoreKey",
    expected: "deleted both times; afterwards KEY_NOT_FOUND",
    likelyMistake: "a repeated DeleteKey fails, or the id can be filled again with another key",
    async run(t) {
      const { keyId } = await storedKey(t, t.target.entities.dssm.identity);
      const kss = keyStorage(t.provider);
      await kss.deleteKey({ keyId });
      await kss.deleteKey({ keyId });
      await expectRefusal(() => kss.getKeyStatus({ keyId }), ErrorReason.KEY_NOT_FOUND);
      await expectRefusal(() => kss.storeKey({ keyId, key: t.random(32) }), ErrorReason.KEY_NOT_FOUND);
    },
  }),
  purpose({
    id: "TP/KSS/KSM/BV-08",
    title: "notes on the management's order that a key is used, as often as it is told",
    clause: "6.2.2",
    capabilities: ["DSPM5"],
    methods: ["KeyStorageService/SetKeyUse", "KeyStorageService/GetKeyStatus"],
    tester: ["dssm"],
    initialState: "a key stored for the tester's management",
    stimulus: "SetKeyUse in use, twice; free, twice",
    expected: "the status says in use, then not",
    likelyMistake: "uses are counted, so that a repeated order leaves the key in use for ever",
    async run(t) {
      const { keyId } = await storedKey(t);
      const management = keyStorage(t.as("dssm"));
      for (const inUse of [true, false]) {
        await management.setKeyUse({ keyId, inUse });
        await management.setKeyUse({ keyId, inUse });
        const status = await keyStorage(t.provider).getKeyStatus({ keyId });
        expect(status.inUse === inUse, inUse ? "in use" : "not in use any more");
      }
    },
  }),
  purpose({
    id: "TP/KSS/KSM/BO-02",
    title: "deletes no key that a live contract uses",
    clause: "6.2.3",
    capabilities: ["KSM1", "DSPM5"],
    methods: ["KeyStorageService/DeleteKey"],
    tester: ["dssm"],
    initialState: "two keys stored, one of them marked as used by the tester's management",
    stimulus: "DeleteKey by the owner of the one in use",
    expected: { reason: ErrorReason.OBJECT_IN_USE },
    twin: "DeleteKey by the owner of the one that is free",
    likelyMistake: "the mark is kept and never looked at: consumers with a grant can no longer open the data",
    async run(t) {
      const [free, used] = [await storedKey(t), await storedKey(t)];
      const [owner, management] = [keyStorage(t.provider), keyStorage(t.as("dssm"))];
      await management.setKeyUse({ keyId: used.keyId, inUse: true });
      t.cleanUp(() => management.setKeyUse({ keyId: used.keyId, inUse: false }));
      await t.positiveTwin("a free key is deleted", () => owner.deleteKey({ keyId: free.keyId }));
      await leavingUnchanged(
        "the key's status",
        () => owner.getKeyStatus({ keyId: used.keyId }),
        () => t.expectRefusal(() => owner.deleteKey({ keyId: used.keyId })),
      );
    },
  }),
  purpose({
    id: "TP/KSS/KSM/BO-03",
    title: "marks no key as used before it is stored",
    clause: "6.2.2",
    capabilities: ["DSPM5"],
    methods: ["KeyStorageService/SetKeyUse"],
    tester: ["dssm"],
    initialState: "a key registered, another stored",
    stimulus: "SetKeyUse for the one that is only registered",
    expected: { reason: ErrorReason.KEY_NOT_STORED },
    twin: "SetKeyUse for the one that is stored",
    likelyMistake: "a registration is marked, and then never expires",
    async run(t) {
      const [stored, registered] = [await storedKey(t), await registeredKey(t)];
      const management = keyStorage(t.as("dssm"));
      await t.positiveTwin("a stored key is marked", () => management.setKeyUse({ keyId: stored.keyId, inUse: false }));
      await leavingUnchanged(
        "the key's status",
        () => keyStorage(t.provider).getKeyStatus({ keyId: registered.keyId }),
        () => t.expectRefusal(() => management.setKeyUse({ keyId: registered.keyId, inUse: true })),
      );
    },
  }),
  purpose({
    id: "TP/KSS/KSM/BO-04",
    title: "releases no key before one is stored, and does not spend the token on it",
    clause: "7.3.2",
    steps: ["F4.14", "A2.11"],
    capabilities: ["KSM6"],
    methods: ["KeyStorageService/GetKey"],
    tester: ["dssm"],
    initialState: "a key registered for the tester's management, another stored",
    stimulus: "GetKey with a good token for the key that is only registered; StoreKey; GetKey again",
    expected: { reason: ErrorReason.KEY_NOT_STORED },
    twin: "GetKey with a good token for the stored key",
    likelyMistake: "the token is spent first, so that the consumer cannot come back once the key is stored",
    async run(t) {
      const [stored, registered] = [await storedKey(t), await registeredKey(t)];
      const good = await t.management.issue(orderFor(t, stored));
      await t.positiveTwin("the stored key is released", () => redeem(t, good, stored));
      const token = await t.management.issue(orderFor(t, registered));
      await t.expectRefusal(() => redeem(t, token, registered));
      const secret = t.random(32);
      await keyStorage(t.provider).storeKey({ keyId: registered.keyId, key: secret });
      expect(same(await redeem(t, token, registered), secret), "the key, for the same token, once it is stored");
    },
  }),
  purpose({
    id: "TP/KSS/KSM/BO-05",
    title: "releases no key that its owner has deleted",
    clause: "7.3.2",
    steps: ["F4.14", "A2.11"],
    capabilities: ["KSM6"],
    methods: ["KeyStorageService/GetKey"],
    tester: ["dssm"],
    initialState: "a key stored, redeemed once, then deleted",
    stimulus: "GetKey with a second good token",
    expected: { reason: ErrorReason.KEY_NOT_FOUND },
    twin: "GetKey with the first token, before",
    likelyMistake: "deletion takes the name and leaves the key, or a cache goes on answering",
    async run(t) {
      const key = await storedKey(t);
      const [first, second] = [await t.management.issue(orderFor(t, key)), await t.management.issue(orderFor(t, key))];
      await t.positiveTwin("before, the key is released", () => redeem(t, first, key));
      await keyStorage(t.provider).deleteKey({ keyId: key.keyId });
      await t.expectRefusal(() => redeem(t, second, key));
    },
  }),
  purpose({
    id: "TP/KSS/KSM/BO-07",
    title: "says nothing any more of a key that was deleted, to its owner and to the management",
    clause: "6.2.3",
    capabilities: ["KSM1", "KSM4"],
    methods: ["KeyStorageService/GetKeyStatus"],
    tester: ["dssm"],
    initialState: "a key stored for the tester's management",
    stimulus: "DeleteKey by the owner; GetKeyStatus by both",
    expected: { reason: ErrorReason.KEY_NOT_FOUND },
    twin: "GetKeyStatus by both, before",
    likelyMistake: "the status is cached, so that policy management publishes data whose key is gone",
    async run(t) {
      const { keyId } = await storedKey(t);
      const [owner, management] = [keyStorage(t.provider), keyStorage(t.as("dssm"))];
      for (const each of [owner, management]) await t.positiveTwin("before", () => each.getKeyStatus({ keyId }));
      await owner.deleteKey({ keyId });
      for (const each of [owner, management]) await t.expectRefusal(() => each.getKeyStatus({ keyId }));
    },
  }),
  purpose({
    id: "TP/KSS/KSM/BO-06",
    title: "refuses a request id under which something else was registered",
    clause: "7.3.1",
    steps: ["F3.2.2", "A1.2.2"],
    capabilities: ["KSM1"],
    methods: ["KeyStorageService/RegisterKey"],
    tester: ["dssm"],
    initialState: "a key registered",
    stimulus: "RegisterKey under the same request id, naming another management",
    expected: { reason: ErrorReason.REQUEST_ID_REUSED },
    twin: "RegisterKey again with the same contents",
    likelyMistake: "the first registration is answered though it names another management than the request",
    async run(t) {
      const kss = keyStorage(t.provider);
      const request = { requestId: t.random(16), managementIdentity: t.management.identity };
      const { keyId } = await kss.registerKey(request);
      t.cleanUp(() => kss.deleteKey({ keyId }));
      await t.positiveTwin("the same request again", () => kss.registerKey(request));
      await leavingUnchanged(
        "the key's status",
        () => kss.getKeyStatus({ keyId }),
        () => t.expectRefusal(() => kss.registerKey({ ...request, managementIdentity: t.secondManagement.identity })),
      );
    },
  }),
];
