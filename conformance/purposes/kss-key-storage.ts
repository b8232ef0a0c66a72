// Key storage management (KSM, clause 6.2.3) of a key storage server.
import { equals } from "@bufbuild/protobuf";
import { TimestampSchema } from "@bufbuild/protobuf/wkt";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { KeyState } from "../../gen/x1410/v1/key_storage_pb.ts";
import { keyAddress } from "../../reference/communications/address.ts";
import { expect } from "../procedures/procedure.ts";
import { expectRecent } from "../procedures/recent-time.ts";
import { keyStorage, registeredKey, storedKey } from "./kss-stored-key.ts";
import { type Purpose, purpose } from "./purpose.ts";
import { leavingUnchanged } from "./unchanged-state.ts";

export const keyStoragePurposes: readonly Purpose[] = [
  purpose({
    id: "TP/KSS/KSM/BV-01",
    title: "registers a key: an id, and an address made of its own identity and the id",
    clause: "7.3.1",
    steps: ["F3.2.2", "A1.2.2"],
    capabilities: ["KSM1", "KSM2"],
    methods: ["KeyStorageService/RegisterKey"],
    initialState: "a provider with a certificate",
    stimulus: "RegisterKey, twice under one request id, then under another",
    expected: "one registration for one request id, another for another",
    likelyMistake: "request_id is not kept, so that a lost answer registers twice",
    async run(t) {
      const kss = keyStorage(t.provider);
      const request = { requestId: t.random(16), managementIdentity: t.target.entities.dssm.identity };
      const first = await kss.registerKey(request);
      t.cleanUp(() => kss.deleteKey({ keyId: first.keyId }));
      expect(/^[0-9a-f]{32}$/.test(first.keyId), "a key id of 32 hexadecimal digits");
      const address = keyAddress(t.target.entities.kss.identity, first.keyId);
      expect(first.keyAddress === address, `the address ${address}`);
      const again = await kss.registerKey(request);
      expect(again.keyId === first.keyId, "the same key id for the same request id");
      const other = await registeredKey(t, request.managementIdentity);
      expect(other.keyId !== first.keyId, "another key id for another request id");
      t.seen(first.keyAddress);
    },
  }),
  purpose({
    id: "TP/KSS/KSM/BV-02",
    title: "stores a key and says so, to its owner and to the management that the owner named",
    clause: "7.3.1",
    steps: ["F3.7", "F3.7.2", "A1.7", "A1.7.1"],
    capabilities: ["KSM1", "KSM3", "KSM4"],
    methods: ["KeyStorageService/StoreKey", "KeyStorageService/GetKeyStatus"],
    tester: ["dssm"],
    initialState: "a key registered for the tester's management",
    stimulus: "StoreKey, then GetKeyStatus by the owner and by the management",
    expected: "the time of storage at once; then the state STORED with that time, to both",
    likelyMistake: "GetKeyStatus answers the owner only; policy management needs it for F3.7",
    async run(t) {
      const { keyId } = await registeredKey(t);
      const beganMs = Date.now();
      const { storedAt } = await keyStorage(t.provider).storeKey({ keyId, key: t.random(32) });
      expect(storedAt !== undefined, "the time of storage in the answer to StoreKey");
      expectRecent(storedAt, "stored_at", beganMs);
      for (const user of [t.provider, t.as("dssm")]) {
        const status = await keyStorage(user).getKeyStatus({ keyId });
        expect(status.state === KeyState.STORED, `the state STORED to ${user.identity}`);
        expect(
          status.storedAt !== undefined && equals(TimestampSchema, status.storedAt, storedAt),
          "the time of storage in the answer to StoreKey",
        );
        expect(status.ownerIdentity === t.provider.identity, "the owner");
        expect(status.managementIdentity === t.management.identity, "the management that the owner named");
      }
      t.seen("STORED, to the owner and to the management");
    },
  }),
  purpose({
    id: "TP/KSS/KSM/BI-01",
    title: "answers another owner's key like one that does not exist",
    clause: "6.2.3",
    capabilities: ["KSM2"],
    methods: ["KeyStorageService/GetKeyStatus", "KeyStorageService/StoreKey", "KeyStorageService/DeleteKey"],
    initialState: "a key registered by a provider",
    stimulus: "GetKeyStatus, StoreKey and DeleteKey by another user",
    expected: { reason: ErrorReason.KEY_NOT_FOUND },
    twin: "GetKeyStatus by the owner, before and, with the same answer, after",
    likelyMistake: "PERMISSION_DENIED, which tells strangers which ids exist; or no check of the owner at all",
    async run(t) {
      const { keyId } = await registeredKey(t, t.target.entities.dssm.identity);
      const status = () => keyStorage(t.provider).getKeyStatus({ keyId });
      await t.positiveTwin("its owner is answered", status);
      const stranger = keyStorage(t.secondProvider);
      const absent = Buffer.from(t.random(16)).toString("hex");
      for (const id of [keyId, absent])
        await leavingUnchanged("the key's status to its owner", status, async () => {
          await t.expectRefusal(() => stranger.getKeyStatus({ keyId: id }));
          await t.expectRefusal(() => stranger.storeKey({ keyId: id, key: t.random(32) }));
          await t.expectRefusal(() => stranger.deleteKey({ keyId: id }));
        });
    },
  }),
  purpose({
    id: "TP/KSS/KSM/BO-01",
    title: "keeps the key that it has when another is stored under the same id",
    clause: "7.3.1",
    steps: ["F3.7.2", "A1.7.1"],
    capabilities: ["KSM3"],
    methods: ["KeyStorageService/StoreKey"],
    initialState: "a key stored",
    stimulus: "StoreKey with other bytes",
    expected: { reason: ErrorReason.KEY_EXISTS },
    twin: "StoreKey with the same bytes again",
    likelyMistake: "the second key replaces the first, and whoever holds a package can no longer open it",
    async run(t) {
      const { keyId, secret } = await storedKey(t, t.target.entities.dssm.identity);
      const kss = keyStorage(t.provider);
      await t.positiveTwin("the same key again is confirmed", () => kss.storeKey({ keyId, key: secret }));
      await t.expectRefusal(() => kss.storeKey({ keyId, key: t.random(32) }));
      await leavingUnchanged(
        "the key's status",
        () => kss.getKeyStatus({ keyId }),
        () => kss.storeKey({ keyId, key: secret }),
      );
    },
  }),
];
