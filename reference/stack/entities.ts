// How each functional entity is put together from its components, with what it needs of the others.
import type { Level } from "level";
import { createPki } from "../../certs/pki.ts";
import { DataStorageService } from "../../gen/x1410/v1/data_storage_pb.ts";
import { KeyStorageService } from "../../gen/x1410/v1/key_storage_pb.ts";
import { LedgerService, SmartContractService, SystemManagementService } from "../../gen/x1410/v1/ledger_service_pb.ts";
import { TokenService } from "../../gen/x1410/v1/token_pb.ts";
import { createCertificationAuthorityServer } from "../certification-authority/server.ts";
import type { Registration } from "../communications/service.ts";
import { createDataSharingManagement } from "../data-sharing-management/server.ts";
import { createDataStorageServer } from "../data-storage-server/server.ts";
import { createKeyStorageServer } from "../key-storage-server/server.ts";
import { RemoteEngine } from "../ledger/remote-engine.ts";
import { createLedgerNode } from "../ledger/server.ts";
import type { EntityContext } from "./entity-context.ts";
import type { ServerKind } from "./plan.ts";
import type { EntityStartOptions } from "./start-entity.ts";

export interface ComposedEntity {
  readonly registrations: readonly Registration[];
  /** Resolves when the entity cannot go on until an operator has looked after it; it then tells those who ask for its health. */
  readonly halted?: Promise<{ readonly why: string }>;
  /** Finishes what a crash has left half-done; before the first call is served. */
  start(): Promise<void>;
  close(): Promise<void>;
}

type Composer = (
  context: EntityContext,
  db: Level<string, string>,
  options: EntityStartOptions,
) => Promise<ComposedEntity>;

export const entities: Readonly<Record<ServerKind, Composer>> = {
  ca: async (context, db, { pkiDirectory, log }) =>
    createCertificationAuthorityServer({ db, pki: createPki(pkiDirectory), now: context.options.now, log }),

  kss: ({ identity, peers, options: { directory, network, now, log } }, db, { introspection, rotation }) =>
    createKeyStorageServer({
      db,
      dataDirectory: directory,
      identity,
      registry: network,
      tokenServices: (issuer) => peers.client(TokenService, issuer),
      now,
      introspection,
      ...(rotation?.kekMs !== undefined && { kekRotationMs: rotation.kekMs }),
      log,
    }),

  dss: async ({ identity, options: { directory, network, now, log } }, db) =>
    createDataStorageServer({ db, dataDirectory: directory, identity, registry: network, now, log }),

  ledger: async ({ identity, signer, trust, peers, options: { network, now, log } }, db, { plan }) =>
    createLedgerNode({
      db,
      signer,
      trust,
      networkId: network.networkId,
      proposer: plan.nodes[0] ?? identity,
      peers: plan.nodes
        .filter((node) => node !== identity)
        .map((node) => ({ identity: node, ledger: peers.client(LedgerService, node) })),
      quorum: network.parameters().quorum,
      parameters: () => network.parameters(),
      now,
      log,
    }),

  dssm: async (context, db, { rotation }) => {
    const { signer, trust, peers } = context;
    const { directory, network, now, log } = context.options;
    return createDataSharingManagement({
      db,
      dataDirectory: directory,
      signer,
      trust,
      engine: new RemoteEngine({
        networkId: network.networkId,
        nodes: network.parameters().ledgerNodes.map(({ entity }) => ({
          ledger: peers.client(LedgerService, entity?.identity ?? ""),
          contracts: peers.client(SmartContractService, entity?.identity ?? ""),
        })),
      }),
      storage: {
        keyServer: (server) => peers.find(KeyStorageService, server),
        dataServer: (server) => peers.find(DataStorageService, server),
      },
      network,
      nodeStatus: () => {
        const nodes = network.parameters().ledgerNodes;
        const node = nodes.find(({ proposer }) => proposer) ?? nodes[0];
        return peers.client(SystemManagementService, node?.entity?.identity ?? "").getNodeStatus({});
      },
      ...(rotation?.tokenKeyMs !== undefined && { tokenKeyRotationMs: rotation.tokenKeyMs }),
      now,
      log,
    });
  },
};
