// Data storage management (DSM, clause 6.2.4) answers those whom the interface names, and nobody else.
import { dataStorage, registeredPackage, storedPackage, upload } from "./dss-stored-package.ts";
import type { Purpose } from "./purpose.ts";
import { type WrongCaller, wrongCaller } from "./wrong-caller.ts";

const callers: readonly WrongCaller[] = [
  {
    id: "TP/DSS/DSM/BI-14",
    clause: "7.2.5",
    method: "DataStorageService/RegisterPackage",
    capabilities: ["DSM2"],
    tester: ["dssm"],
    caller: "a management",
    answers: "RegisterPackage by a user",
    likelyMistake: "every certificate of the authority is let through; only users own packages",
    calls: async (t) => {
      const dss = dataStorage(t.as("dssm"));
      return {
        right: () => registeredPackage(t),
        wrong: async () => {
          const { packageId } = await dss.registerPackage({
            requestId: t.random(16),
            managementIdentity: t.target.entities.dssm.identity,
          });
          t.cleanUp(() => dss.deletePackage({ packageId }));
        },
      };
    },
  },
  {
    id: "TP/DSS/DSM/BI-15",
    clause: "7.2.5",
    method: "DataStorageService/StorePackage",
    capabilities: ["DSM2"],
    tester: ["dssm"],
    caller: "the management that the owner named",
    answers: "StorePackage by the owner",
    likelyMistake: "a method that takes a stream is missing from the access control list",
    calls: async (t) => {
      const management = t.management.identity;
      const [one, other] = [await registeredPackage(t, { management }), await registeredPackage(t, { management })];
      const bytes = t.seeded(100);
      return {
        right: () => dataStorage(t.provider).storePackage(upload(one.packageId, bytes)),
        wrong: () => dataStorage(t.as("dssm")).storePackage(upload(other.packageId, bytes)),
        state: () => dataStorage(t.provider).getPackageStatus({ packageId: other.packageId }),
      };
    },
  },
  {
    id: "TP/DSS/DSM/BI-16",
    clause: "7.2.5",
    method: "DataStorageService/SetPackageUse",
    tester: ["dssm"],
    caller: "the package's owner",
    answers: "SetPackageUse by the management that the owner named",
    likelyMistake: "a provider can free a package under a live contract and delete it",
    calls: async (t) => {
      const packageId = await storedPackage(t, t.seeded(100), { management: t.management.identity });
      const management = dataStorage(t.as("dssm"));
      t.cleanUp(() => management.setPackageUse({ packageId, inUse: false }));
      return {
        right: () => management.setPackageUse({ packageId, inUse: true }),
        wrong: () => dataStorage(t.provider).setPackageUse({ packageId, inUse: false }),
        state: () => dataStorage(t.provider).getPackageStatus({ packageId }),
      };
    },
  },
  {
    id: "TP/DSS/DSM/BI-17",
    clause: "7.2.5",
    method: "DataStorageService/DeletePackage",
    tester: ["dssm"],
    caller: "the management that the owner named",
    answers: "DeletePackage by the owner",
    likelyMistake: "the management may ask about a package, so it is let through everywhere",
    calls: async (t) => {
      const management = t.management.identity;
      const [one, other] = [await registeredPackage(t, { management }), await registeredPackage(t, { management })];
      return {
        right: () => dataStorage(t.provider).deletePackage({ packageId: one.packageId }),
        wrong: () => dataStorage(t.as("dssm")).deletePackage({ packageId: other.packageId }),
        state: () => dataStorage(t.provider).getPackageStatus({ packageId: other.packageId }),
      };
    },
  },
  {
    id: "TP/DSS/DSM/BI-18",
    clause: "7.2.5",
    method: "DataStorageService/GetPackageStatus",
    caller: "an operator",
    answers: "GetPackageStatus by the owner",
    likelyMistake: "operators are let through everywhere; they create accounts and own no packages",
    calls: async (t) => {
      const { packageId } = await registeredPackage(t);
      return {
        right: () => dataStorage(t.provider).getPackageStatus({ packageId }),
        wrong: () => dataStorage(t.as("operator")).getPackageStatus({ packageId }),
      };
    },
  },
];

export const dataStorageCallerPurposes: readonly Purpose[] = callers.map(wrongCaller);
