// Which entities a deployment has, under which identities and on which ports.
import type { EntityKind } from "../../certs/identity.ts";

/** Entities that run a server; the certification authority has two doors. */
export type ServerKind = Exclude<EntityKind, "operator">;

export interface EntityPlan {
  readonly kind: ServerKind;
  /** Folder in the data directory, and name in messages. */
  readonly name: string;
  readonly identity: string;
  /** 0 for any free port. */
  readonly port: number;
  /** Of the capabilities exposure API, or the enrolment door of the authority; undefined where there is none. */
  readonly secondPort: number | undefined;
  /** For users with pre-shared keys; undefined where they are not wanted or users do not call the entity. */
  readonly pskPort: number | undefined;
  /** Of the authority: revocation lists and OCSP, over HTTP. */
  readonly publicationPort: number | undefined;
  /** Of the ledger's nodes: the one that proposes blocks. */
  readonly proposer: boolean;
  /** Of the ledger's nodes: all of them, the one that proposes the first block first. */
  readonly nodes: readonly string[];
}

export interface PlanOptions {
  /** First of the ports, or 0 for free ones. */
  readonly basePort: number;
  readonly ledgerNodes: number;
  /** Whether DSSM, KSS and DSS open a port for pre-shared keys (AAC1); default no. */
  readonly preSharedKeys?: boolean;
}

const offsets = { publication: 5, psk: 40 };

/** Where the certification authority of a deployment on fixed ports publishes. */
export function publicationPort(basePort: number): number {
  return basePort + offsets.publication;
}

export const deploymentName = "local";

/** In the order in which they start: whoever is asked at start stands before whoever asks. */
export function planEntities({ basePort, ledgerNodes, preSharedKeys = false }: PlanOptions): EntityPlan[] {
  const port = (offset: number) => (basePort === 0 ? 0 : basePort + offset);
  const entity = (kind: ServerKind, at: number, second: number | undefined): EntityPlan => ({
    kind,
    name: kind,
    identity: `urn:x1410:entity:${kind}:${deploymentName}`,
    port: port(at),
    secondPort: second === undefined ? undefined : port(second),
    pskPort: preSharedKeys && kind !== "ca" ? port(offsets.psk + at) : undefined,
    publicationPort: kind === "ca" ? port(offsets.publication) : undefined,
    proposer: false,
    nodes: [],
  });
  const nodeIdentity = (index: number) => `urn:x1410:entity:ledger:${deploymentName}-${index}`;
  const numbers = Array.from({ length: ledgerNodes }, (_, index) => index + 1);
  const node = (index: number): EntityPlan => ({
    kind: "ledger",
    name: `ledger-${index}`,
    identity: nodeIdentity(index),
    port: port(20 + index),
    secondPort: undefined,
    pskPort: undefined,
    publicationPort: undefined,
    proposer: index === 1,
    nodes: numbers.map(nodeIdentity),
  });
  const nodes = numbers.map(node);
  return [
    entity("ca", 3, 4),
    ...nodes.filter(({ proposer }) => !proposer),
    ...nodes.filter(({ proposer }) => proposer),
    entity("kss", 1, 11),
    entity("dss", 2, 12),
    entity("dssm", 0, 10),
  ];
}
