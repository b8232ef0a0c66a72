// The registry of a deployment (U4, clause 6.2.1): which entities belong to the network, where they listen and which certificates they
// show. The only way from an identity or a storage address to a connection.
import { readFileSync, statSync } from "node:fs";
import { clone, create, fromJsonString, toJsonString } from "@bufbuild/protobuf";
import { fromPem } from "../../certs/der.ts";
import { writeDurably } from "../../certs/durable-file.ts";
import { parseIdentity } from "../../certs/identity.ts";
import { CertificateChainSchema, type Entity, EntityKind, EntitySchema } from "../../gen/x1410/v1/identity_pb.ts";
import { type NetworkParameters, NetworkParametersSchema } from "../../gen/x1410/v1/ledger_pb.ts";
import type { EntityRegistry } from "../communications/entity-registry.ts";
import type { Log } from "../communications/log.ts";
import { NOT_TAKEN_OVER } from "../communications/watched-file.ts";
import { DataDirectoryError } from "./data-directory.ts";

/** The registry as a server reads it. */
export interface Network extends EntityRegistry {
  readonly networkId: string;
  entity(identity: string): Entity | undefined;
  /** Everything of it, for U4; a copy. */
  parameters(): NetworkParameters;
}

export interface Registration {
  readonly identity: string;
  readonly endpoint: string;
  readonly exposureEndpoint?: string;
  /** The certificate with its intermediates, PEM. */
  readonly certificateChainPem: string;
  /** For ledger nodes. */
  readonly proposer?: boolean;
}

const kinds: Record<string, EntityKind> = {
  dssm: EntityKind.DSSM,
  kss: EntityKind.KSS,
  dss: EntityKind.DSS,
  ledger: EntityKind.LEDGER,
  ca: EntityKind.CA,
  operator: EntityKind.OPERATOR,
};

/** The registry of the process that starts the entities; the others of a split deployment read the file that it keeps. */
export class NetworkDirectory implements Network {
  readonly #parameters: NetworkParameters;
  readonly #path: string | undefined;

  /** @param path the file to keep for other processes; none where all entities live in this one */
  constructor(parameters: Pick<NetworkParameters, "networkId" | "quorum" | "trustAnchors">, path?: string) {
    this.#parameters = create(NetworkParametersSchema, parameters);
    this.#path = path;
    this.#keep();
  }

  get networkId(): string {
    return this.#parameters.networkId;
  }

  register({ identity, endpoint, exposureEndpoint = "", certificateChainPem, proposer = false }: Registration): void {
    const certificates = fromPem("CERTIFICATE", certificateChainPem);
    const kind = kinds[parseIdentity(identity)?.role ?? ""] ?? EntityKind.UNSPECIFIED;
    const entity = create(EntitySchema, { identity, kind, endpoint, exposureEndpoint, certificate: { certificates } });
    if (kind === EntityKind.LEDGER)
      this.#parameters.ledgerNodes.push({ $typeName: "x1410.v1.LedgerNode", entity, proposer });
    else this.#parameters.entities.push(entity);
    this.#keep();
  }

  /** An entity that has been registered shows another certificate from now on. */
  renew(identity: string, certificateChainPem: string): void {
    const entity = find(this.#parameters, identity);
    if (entity === undefined) return;
    entity.certificate = create(CertificateChainSchema, { certificates: fromPem("CERTIFICATE", certificateChainPem) });
    this.#keep();
  }

  revocationLists(lists: Uint8Array[]): void {
    this.#parameters.revocationLists = lists;
    this.#keep();
  }

  has(identity: string): boolean {
    return this.entity(identity) !== undefined;
  }

  entity(identity: string): Entity | undefined {
    return find(this.#parameters, identity);
  }

  parameters(): NetworkParameters {
    return clone(NetworkParametersSchema, this.#parameters);
  }

  #keep(): void {
    if (this.#path !== undefined)
      writeDurably(this.#path, toJsonString(NetworkParametersSchema, this.#parameters), 0o644);
  }
}

/** The registry of one entity's process: the file that the starting process keeps, read again whenever it has changed. */
export class NetworkFile implements Network {
  readonly #path: string;
  readonly #log: Log;
  #version: string;
  #parameters: NetworkParameters;

  /** @throws DataDirectoryError */
  constructor(path: string, log: Log) {
    this.#path = path;
    this.#log = log;
    this.#version = versionOf(path);
    this.#parameters = read(path);
  }

  get networkId(): string {
    return this.#parameters.networkId;
  }

  has(identity: string): boolean {
    return this.entity(identity) !== undefined;
  }

  entity(identity: string): Entity | undefined {
    return find(this.#current(), identity);
  }

  parameters(): NetworkParameters {
    return clone(NetworkParametersSchema, this.#current());
  }

  #current(): NetworkParameters {
    const version = versionOf(this.#path);
    if (version === this.#version) return this.#parameters;
    this.#version = version;
    try {
      this.#parameters = read(this.#path);
    } catch (cause) {
      // Somebody else has written it. What was read before holds until the starting process writes it again.
      this.#log.error(NOT_TAKEN_OVER, { file: this.#path, cause: cause instanceof Error ? cause.message : "unknown" });
    }
    return this.#parameters;
  }
}

/** Differs whenever the file has been replaced: the clock of a file system is too coarse to tell two writes apart. */
function versionOf(path: string): string {
  const stat = statSync(path, { bigint: true, throwIfNoEntry: false });
  return stat === undefined ? "" : `${stat.ino} ${stat.mtimeNs} ${stat.size}`;
}

function read(path: string): NetworkParameters {
  try {
    return fromJsonString(NetworkParametersSchema, readFileSync(path, "utf8"));
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new DataDirectoryError(`the registry ${path} cannot be read (${why}); start the stack anew, which writes it`);
  }
}

function find({ entities, ledgerNodes }: NetworkParameters, identity: string): Entity | undefined {
  return (
    entities.find((entity) => entity.identity === identity) ??
    ledgerNodes.find(({ entity }) => entity?.identity === identity)?.entity
  );
}
