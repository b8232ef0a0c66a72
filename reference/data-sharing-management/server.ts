// The data-sharing service management (DSSM, clauses 6.2.2, 7.2.3 and 7.2.4): every component over one database, each calling the others
// as it would over the network, bound directly inside this process.
import { join } from "node:path";
import { create, type DescService } from "@bufbuild/protobuf";
import type { Client } from "@connectrpc/connect";
import type { Entity } from "../../gen/x1410/v1/identity_pb.ts";
import type { NetworkParameters } from "../../gen/x1410/v1/ledger_pb.ts";
import {
  GetNetworkParametersResponseSchema,
  type GetNodeStatusResponse,
  SystemManagementService,
} from "../../gen/x1410/v1/ledger_service_pb.ts";
import { bindDirect, directPeer } from "../communications/direct-binding.ts";
import { type Log, silentLog } from "../communications/log.ts";
import { implement, type Registration } from "../communications/service.ts";
import type { Signer } from "../envelope/signer.ts";
import type { Trust } from "../envelope/verify.ts";
import type { LedgerEngine } from "../ledger/engine.ts";
import type { Store } from "../store/durable-batch.ts";
import { type RecurringTask, repeat } from "../store/recurring-task.ts";
import { rotationCheckMs } from "../store/rotation-schedule.ts";
import { createAccessPermissionManagement } from "./access-permission.ts";
import { createDataSharingAccess } from "./data-sharing-access.ts";
import { createDataSharingPolicy } from "./data-sharing-policy.ts";
import { createInformationPublication } from "./information-publication.ts";
import { createInformationSubscription } from "./information-subscription.ts";
import type { StorageServers } from "./policy-storage.ts";
import { localSessionGate } from "./session-gate.ts";
import { Sessions } from "./sessions.ts";
import { openTokenKeys } from "./token-keys.ts";
import { createTokenManagement } from "./token-management.ts";
import { createUserAccountManagement, readAccounts } from "./user-account.ts";
import { createUserAuthentication } from "./user-authentication.ts";

/** How often what a failure has left open is tried again. */
const RECONCILE_INTERVAL_MS = 5_000;
const TOKEN_KEY_ROTATION_MS = 24 * 60 * 60_000;

export interface DataSharingManagementDependencies {
  /** The management's one database; whoever opened it closes it. */
  readonly db: Store;
  /** The keys that sign tokens go into its folder `token-keys`. */
  readonly dataDirectory: string;
  /** The management. */
  readonly signer: Signer;
  readonly trust: Trust;
  readonly engine: LedgerEngine;
  /** The registered storage servers. */
  readonly storage: StorageServers;
  /** Registry and parameters of the network (U4). */
  readonly network: { entity(identity: string): Entity | undefined; parameters(): NetworkParameters };
  /** How the ledger node is that this management writes to; left out, it does not say (the method is optional, clause 6.1). */
  readonly nodeStatus?: () => Promise<GetNodeStatusResponse>;
  /** After this time another key signs tokens; default a day. */
  readonly tokenKeyRotationMs?: number;
  readonly now: () => Date;
  readonly log?: Log;
}

export interface DataSharingManagement {
  readonly registrations: readonly Registration[];
  /** Goes on with what a crash or a failure has left open. Before the first call is served. */
  start(): Promise<void>;
  close(): Promise<void>;
}

/** @throws Error where the file of token keys is damaged */
export async function createDataSharingManagement(
  dependencies: DataSharingManagementDependencies,
): Promise<DataSharingManagement> {
  const { db, dataDirectory, signer, trust, engine, storage, network, nodeStatus, now } = dependencies;
  const { tokenKeyRotationMs = TOKEN_KEY_ROTATION_MS, log = silentLog } = dependencies;
  const part = (name: string): Store => db.sublevel(name);
  const peer = directPeer(signer.identity);
  const bound = <S extends DescService>(registration: Registration<S>): Client<S> =>
    bindDirect(registration, { peer, log });

  const accountStore = part("user-account");
  const accounts = readAccounts(accountStore);
  const sessions = new Sessions({ store: part("sessions"), accounts, now });
  const gate = localSessionGate(sessions);
  const userAccount = createUserAccountManagement({ store: accountStore, sessions, now });
  const userAuthentication = createUserAuthentication({ accounts, sessions, signer, trust, now });

  const subscription = createInformationSubscription({ store: part("information-subscription"), gate });
  const publication = createInformationPublication({
    store: part("information-publication"),
    gate,
    subscription: bound(subscription),
  });
  const permission = createAccessPermissionManagement({ store: part("access-permission"), signer, now });
  const permissions = bound(permission.registration);
  const policy = createDataSharingPolicy({
    store: part("data-sharing-policy"),
    gate,
    signer,
    trust,
    engine,
    storage,
    permissions,
    publication: bound(publication.registration),
    now,
    log,
  });

  const token = createTokenManagement({
    store: part("token-management"),
    keys: await openTokenKeys({ directory: join(dataDirectory, "token-keys"), now }),
    identity: signer.identity,
    now,
  });
  const access = createDataSharingAccess({
    store: part("data-sharing-access"),
    signer,
    trust,
    gate,
    contracts: policy.contracts,
    engine,
    tokens: bound(token.registration),
    permissions,
    entities: { find: (identity) => network.entity(identity) },
    storage,
    now,
  });
  const systemManagement = implement(SystemManagementService, {
    getNetworkParameters: () => create(GetNetworkParametersResponseSchema, { parameters: network.parameters() }),
    ...(nodeStatus && { getNodeStatus: () => nodeStatus() }),
  });

  const reconcile = async () => {
    await policy.reconcile();
    await access.reconcile();
    await publication
      .deliver()
      .catch((cause: unknown) => log.warn("publications not handed on yet", { cause: String(cause) }));
  };
  const rotateTokenKeys = () => token.rotateWhenDue(tokenKeyRotationMs);
  const recurring: RecurringTask[] = [];
  return {
    registrations: [
      userAccount,
      userAuthentication,
      policy.registration,
      access.registration,
      publication.registration,
      subscription,
      token.registration,
      permission.registration,
      systemManagement,
    ],
    async start() {
      await reconcile();
      await rotateTokenKeys();
      recurring.push(
        repeat("reconcile", RECONCILE_INTERVAL_MS, reconcile, log),
        repeat("rotate token keys", rotationCheckMs(tokenKeyRotationMs), rotateTokenKeys, log),
      );
    },
    async close() {
      for (const task of recurring) await task.stop();
    },
  };
}
