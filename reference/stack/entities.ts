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
import { remoteEngine } from "../ledger/remote-engine.ts";
import { createLedgerNode } from "../ledger/server.ts";
import type { EntityContext } from "./entity-context.ts";
import type { ServerKind } from "./plan.ts";
import type { EntityStartOptions } from "./start-entity.ts";

export interface ComposedEntity {
  readonly registrations: readonly Registration[];
  /** Finishes what a crash has left half-done; before the first call is served. */
  start(): Promise<void>;
  close(): Promise<void>;
}

type Composer = (context: EntityContext, db: Level<string, string>, options: EntityStartOptions) => Promise<ComposedEntity>;

export const entities: Readonly<Record<ServerKind, Composer>> = {
  ca: async (context, db, { pkiDirectory, log }) =>
    createCertificationAuthorityServer({ db, pki: createPki(pkiDirectory), now: context.options.now, log }),

  kss: ({ identity, peers, options: { directory, network, now, log } }, db, { introspection }) =>
    createKeyStorageServer({
      db,
      dataDirectory: directory,
      identity,
      registry: network,
      tokenServices: (issuer) => peers.client(TokenService, issuer),
      now,
      introspection,
      log,
    }),

  dss: async ({ identity, options: { directory, network, now, log } }, db) =>
    createDataStorageServer({ db, dataDirectory: directory, identity, registry: network, now, log }),

  ledger: async (context, db, { plan }) => {
    const { signer, trust, peers } = context;
    const { network, now, log } = context.options;
    return createLedgerNode({
      db,
      signer,
      trust,
      networkId: network.networkId,
      proposer: plan.proposer,
      others: () => otherNodes(context),
      quorum: network.parameters().quorum,
      client: (identity) => peers.client(LedgerService, identity),
      parameters: () => network.parameters(),
      now,
      log,
    });
  },

  dssm: async (context, db) => {
    const { identity, signer, trust, peers } = context;
    const { directory, network, now, log } = context.options;
    const proposer = network.parameters().ledgerNodes.find((node) => node.proposer)?.entity?.identity ?? "";
    return createDataSharingManagement({
      db,
      dataDirectory: directory,
      identity,
      signer,
      trust,
      engine: remoteEngine({
        networkId: network.networkId,
        ledger: peers.client(LedgerService, proposer),
        contracts: peers.client(SmartContractService, proposer),
        system: peers.client(SystemManagementService, proposer),
      }),
      entities: { find: (entity) => network.entity(entity) },
      storage: {
        keyServer: (server) => peers.find(KeyStorageService, server),
        dataServer: (server) => peers.find(DataStorageService, server),
      },
      networkParameters: () => network.parameters(),
      now,
      log,
    });
  },
};

function otherNodes({ identity, options }: EntityContext): string[] {
  return options.network
    .parameters()
    .ledgerNodes.flatMap(({ entity }) => entity?.identity ?? [])
    .filter((node) => node !== identity);
}
