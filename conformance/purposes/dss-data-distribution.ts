// Data distribution (DD, clause 6.2.4) of a data storage server.
import { DataDistributionService } from "../../gen/x1410/v1/data_distribution_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { expect } from "../procedures/procedure.ts";
import { same, type User } from "../roles/user.ts";
import { dataStorage, download, registeredPackage, sha256, storedPackage, upload } from "./dss-stored-package.ts";
import { freshId, type MalformedField, malformedField, notIds } from "./malformed-field.ts";
import { type Purpose, purpose } from "./purpose.ts";
import { wrongCaller } from "./wrong-caller.ts";

const common = {
  clause: "7.3.2",
  steps: ["F4.15.2", "F4.17", "A2.13", "A2.15"],
  capabilities: ["DD1", "DD3"],
  methods: ["DataDistributionService/GetPackage"],
} as const;

const malformed: readonly MalformedField[] = (
  [
    ["TP/DSS/DD/BI-01", notIds.traversal, "a path that leads elsewhere"],
    ["TP/DSS/DD/BI-02", notIds.escaped, "an escaped path"],
    ["TP/DSS/DD/BI-03", notIds.nul, "a NUL character"],
    ["TP/DSS/DD/BI-04", notIds.empty, "nothing"],
  ] as const
).map(([id, packageId, holds]) => ({
  id,
  method: "DataDistributionService/GetPackage",
  field: "package_id",
  holds,
  likelyMistake: "ids become file names: whoever asks reads any file of the server",
  requests: async (t) => {
    const known = await storedPackage(t, t.seeded(100));
    return { right: () => download(t.consumer, known), wrong: () => download(t.consumer, packageId) };
  },
}));

export const dataDistributionPurposes: readonly Purpose[] = [
  purpose({
    ...common,
    id: "TP/DSS/DD/BV-01",
    title: "says what comes, then sends the package byte for byte",
    steps: ["F4.15.2", "F4.16", "F4.17", "A2.13", "A2.14", "A2.15"],
    capabilities: ["DD1", "DD2", "DD3"],
    initialState: "a package of 3 MiB stored",
    stimulus: "GetPackage by a consumer",
    expected: "first the description, with size and SHA-256; then the bytes as stored",
    likelyMistake: "the last part is missing where the size is a multiple of the part size",
    async run(t) {
      const bytes = t.seeded(3 << 20);
      const packageId = await storedPackage(t, bytes);
      const { description, bytes: got, inOrder } = await download(t.consumer, packageId);
      expect(inOrder, "one description, before the data");
      expect(description?.size === BigInt(bytes.length) && description.offset === 0n, "the size, from offset 0");
      expect(same(description.sha256, sha256(bytes)), "the SHA-256 of the whole");
      expect(same(got, bytes), "the bytes as stored");
    },
  }),
  purpose({
    ...common,
    id: "TP/DSS/DD/BV-02",
    title: "goes on with a package from any offset",
    initialState: "a package stored",
    stimulus: "GetPackage from an offset in the middle, from the last byte, and from the end",
    expected: "the bytes from there on; none from the end; the description of the whole each time",
    likelyMistake: "the description is of the rest, or an offset at the end is out of range",
    async run(t) {
      const bytes = t.seeded(50_000);
      const packageId = await storedPackage(t, bytes);
      const middle = 1 + t.seededNumber(bytes.length - 2);
      for (const offset of [middle, bytes.length - 1, bytes.length]) {
        const { description, bytes: got } = await download(t.consumer, packageId, BigInt(offset));
        expect(description?.offset === BigInt(offset), `a description from offset ${offset}`);
        expect(description.size === BigInt(bytes.length), "the size of the whole");
        expect(same(description.sha256, sha256(bytes)), "the SHA-256 of the whole");
        expect(same(got, bytes.subarray(offset)), `the bytes from offset ${offset}`);
      }
    },
  }),
  purpose({
    ...common,
    id: "TP/DSS/DD/BV-03",
    title: "gives a package to its readers and its owner",
    capabilities: ["DD2", "DD3"],
    steps: ["F4.16", "A2.14"],
    initialState: "a package stored for one reader",
    stimulus: "GetPackage by the reader and by the owner",
    expected: "the bytes, to both",
    likelyMistake: "the owner has to name itself as a reader",
    async run(t) {
      const bytes = t.seeded(1000);
      const packageId = await storedPackage(t, bytes, { readers: [t.consumer.identity] });
      for (const user of [t.consumer, t.provider])
        expect(same((await download(user, packageId)).bytes, bytes), `the bytes, to ${user.identity}`);
    },
  }),
  purpose({
    ...common,
    id: "TP/DSS/DD/BV-04",
    title: "sends one package to many at once",
    initialState: "a package of 1 MiB stored",
    stimulus: "GetPackage sixteen times at once, by two users, from different offsets",
    expected: "the right bytes, each time",
    likelyMistake: "one position in the file is shared by all who read it",
    async run(t) {
      const bytes = t.seeded(1 << 20);
      const packageId = await storedPackage(t, bytes);
      const offsets = Array.from({ length: 16 }, () => t.seededNumber(bytes.length));
      const users = [t.consumer, t.secondConsumer];
      const got = await Promise.all(
        offsets.map((offset, index) => download(users[index % 2] as User, packageId, BigInt(offset))),
      );
      for (const [index, offset] of offsets.entries())
        expect(same(got[index]?.bytes ?? new Uint8Array(), bytes.subarray(offset)), `the bytes from ${offset}`);
    },
  }),
  ...malformed.map((row) => malformedField(row, { clause: "7.3.2", capabilities: ["DD1"] })),
  purpose({
    ...common,
    id: "TP/DSS/DD/BI-05",
    title: "answers a package that is not meant for the caller like one that does not exist",
    steps: ["F4.16", "A2.14"],
    capabilities: ["DD2"],
    initialState: "a package stored for one reader",
    stimulus: "GetPackage by another user, and for an id that nobody has",
    expected: { reason: ErrorReason.PACKAGE_NOT_FOUND },
    twin: "GetPackage by the reader",
    likelyMistake: "PERMISSION_DENIED, which tells strangers which ids exist; or readers are never looked at",
    async run(t) {
      const packageId = await storedPackage(t, t.seeded(1000), { readers: [t.consumer.identity] });
      await t.positiveTwin("the reader gets it", () => download(t.consumer, packageId));
      await t.expectRefusal(() => download(t.secondConsumer, packageId));
      await t.expectRefusal(() => download(t.secondConsumer, freshId(t)));
    },
  }),
  wrongCaller({
    id: "TP/DSS/DD/BI-06",
    clause: "7.2.5",
    method: "DataDistributionService/GetPackage",
    steps: ["F4.16", "A2.14"],
    capabilities: ["DD2"],
    tester: ["dssm"],
    caller: "a management",
    answers: "GetPackage by a consumer",
    likelyMistake: "a method that answers a stream is missing from the access control list",
    calls: async (t) => {
      const packageId = await storedPackage(t, t.seeded(100), { management: t.management.identity });
      return { right: () => download(t.consumer, packageId), wrong: () => download(t.as("dssm"), packageId) };
    },
  }),
  purpose({
    ...common,
    id: "TP/DSS/DD/BI-07",
    title: "refuses an offset beyond the package",
    initialState: "a package stored",
    stimulus: "GetPackage from one byte beyond the end, and from the largest offset that there is",
    expected: { reason: ErrorReason.OFFSET_OUT_OF_RANGE },
    twin: "GetPackage from the end",
    likelyMistake: "the offset is cut to a signed number, or an empty answer passes for a complete package",
    async run(t) {
      const bytes = t.seeded(1000);
      const packageId = await storedPackage(t, bytes);
      await t.positiveTwin("from the end", () => download(t.consumer, packageId, 1000n));
      for (const offset of [1001n, 1n << 63n, (1n << 64n) - 1n])
        await t.expectRefusal(() => download(t.consumer, packageId, offset));
    },
  }),
  purpose({
    ...common,
    id: "TP/DSS/DD/BO-01",
    title: "hands out no package before it is stored",
    initialState: "a package registered, another stored",
    stimulus: "GetPackage for the one that is only registered; StorePackage; GetPackage again",
    expected: { reason: ErrorReason.PACKAGE_NOT_STORED },
    twin: "GetPackage for the one that is stored",
    likelyMistake: "an empty answer, which a consumer takes for an empty package",
    async run(t) {
      const bytes = t.seeded(1000);
      const stored = await storedPackage(t, bytes);
      const { packageId } = await registeredPackage(t);
      await t.positiveTwin("the stored one", () => download(t.consumer, stored));
      await t.expectRefusal(() => download(t.consumer, packageId));
      await dataStorage(t.provider).storePackage(upload(packageId, bytes));
      expect(same((await download(t.consumer, packageId)).bytes, bytes), "the package, once it is stored");
    },
  }),
  purpose({
    ...common,
    id: "TP/DSS/DD/BO-02",
    title: "hands out nothing of an upload under way",
    initialState: "a package registered whose upload has begun and does not end",
    stimulus: "GetPackage while the upload is open",
    expected: { reason: ErrorReason.PACKAGE_NOT_STORED },
    twin: "GetPackage after the upload has ended",
    likelyMistake: "the file is readable while it is written: consumers get a package that is too short",
    async run(t) {
      const bytes = t.seeded(200_000);
      const stored = await storedPackage(t, bytes);
      await t.positiveTwin("a package whose upload has ended", () => download(t.consumer, stored));
      const { packageId } = await registeredPackage(t);
      const gate = Promise.withResolvers<void>();
      async function* held() {
        let count = 0;
        for await (const part of upload(packageId, bytes, {}, 50_000)) {
          if (count++ === 3) await gate.promise;
          yield part;
        }
      }
      const upToNow = dataStorage(t.provider).storePackage(held());
      try {
        await t.expectRefusal(() => download(t.consumer, packageId));
      } finally {
        gate.resolve();
        await upToNow;
      }
      expect(same((await download(t.consumer, packageId)).bytes, bytes), "the whole, once the upload has ended");
    },
  }),
  purpose({
    ...common,
    id: "TP/DSS/DD/BV-05",
    title: "goes on after a consumer has left in the middle",
    initialState: "a package of 3 MiB stored",
    stimulus: "GetPackage, left after the first data; then GetPackage from where it was left",
    expected: "both halves together are the package",
    likelyMistake: "a stream that is left keeps its file, its lock, or its place",
    async run(t) {
      const bytes = t.seeded(3 << 20);
      const packageId = await storedPackage(t, bytes);
      const left = new AbortController();
      const stream = t.consumer
        .client(DataDistributionService, "dss")
        .getPackage({ packageId }, { signal: left.signal });
      let first = new Uint8Array();
      for await (const { part } of stream)
        if (part.case === "data") {
          first = new Uint8Array(part.value);
          break;
        }
      left.abort();
      const rest = await download(t.consumer, packageId, BigInt(first.length));
      expect(same(Buffer.concat([first, rest.bytes]), bytes), "the package, from two streams");
      t.seen(`left after ${first.length} bytes`);
    },
  }),
];
