// Data storage management (DSM, clause 6.2.4): the life of a package, uploads that are broken off, what comes at the wrong time and what
// comes at the same time.
import { Code, ConnectError } from "@connectrpc/connect";
import { PackageState } from "../../gen/x1410/v1/data_storage_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { expect } from "../procedures/procedure.ts";
import { expectRefusal } from "../refusal.ts";
import { same } from "../roles/user.ts";
import type { TestCase } from "../test-case.ts";
import { atOnce } from "./at-once.ts";
import { dataStorage, download, registeredPackage, sha256, storedPackage, upload } from "./dss-stored-package.ts";
import { type Purpose, purpose } from "./purpose.ts";
import { leavingUnchanged } from "./unchanged-state.ts";

const stored = { clause: "7.3.1", steps: ["F3.7.4", "A1.7.2"], capabilities: ["DSM3"] } as const;

/** Breaks an upload off after `sent` parts of 64 KiB. Answers once the server knows how much it has kept. */
async function brokenOff(t: TestCase, packageId: string, bytes: Uint8Array, sent: number): Promise<void> {
  const abort = new AbortController();
  async function* some() {
    let count = 0;
    for await (const part of upload(packageId, bytes, {}, 1 << 16)) {
      if (count++ > sent) abort.abort();
      yield part;
    }
  }
  const broken = dataStorage(t.provider).storePackage(some(), { signal: abort.signal });
  const code = await broken.then(
    () => undefined,
    (cause: unknown) => ConnectError.from(cause).code,
  );
  expect(code === Code.Canceled, "the upload broken off by its sender");
}

export const dataStorageOrderPurposes: readonly Purpose[] = [
  purpose({
    id: "TP/DSS/DSM/BV-02",
    title: "makes one registration of many that come at once under one request id",
    clause: "7.3.1",
    steps: ["F3.2.4", "A1.2.3", "A1.2.4"],
    capabilities: ["DSM1"],
    methods: ["DataStorageService/RegisterPackage"],
    initialState: "a provider with a certificate",
    stimulus: "RegisterPackage twenty times at once under one request id, then once by another user",
    expected: "the same package id twenty times, another for the other user",
    likelyMistake: "the request id is looked up before it is written, or kept without its owner",
    async run(t) {
      const request = { requestId: t.random(16), managementIdentity: t.target.entities.dssm.identity };
      const dss = dataStorage(t.provider);
      const answers = await Promise.all(Array.from({ length: 20 }, () => dss.registerPackage(request)));
      const ids = new Set(answers.map(({ packageId }) => packageId));
      for (const packageId of ids) t.cleanUp(() => dss.deletePackage({ packageId }));
      expect(ids.size === 1, `one package id (got ${ids.size})`);
      const { packageId } = await dataStorage(t.secondProvider).registerPackage(request);
      t.cleanUp(() => dataStorage(t.secondProvider).deletePackage({ packageId }));
      expect(!ids.has(packageId), "another package id for another user");
    },
  }),
  purpose({
    ...stored,
    id: "TP/DSS/DSM/BV-03",
    title: "confirms a package that is stored again",
    methods: ["DataStorageService/StorePackage"],
    initialState: "a package stored",
    stimulus: "StorePackage with the same bytes again",
    expected: "the same size, SHA-256 and time of storage",
    likelyMistake: "a lost answer cannot be asked for again: the repetition is refused, or moves the time of storage",
    async run(t) {
      const bytes = t.seeded(70_000);
      const { packageId } = await registeredPackage(t);
      const dss = dataStorage(t.provider);
      const first = await dss.storePackage(upload(packageId, bytes));
      const again = await dss.storePackage(upload(packageId, bytes));
      expect(first.size === again.size && same(first.sha256, again.sha256), "the same size and SHA-256");
      expect(
        first.storedAt?.seconds === again.storedAt?.seconds && first.storedAt?.nanos === again.storedAt?.nanos,
        "the same time of storage",
      );
    },
  }),
  purpose({
    ...stored,
    id: "TP/DSS/DSM/BV-04",
    title: "stores the same package whatever the parts it comes in",
    methods: ["DataStorageService/StorePackage"],
    initialState: "packages registered",
    stimulus: "StorePackage of the same bytes in one part, in parts of 1000 bytes, and of 1 byte",
    expected: "the same SHA-256 each time, and the bytes as sent",
    likelyMistake: "parts are taken for chunks of a fixed size",
    async run(t) {
      const bytes = t.seeded(2_500);
      for (const partBytes of [bytes.length, 1000, 1]) {
        const { packageId } = await registeredPackage(t);
        const source = partBytes === 1 ? bytes.subarray(0, 50) : bytes;
        const answer = await dataStorage(t.provider).storePackage(upload(packageId, source, {}, partBytes));
        expect(same(answer.sha256, sha256(source)), `the SHA-256 of what was sent in parts of ${partBytes}`);
        expect(same((await download(t.consumer, packageId)).bytes, source), "the bytes as sent");
      }
    },
  }),
  purpose({
    ...stored,
    id: "TP/DSS/DSM/BV-05",
    title: "goes on with an upload that was broken off",
    methods: ["DataStorageService/StorePackage", "DataStorageService/GetPackageStatus"],
    initialState: "an upload of 1 MiB broken off after a third",
    stimulus: "GetPackageStatus; StorePackage from the committed offset",
    expected: "stored, with the size and SHA-256 of the whole",
    likelyMistake: "the committed offset is what was announced, or the SHA-256 covers the second part only",
    async run(t) {
      const bytes = t.seeded(1 << 20);
      const { packageId } = await registeredPackage(t);
      await brokenOff(t, packageId, bytes, 5);
      const dss = dataStorage(t.provider);
      const { committedOffset, state } = await dss.getPackageStatus({ packageId });
      expect(committedOffset < BigInt(bytes.length) && state !== PackageState.STORED, "a part at most, not stored");
      const answer = await dss.storePackage(upload(packageId, bytes, { offset: committedOffset }));
      expect(same(answer.sha256, sha256(bytes)), "the SHA-256 of the whole");
      expect(same((await download(t.consumer, packageId)).bytes, bytes), "the bytes of the whole");
      t.seen(`resumed at ${committedOffset} of ${bytes.length} bytes`);
    },
  }),
  purpose({
    ...stored,
    id: "TP/DSS/DSM/BV-06",
    title: "begins an upload that was broken off again from the start",
    methods: ["DataStorageService/StorePackage"],
    initialState: "an upload of 512 KiB broken off",
    stimulus: "StorePackage from offset 0",
    expected: "stored, with the size and SHA-256 of the whole",
    likelyMistake: "what was kept stays before the new bytes",
    async run(t) {
      const bytes = t.seeded(1 << 19);
      const { packageId } = await registeredPackage(t);
      await brokenOff(t, packageId, bytes, 3);
      const answer = await dataStorage(t.provider).storePackage(upload(packageId, bytes));
      expect(answer.size === BigInt(bytes.length) && same(answer.sha256, sha256(bytes)), "the whole, once");
    },
  }),
  purpose({
    ...stored,
    id: "TP/DSS/DSM/BV-07",
    title: "keeps nothing of an upload that was not what it announced",
    methods: ["DataStorageService/StorePackage", "DataStorageService/GetPackageStatus"],
    initialState: "a package registered",
    stimulus: "StorePackage with a wrong SHA-256; then with the right one and other bytes",
    expected: "PACKAGE_DIGEST_MISMATCH, nothing committed; then stored",
    likelyMistake: "the failed upload fixes size and digest, or leaves bytes that the next one is appended to",
    async run(t) {
      const { packageId } = await registeredPackage(t);
      const dss = dataStorage(t.provider);
      const wrong = upload(packageId, t.seeded(4000), { sha256: t.random(32) });
      await expectRefusal(() => dss.storePackage(wrong), ErrorReason.PACKAGE_DIGEST_MISMATCH);
      const { state, committedOffset } = await dss.getPackageStatus({ packageId });
      expect(state === PackageState.REGISTERED && committedOffset === 0n, "registered, nothing committed");
      const bytes = t.seeded(3000);
      const answer = await dss.storePackage(upload(packageId, bytes));
      expect(same(answer.sha256, sha256(bytes)), "the second upload stored");
    },
  }),
  purpose({
    id: "TP/DSS/DSM/BV-08",
    title: "deletes a package, confirms it again, and then knows nothing of it",
    clause: "6.2.4",
    capabilities: ["DSM1", "API3"],
    methods: ["DataStorageService/DeletePackage", "DataDistributionService/GetPackage"],
    initialState: "a package stored",
    stimulus: "DeletePackage, twice; then GetPackageStatus, StorePackage and GetPackage",
    expected: "deleted both times; afterwards PACKAGE_NOT_FOUND",
    likelyMistake: "the row is deleted and the file stays, and is still handed out",
    async run(t) {
      const bytes = t.seeded(1000);
      const packageId = await storedPackage(t, bytes);
      const dss = dataStorage(t.provider);
      await dss.deletePackage({ packageId });
      await dss.deletePackage({ packageId });
      const gone = ErrorReason.PACKAGE_NOT_FOUND;
      await expectRefusal(() => dss.getPackageStatus({ packageId }), gone);
      await expectRefusal(() => dss.storePackage(upload(packageId, bytes)), gone);
      await expectRefusal(() => download(t.consumer, packageId), gone);
    },
  }),
  purpose({
    id: "TP/DSS/DSM/BV-09",
    title: "notes on the management's order that a package is used, as often as it is told",
    clause: "6.2.2",
    capabilities: ["DSPM5"],
    methods: ["DataStorageService/SetPackageUse", "DataStorageService/GetPackageStatus"],
    tester: ["dssm"],
    initialState: "a package stored for the tester's management",
    stimulus: "SetPackageUse in use, twice; free, twice",
    expected: "the status says in use, then not",
    likelyMistake: "uses are counted, so that a repeated order leaves the package in use for ever",
    async run(t) {
      const packageId = await storedPackage(t, t.seeded(100), { management: t.management.identity });
      const management = dataStorage(t.as("dssm"));
      for (const inUse of [true, false]) {
        await management.setPackageUse({ packageId, inUse });
        await management.setPackageUse({ packageId, inUse });
        const status = await dataStorage(t.provider).getPackageStatus({ packageId });
        expect(status.inUse === inUse, inUse ? "in use" : "not in use any more");
      }
    },
  }),
  purpose({
    ...stored,
    id: "TP/DSS/DSM/BV-10",
    title: "stores one of several packages that come at once for one id",
    methods: ["DataStorageService/StorePackage", "DataDistributionService/GetPackage"],
    initialState: "a package registered",
    stimulus: "StorePackage with four different packages at once; then GetPackage",
    expected: "one is confirmed at most, and what is handed out is the one confirmed",
    likelyMistake: "two uploads write into one file: it has parts of both, and one of them was confirmed",
    async run(t) {
      const { packageId } = await registeredPackage(t);
      const contents = Array.from({ length: 4 }, () => t.seeded(200_000));
      const { accepted } = await atOnce(
        contents.map((bytes) => async () => {
          await dataStorage(t.provider).storePackage(upload(packageId, bytes, {}, 20_000));
          return bytes;
        }),
      );
      const [confirmed] = accepted;
      expect(accepted.length === 1 && confirmed !== undefined, `one package stored (got ${accepted.length})`);
      expect(same((await download(t.consumer, packageId)).bytes, confirmed), "the package that was confirmed");
    },
  }),
  purpose({
    ...stored,
    id: "TP/DSS/DSM/BO-01",
    title: "keeps the package that it has when another is stored under the same id",
    methods: ["DataStorageService/StorePackage"],
    initialState: "a package stored",
    stimulus: "StorePackage with other bytes",
    expected: { reason: ErrorReason.PACKAGE_EXISTS },
    twin: "StorePackage with the same bytes again",
    likelyMistake: "the second package replaces the first, though a policy and its signature speak of the first",
    async run(t) {
      const bytes = t.seeded(3000);
      const packageId = await storedPackage(t, bytes);
      const dss = dataStorage(t.provider);
      await t.positiveTwin("the same bytes are confirmed", () => dss.storePackage(upload(packageId, bytes)));
      await t.expectRefusal(() => dss.storePackage(upload(packageId, t.seeded(3000))));
      expect(same((await download(t.consumer, packageId)).bytes, bytes), "the first package, as before");
    },
  }),
  purpose({
    ...stored,
    id: "TP/DSS/DSM/BO-02",
    title: "goes on with an upload only from what it has kept",
    methods: ["DataStorageService/StorePackage"],
    initialState: "two packages registered",
    stimulus: "StorePackage from offset 1000 where nothing is kept; from an offset beyond the size",
    expected: { reason: ErrorReason.OFFSET_OUT_OF_RANGE },
    twin: "StorePackage from offset 0",
    likelyMistake: "the gap is filled with zeros",
    async run(t) {
      const bytes = t.seeded(3000);
      const [right, wrong] = [await registeredPackage(t), await registeredPackage(t)];
      const dss = dataStorage(t.provider);
      await t.positiveTwin("from the start", () => dss.storePackage(upload(right.packageId, bytes)));
      for (const offset of [1000n, 3001n, (1n << 64n) - 1n])
        await t.expectRefusal(() => dss.storePackage(upload(wrong.packageId, bytes, { offset })));
    },
  }),
  purpose({
    id: "TP/DSS/DSM/BO-03",
    title: "deletes no package that a live contract uses",
    clause: "6.2.4",
    capabilities: ["DSM1", "DSPM5"],
    methods: ["DataStorageService/DeletePackage"],
    tester: ["dssm"],
    initialState: "two packages stored, one of them marked as used by the tester's management",
    stimulus: "DeletePackage by the owner of the one in use",
    expected: { reason: ErrorReason.OBJECT_IN_USE },
    twin: "DeletePackage by the owner of the one that is free",
    likelyMistake: "the mark is kept and never looked at: consumers with a grant get nothing",
    async run(t) {
      const management = t.management.identity;
      const free = await storedPackage(t, t.seeded(100), { management });
      const used = await storedPackage(t, t.seeded(100), { management });
      const [owner, manager] = [dataStorage(t.provider), dataStorage(t.as("dssm"))];
      await manager.setPackageUse({ packageId: used, inUse: true });
      t.cleanUp(() => manager.setPackageUse({ packageId: used, inUse: false }));
      await t.positiveTwin("a free package is deleted", () => owner.deletePackage({ packageId: free }));
      await leavingUnchanged(
        "the package's status",
        () => owner.getPackageStatus({ packageId: used }),
        () => t.expectRefusal(() => owner.deletePackage({ packageId: used })),
      );
    },
  }),
  purpose({
    id: "TP/DSS/DSM/BO-04",
    title: "marks no package as used before it is stored",
    clause: "6.2.2",
    capabilities: ["DSPM5"],
    methods: ["DataStorageService/SetPackageUse"],
    tester: ["dssm"],
    initialState: "a package registered, another stored",
    stimulus: "SetPackageUse for the one that is only registered",
    expected: { reason: ErrorReason.PACKAGE_NOT_STORED },
    twin: "SetPackageUse for the one that is stored",
    likelyMistake: "a registration is marked, and then never expires",
    async run(t) {
      const management = t.management.identity;
      const packageId = await storedPackage(t, t.seeded(100), { management });
      const registered = await registeredPackage(t, { management });
      const manager = dataStorage(t.as("dssm"));
      await t.positiveTwin("a stored package is marked", () => manager.setPackageUse({ packageId, inUse: false }));
      await leavingUnchanged(
        "the package's status",
        () => dataStorage(t.provider).getPackageStatus({ packageId: registered.packageId }),
        () => t.expectRefusal(() => manager.setPackageUse({ packageId: registered.packageId, inUse: true })),
      );
    },
  }),
  purpose({
    id: "TP/DSS/DSM/BO-07",
    title: "says nothing any more of a package that was deleted, to its owner and to the management",
    clause: "6.2.4",
    capabilities: ["DSM1", "DSM4"],
    methods: ["DataStorageService/GetPackageStatus"],
    tester: ["dssm"],
    initialState: "a package stored for the tester's management",
    stimulus: "DeletePackage by the owner; GetPackageStatus by both",
    expected: { reason: ErrorReason.PACKAGE_NOT_FOUND },
    twin: "GetPackageStatus by both, before",
    likelyMistake: "the status is cached, so that policy management publishes data whose package is gone",
    async run(t) {
      const packageId = await storedPackage(t, t.seeded(100), { management: t.management.identity });
      const [owner, management] = [dataStorage(t.provider), dataStorage(t.as("dssm"))];
      for (const each of [owner, management])
        await t.positiveTwin("before", () => each.getPackageStatus({ packageId }));
      await owner.deletePackage({ packageId });
      for (const each of [owner, management]) await t.expectRefusal(() => each.getPackageStatus({ packageId }));
    },
  }),
  purpose({
    id: "TP/DSS/DSM/BO-05",
    title: "refuses a request id under which something else was registered",
    clause: "7.3.1",
    steps: ["F3.2.4", "A1.2.3"],
    capabilities: ["DSM1"],
    methods: ["DataStorageService/RegisterPackage"],
    initialState: "a package registered for every reader",
    stimulus: "RegisterPackage under the same request id for one reader alone",
    expected: { reason: ErrorReason.REQUEST_ID_REUSED },
    twin: "RegisterPackage again with the same contents",
    likelyMistake: "the first registration is answered, and the provider believes that its readers are few",
    async run(t) {
      const requestId = t.random(16);
      await registeredPackage(t, { requestId });
      await t.positiveTwin("the same request again", () => registeredPackage(t, { requestId }));
      await t.expectRefusal(() => registeredPackage(t, { requestId, readers: [t.consumer.identity] }));
    },
  }),
  purpose({
    ...stored,
    id: "TP/DSS/DSM/BO-06",
    title: "takes no other package while one is being stored under the id",
    methods: ["DataStorageService/StorePackage"],
    initialState: "an upload broken off with a part kept",
    stimulus: "StorePackage of another package under the id, from the offset that is kept",
    expected: { reason: ErrorReason.PACKAGE_EXISTS },
    twin: "StorePackage of the first one, from that offset",
    likelyMistake: "the digest announced first is forgotten, and the two packages are put together",
    async run(t) {
      const [bytes, others] = [t.seeded(1 << 19), t.seeded(1 << 19)];
      const [kept, finished] = [await registeredPackage(t), await registeredPackage(t)];
      const dss = dataStorage(t.provider);
      await brokenOff(t, finished.packageId, bytes, 4);
      const { committedOffset } = await dss.getPackageStatus({ packageId: finished.packageId });
      await t.positiveTwin("the first one goes on", () =>
        dss.storePackage(upload(finished.packageId, bytes, { offset: committedOffset })),
      );
      await brokenOff(t, kept.packageId, bytes, 4);
      const { committedOffset: offset } = await dss.getPackageStatus({ packageId: kept.packageId });
      if (offset === 0n) {
        // Whoever keeps nothing of a broken upload has nothing that could be mixed up.
        await dss.storePackage(upload(kept.packageId, bytes));
        await t.expectRefusal(() => dss.storePackage(upload(kept.packageId, others)));
      } else await t.expectRefusal(() => dss.storePackage(upload(kept.packageId, others, { offset })));
    },
  }),
];
