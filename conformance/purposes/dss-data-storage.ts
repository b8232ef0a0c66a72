// Data storage management (DSM, clause 6.2.4) of a data storage server.
import { equals } from "@bufbuild/protobuf";
import { TimestampSchema } from "@bufbuild/protobuf/wkt";
import { PackageState } from "../../gen/x1410/v1/data_storage_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { packageAddress } from "../../reference/communications/address.ts";
import { expect } from "../procedures/procedure.ts";
import { expectRecent } from "../procedures/recent-time.ts";
import { same } from "../roles/user.ts";
import { dataStorage, registeredPackage, sha256, upload } from "./dss-stored-package.ts";
import { type Purpose, purpose } from "./purpose.ts";

export const dataStoragePurposes: readonly Purpose[] = [
  purpose({
    id: "TP/DSS/DSM/BV-01",
    title: "registers and stores a package, and says so",
    clause: "7.3.1",
    steps: ["F3.2.4", "F3.7.4", "A1.2.3", "A1.2.4", "A1.7.2"],
    capabilities: ["DSM1", "DSM3", "DSM4"],
    methods: [
      "DataStorageService/RegisterPackage",
      "DataStorageService/StorePackage",
      "DataStorageService/GetPackageStatus",
    ],
    initialState: "a provider with a certificate",
    stimulus: "RegisterPackage, StorePackage in parts, GetPackageStatus",
    expected:
      "an address of its own identity and the id; size, SHA-256 and the time of what was sent; the state STORED since then",
    likelyMistake: "the answer repeats what was announced instead of what has arrived",
    async run(t) {
      const dss = dataStorage(t.provider);
      const { packageId, address } = await registeredPackage(t);
      expect(address === packageAddress(t.target.entities.dss.identity, packageId), "an address of identity and id");
      const bytes = t.seeded(5000);
      const beganMs = Date.now();
      const answer = await dss.storePackage(upload(packageId, bytes, {}, 2500));
      expect(answer.size === BigInt(bytes.length) && same(answer.sha256, sha256(bytes)), "size and SHA-256 as sent");
      const { storedAt } = answer;
      expectRecent(storedAt, "stored_at", beganMs);
      const status = await dss.getPackageStatus({ packageId });
      expect(status.state === PackageState.STORED, "the state STORED");
      expect(
        storedAt !== undefined && status.storedAt !== undefined && equals(TimestampSchema, status.storedAt, storedAt),
        "the time of storage in the answer to StorePackage",
      );
      expect(status.ownerIdentity === t.provider.identity, "the owner");
      t.seen(`${bytes.length} bytes stored at ${address}`);
    },
  }),
  purpose({
    id: "TP/DSS/DSM/BI-01",
    title: "refuses a package whose bytes are not those announced",
    clause: "7.3.1",
    steps: ["F3.7.4", "A1.7.2"],
    capabilities: ["DSM3"],
    methods: ["DataStorageService/StorePackage"],
    initialState: "a package registered",
    stimulus: "StorePackage with an SHA-256 that differs in one bit",
    expected: { reason: ErrorReason.PACKAGE_DIGEST_MISMATCH },
    twin: "StorePackage with the right SHA-256 into another package",
    likelyMistake: "the digest is stored as announced and never computed",
    async run(t) {
      const bytes = t.seeded(3000);
      const [right, wrong] = [await registeredPackage(t), await registeredPackage(t)];
      const dss = dataStorage(t.provider);
      await t.positiveTwin("the right digest is accepted", () => dss.storePackage(upload(right.packageId, bytes)));
      const digest = sha256(bytes);
      const at = t.seededNumber(32);
      digest[at] = (digest[at] ?? 0) ^ 1;
      await t.expectRefusal(() => dss.storePackage(upload(wrong.packageId, bytes, { sha256: digest })));
    },
  }),
];
