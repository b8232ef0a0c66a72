// Methods and what is tested of each: that it does what it is for (valid), that it refuses what is wrong in itself (invalid), and what is
// right at another time (inopportune, ISO/IEC 9646-1). A cell has purposes, or the reason why nobody outside can bring it about.
import { methodsOf } from "./protocol.ts";
import type { Purpose } from "./purposes/purpose.ts";
import type { PurposeKind } from "./purposes/purpose-kind.ts";
import { entityRoles } from "./target.ts";

export const behaviours = ["valid", "invalid", "inopportune"] as const;
export type Behaviour = (typeof behaviours)[number];

const behaviourOf: Readonly<Record<PurposeKind, Behaviour>> = {
  CA: "valid",
  BV: "valid",
  BI: "invalid",
  BO: "inopportune",
};

const ofTheManagement =
  "answers other components of the same management alone, under a certificate that the kit does not have";
const ofTheServer =
  "answers key storage management of the same server alone, under a certificate that the kit does not have";
const noOrder = "changes nothing and depends on nothing that came before: there is no wrong time for it";

// biome-ignore format: a table
const reasons: readonly (readonly [method: string, behaviours: readonly Behaviour[], reason: string])[] = [
  ["UserAuthenticationService/ValidateSession", ["valid", "inopportune"], `${ofTheManagement}; that sessions are judged shows in every call that needs one (TP/DSSM/AAU/BV-02, TP/DSSM/AAU/BO-06)`],
  ["InformationPublicationService/PublishInformation", ["valid", "inopportune"], `${ofTheManagement}; what it publishes shows in SearchInformation (F3.9.2, F3.10)`],
  ["InformationSubscriptionService/NotifyPublished", ["valid", "inopportune"], `${ofTheManagement}; what it is told shows in Subscribe (F3.11, F3.12)`],
  ["TokenService/CreateToken", ["valid", "inopportune"], `${ofTheManagement}; what it makes comes with RequestAccess (TP/DSSM/TM/BV-01), the same again for the same access (TP/DSSM/DSAM/BV-02)`],
  ["AccessPermissionService/StoreAccessPermission", ["valid", "inopportune"], `${ofTheManagement}; what it stores comes with RequestAccess (F3.9.4, TP/DSSM/DSAM/BV-06)`],
  ["AccessPermissionService/CreateRequestedPermission", ["valid", "inopportune"], `${ofTheManagement}; what it makes comes with RequestAccess (TP/DSSM/DSAM/BV-06)`],
  ["TokenVerificationService/VerifyToken", ["valid", "inopportune"], `${ofTheServer}; what it verifies shows in GetKey (TP/KSS/TV/BV-01, TP/KSS/TV/BO-01)`],
  ["TokenService/ListTokenKeys", ["inopportune"], noOrder],
  ["SystemManagementService/GetNetworkParameters", ["inopportune"], noOrder],
  ["SystemManagementService/GetNodeStatus", ["inopportune"], noOrder],
  ["SystemManagementService/GetNetworkParameters", ["invalid"], "has no field, and answers all whom the handshake lets in (whom it does not: TP/DSSM/AAC/BI-01 to 08)"],
  ["SystemManagementService/GetNodeStatus", ["invalid"], "has no field, and answers all whom the handshake lets in (whom it does not: TP/DSSM/AAC/BI-01 to 08)"],
];

/** Whether a purpose shows that its methods do what they are for: a refusal alone would also come from a server that refuses everything. */
export function showsMethods({ kind }: Pick<Purpose, "kind">): boolean {
  return behaviourOf[kind] === "valid";
}

/** Methods of which nothing outside shows what they do, each with the reason. */
export const answeredWithin: ReadonlyMap<string, string> = new Map(
  reasons.flatMap(([method, list, reason]) => (list.includes("valid") ? [[method, reason] as const] : [])),
);

export interface BehaviourCell {
  readonly method: string;
  readonly clause: string;
  readonly component: string;
  readonly behaviour: Behaviour;
  /** Ids of the purposes that test it. */
  readonly purposes: readonly string[];
  /** Why none does; "" where some do. */
  readonly reason: string;
}

/** Every method in the order of the services, three cells each. */
export function behaviourCells(purposes: readonly Purpose[]): readonly BehaviourCell[] {
  return entityRoles.flatMap(methodsOf).flatMap(({ name, clause, component }) =>
    behaviours.map((behaviour) => ({
      method: name,
      clause,
      component,
      behaviour,
      purposes: purposes
        .filter(({ methods, kind }) => methods.includes(name) && behaviourOf[kind] === behaviour)
        .map(({ id }) => id),
      reason: reasons.find(([method, list]) => method === name && list.includes(behaviour))?.[2] ?? "",
    })),
  );
}
