// Data storage management (DSM, clause 6.2.4): requests that are wrong in themselves.
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import type { TestCase } from "../test-case.ts";
import { dataStorage, parts, registeredPackage, sha256, storedPackage, upload } from "./dss-stored-package.ts";
import { freshId, type MalformedField, malformedField, notIds } from "./malformed-field.ts";
import { type Purpose, type PurposeId, purpose } from "./purpose.ts";
import { leavingUnchanged } from "./unchanged-state.ts";

const unchecked = "the rule stands in the interface and nothing checks it before the store is asked";
const asPath = "ids become file names: an upload writes where its sender wants";

const registration = (t: TestCase) => ({
  requestId: t.random(16),
  managementIdentity: t.target.entities.dssm.identity,
  readers: [] as string[],
});

async function register(t: TestCase, request: ReturnType<typeof registration>): Promise<void> {
  const dss = dataStorage(t.provider);
  const { packageId } = await dss.registerPackage(request);
  t.cleanUp(() => dss.deletePackage({ packageId }));
}

const malformed: readonly MalformedField[] = [
  ...(
    [
      ["TP/DSS/DSM/BI-02", "request_id", "17 bytes instead of 16", (t) => ({ requestId: t.random(17) })],
      [
        "TP/DSS/DSM/BI-03",
        "management_identity",
        "the identity of a user",
        (t) => ({ managementIdentity: t.provider.identity }),
      ],
      [
        "TP/DSS/DSM/BI-04",
        "readers[0]",
        "what is no user's identity",
        (t) => ({ readers: [t.target.entities.kss.identity] }),
      ],
      [
        "TP/DSS/DSM/BI-05",
        "readers",
        "one user twice",
        (t) => ({ readers: [t.consumer.identity, t.consumer.identity] }),
      ],
    ] as readonly [PurposeId, string, string, (t: TestCase) => Partial<ReturnType<typeof registration>>][]
  ).map(
    ([id, field, holds, change]): MalformedField => ({
      id,
      method: "DataStorageService/RegisterPackage",
      field,
      holds,
      likelyMistake: unchecked,
      requests: async (t) => ({
        right: () => register(t, { ...registration(t), readers: [t.consumer.identity] }),
        wrong: () => register(t, { ...registration(t), ...change(t) }),
      }),
    }),
  ),
  ...(
    [
      ["TP/DSS/DSM/BI-06", notIds.traversal, "a path that leads elsewhere"],
      ["TP/DSS/DSM/BI-07", notIds.escaped, "an escaped path"],
      ["TP/DSS/DSM/BI-08", notIds.nul, "a NUL character"],
    ] as const
  ).map(
    ([id, packageId, holds]): MalformedField => ({
      id,
      method: "DataStorageService/StorePackage",
      field: "open.package_id",
      holds,
      likelyMistake: asPath,
      requests: async (t) => {
        const known = await registeredPackage(t);
        const bytes = t.seeded(100);
        return {
          right: () => dataStorage(t.provider).storePackage(upload(known.packageId, bytes)),
          wrong: () => dataStorage(t.provider).storePackage(upload(packageId, bytes)),
        };
      },
    }),
  ),
  {
    id: "TP/DSS/DSM/BI-09",
    method: "DataStorageService/StorePackage",
    field: "open.sha256",
    holds: "20 bytes instead of 32",
    likelyMistake: "a digest of any length is compared by its beginning",
    requests: async (t) => {
      const [one, other] = [await registeredPackage(t), await registeredPackage(t)];
      const bytes = t.seeded(100);
      const dss = dataStorage(t.provider);
      return {
        right: () => dss.storePackage(upload(one.packageId, bytes)),
        wrong: () => dss.storePackage(upload(other.packageId, bytes, { sha256: sha256(bytes).subarray(0, 20) })),
      };
    },
  },
  {
    id: "TP/DSS/DSM/BI-10",
    method: "DataStorageService/StorePackage",
    field: "open.size",
    holds: "nothing",
    likelyMistake: "an empty object is stored, which no package can be",
    requests: async (t) => {
      const [one, other] = [await registeredPackage(t), await registeredPackage(t)];
      const dss = dataStorage(t.provider);
      return {
        right: () => dss.storePackage(upload(one.packageId, t.seeded(1))),
        wrong: () => dss.storePackage(upload(other.packageId, new Uint8Array())),
      };
    },
  },
  {
    id: "TP/DSS/DSM/BI-11",
    method: "DataStorageService/GetPackageStatus",
    field: "package_id",
    holds: "upper-case digits",
    likelyMistake: unchecked,
    requests: async (t) => {
      const { packageId } = await registeredPackage(t);
      return {
        right: () => dataStorage(t.provider).getPackageStatus({ packageId }),
        wrong: () => dataStorage(t.provider).getPackageStatus({ packageId: notIds.upperCase }),
      };
    },
  },
  {
    id: "TP/DSS/DSM/BI-12",
    method: "DataStorageService/DeletePackage",
    field: "package_id",
    holds: "a path that leads elsewhere",
    likelyMistake: asPath,
    requests: async (t) => {
      const { packageId } = await registeredPackage(t);
      return {
        right: () => dataStorage(t.provider).deletePackage({ packageId }),
        wrong: () => dataStorage(t.provider).deletePackage({ packageId: notIds.traversal }),
      };
    },
  },
  {
    id: "TP/DSS/DSM/BI-13",
    method: "DataStorageService/SetPackageUse",
    field: "package_id",
    holds: "an id and a line feed",
    tester: ["dssm"],
    likelyMistake: "the pattern's end matches before a line feed at the end of the text",
    requests: async (t) => {
      const packageId = await storedPackage(t, t.seeded(100), { management: t.management.identity });
      const dss = dataStorage(t.as("dssm"));
      return {
        right: () => dss.setPackageUse({ packageId, inUse: false }),
        wrong: () => dss.setPackageUse({ packageId: notIds.newline, inUse: false }),
      };
    },
  },
];

const announcedWrongly: readonly { id: PurposeId; what: string; size: (length: number) => number; mistake: string }[] =
  [
    {
      id: "TP/DSS/DSM/BI-19",
      what: "one byte less than was announced",
      size: (length) => length + 1,
      mistake: "the end of the stream is taken for the end of the package",
    },
    {
      id: "TP/DSS/DSM/BI-20",
      what: "one byte more than was announced",
      size: (length) => length - 1,
      mistake: "what comes after the announced size is ignored, or stored",
    },
  ];

export const invalidDataStoragePurposes: readonly Purpose[] = [
  ...malformed.map((row) => malformedField(row, { clause: "6.2.4", capabilities: ["DSM1"] })),
  ...announcedWrongly.map(({ id, what, size, mistake }) =>
    purpose({
      id,
      title: `refuses a package of ${what}`,
      clause: "7.3.1",
      steps: ["F3.7.4", "A1.7.2"],
      capabilities: ["DSM3"],
      methods: ["DataStorageService/StorePackage"],
      initialState: "two packages registered",
      stimulus: `StorePackage of ${what}`,
      expected: { reason: ErrorReason.PACKAGE_DIGEST_MISMATCH },
      twin: "StorePackage with the size as announced",
      likelyMistake: mistake,
      async run(t) {
        const bytes = t.seeded(3000);
        const [right, wrong] = [await registeredPackage(t), await registeredPackage(t)];
        const dss = dataStorage(t.provider);
        await t.positiveTwin("the right size is accepted", () => dss.storePackage(upload(right.packageId, bytes)));
        const announced = { size: BigInt(size(bytes.length)) };
        await t.expectRefusal(() => dss.storePackage(upload(wrong.packageId, bytes, announced)));
      },
    }),
  ),
  purpose({
    id: "TP/DSS/DSM/BI-21",
    title: "refuses an upload that does not open",
    clause: "7.3.1",
    steps: ["F3.7.4", "A1.7.2"],
    capabilities: ["DSM1"],
    methods: ["DataStorageService/StorePackage"],
    initialState: "a package registered",
    stimulus: "StorePackage whose first message carries data; one with no message at all",
    expected: { reason: ErrorReason.REQUEST_INVALID },
    twin: "StorePackage whose first message opens",
    likelyMistake: "data before the opening goes to whatever package was opened last, or to none",
    async run(t) {
      const bytes = t.seeded(500);
      const { packageId } = await registeredPackage(t);
      const dss = dataStorage(t.provider);
      await t.positiveTwin("an upload that opens", () => dss.storePackage(upload(packageId, bytes)));
      await t.expectRefusal(() => dss.storePackage(parts({ part: { case: "data", value: bytes } })));
      await t.expectRefusal(() => dss.storePackage(parts()));
    },
  }),
  purpose({
    id: "TP/DSS/DSM/BI-22",
    title: "refuses an upload that opens twice",
    clause: "7.3.1",
    steps: ["F3.7.4", "A1.7.2"],
    capabilities: ["DSM1"],
    methods: ["DataStorageService/StorePackage"],
    initialState: "two packages registered",
    stimulus: "StorePackage that opens one package and, before its data, the other",
    expected: { reason: ErrorReason.REQUEST_INVALID },
    twin: "StorePackage that opens once",
    likelyMistake: "the second opening wins: the owner is checked for the first package and the bytes go to the second",
    async run(t) {
      const bytes = t.seeded(500);
      const [one, other, third] = [await registeredPackage(t), await registeredPackage(t), await registeredPackage(t)];
      const dss = dataStorage(t.provider);
      await t.positiveTwin("an upload that opens once", () => dss.storePackage(upload(third.packageId, bytes)));
      const opening = (packageId: string) => ({
        part: {
          case: "open" as const,
          value: { packageId, size: BigInt(bytes.length), sha256: sha256(bytes), offset: 0n },
        },
      });
      const twice = () =>
        parts(opening(one.packageId), opening(other.packageId), { part: { case: "data", value: bytes } });
      await t.expectRefusal(() => dss.storePackage(twice()));
    },
  }),
  purpose({
    id: "TP/DSS/DSM/BI-23",
    title: "answers another owner's package like one that does not exist",
    clause: "6.2.4",
    capabilities: ["DSM2"],
    methods: [
      "DataStorageService/GetPackageStatus",
      "DataStorageService/StorePackage",
      "DataStorageService/DeletePackage",
    ],
    initialState: "a package registered by a provider",
    stimulus: "GetPackageStatus, StorePackage and DeletePackage by another user",
    expected: { reason: ErrorReason.PACKAGE_NOT_FOUND },
    twin: "GetPackageStatus by the owner, before and, with the same answer, after",
    likelyMistake: "PERMISSION_DENIED, which tells strangers which ids exist; or no check of the owner at all",
    async run(t) {
      const { packageId } = await registeredPackage(t);
      const status = () => dataStorage(t.provider).getPackageStatus({ packageId });
      await t.positiveTwin("its owner is answered", status);
      const stranger = dataStorage(t.secondProvider);
      for (const id of [packageId, freshId(t)])
        await leavingUnchanged("the package's status to its owner", status, async () => {
          await t.expectRefusal(() => stranger.getPackageStatus({ packageId: id }));
          await t.expectRefusal(() => stranger.storePackage(upload(id, t.seeded(10))));
          await t.expectRefusal(() => stranger.deletePackage({ packageId: id }));
        });
    },
  }),
  purpose({
    id: "TP/DSS/DSM/BI-24",
    title: "registers no package for a management that is in no registry",
    clause: "7.3.1",
    steps: ["F3.2.4", "A1.2.3"],
    capabilities: ["DSM1"],
    methods: ["DataStorageService/RegisterPackage"],
    initialState: "a provider with a certificate",
    stimulus: "RegisterPackage that names a management which nobody registered",
    expected: { reason: ErrorReason.ENTITY_NOT_REGISTERED },
    twin: "RegisterPackage that names the registered management",
    likelyMistake: "the management is noted as given, and nobody can ever ask about the package",
    async run(t) {
      await t.positiveTwin("a registered management is accepted", () => register(t, registration(t)));
      const managementIdentity = `urn:x1410:entity:dssm:${t.freshName("nobody")}`;
      await t.expectRefusal(() => register(t, { ...registration(t), managementIdentity }));
    },
  }),
  purpose({
    id: "TP/DSS/DSM/BI-25",
    title: "answers a package's status to no other management than the one named",
    clause: "7.3.1",
    steps: ["F3.7", "A1.7"],
    capabilities: ["DSM4"],
    methods: ["DataStorageService/GetPackageStatus", "DataStorageService/SetPackageUse"],
    tester: ["dssm"],
    initialState: "a package stored for the tester's management",
    stimulus: "GetPackageStatus and SetPackageUse by another registered management",
    expected: { reason: ErrorReason.PACKAGE_NOT_FOUND },
    twin: "GetPackageStatus by the management named",
    likelyMistake: "every management is answered: it learns who stores what elsewhere",
    async run(t) {
      const packageId = await storedPackage(t, t.seeded(100), { management: t.management.identity });
      const named = dataStorage(t.as("dssm"));
      await t.positiveTwin("the management named is answered", () => named.getPackageStatus({ packageId }));
      const other = dataStorage(t.as("secondDssm"));
      const status = () => dataStorage(t.provider).getPackageStatus({ packageId });
      for (const id of [packageId, freshId(t)])
        await leavingUnchanged("the package's status to its owner", status, async () => {
          await t.expectRefusal(() => other.getPackageStatus({ packageId: id }));
          await t.expectRefusal(() => other.setPackageUse({ packageId: id, inUse: true }));
        });
    },
  }),
];
