// Starts one entity of a deployment: opens its database, puts its components together, opens its doors.
import { readFileSync } from "node:fs";
import { pemBlocks } from "../../certs/der.ts";
import type { IdentityFiles } from "../../certs/pki.ts";
import { type Log, logOf } from "../communications/log.ts";
import type { ServerOptions } from "../communications/server.ts";
import type { Registration } from "../communications/service.ts";
import { watchFile } from "../communications/watched-file.ts";
import { ledgerDatabase } from "../ledger/chain-store.ts";
import { openDatabase } from "./data-directory.ts";
import { type Endpoints, openDoors } from "./doors.ts";
import { entities } from "./entities.ts";
import { EntityContext } from "./entity-context.ts";
import type { Network } from "./network.ts";
import type { EntityPlan } from "./plan.ts";

/** After how long an entity replaces keys of its own that are no certificate's; what is left out is as the entity has it. */
export interface KeyRotation {
  /** Of key storage: the key under which it stores keys. */
  readonly kekMs?: number;
  /** Of the management: the key that signs access tokens. */
  readonly tokenKeyMs?: number;
}

export interface EntityStartOptions {
  readonly plan: EntityPlan;
  readonly directory: string;
  readonly files: IdentityFiles;
  readonly network: Network;
  readonly pkiDirectory: string;
  /** Access lists of the deployment; need not be there. */
  readonly accessFile: string;
  readonly host: string;
  readonly log: Log;
  readonly revocationRefreshMs: number;
  readonly introspection: "off" | "required";
  readonly rotation?: KeyRotation;
  /** What is served instead of the services as they are. */
  readonly alter?: (registrations: readonly Registration[]) => readonly Registration[];
  /** What stands at its doors instead of the guards as they are, by the door's name. */
  readonly alterGuards?: ServerOptions["alterGuards"];
}

export interface StartedEntity extends Endpoints {
  /** Fetches the lists of now from the certification authority, without waiting for the next time to do so. */
  refreshRevocationLists(): Promise<void>;
  close(): Promise<void>;
}

/** @throws DataDirectoryError, ListenError, PkiError, or what the entity's own components refuse to start with */
export async function startEntity(given: EntityStartOptions): Promise<StartedEntity> {
  const log = logOf(given.plan.name, given.log);
  const options = { ...given, log };
  const { plan, directory, files, network } = options;
  const closers: (() => Promise<void> | void)[] = [];
  const close = async () => {
    for (const one of closers.splice(0).reverse()) await one();
  };
  try {
    const context = new EntityContext({
      identity: plan.identity,
      directory,
      material: {
        ...readOwn(files),
        trustAnchorsPem: readFileSync(files.ca, "utf8"),
        revocationListPems: pemBlocks("X509 CRL", readFileSync(files.crl, "utf8")),
      },
      network,
      log,
      now: () => new Date(),
    });
    closers.push(() => context.close());
    // A ledger only grows, and its start must not; whoever doubts what it holds has the audit. After a failed write it looks itself what it has.
    const database = await openDatabase(
      directory,
      plan.kind === "ledger" ? { contents: false, mendedByOwner: true, ...ledgerDatabase } : {},
    );
    closers.push(() => database.close());
    const entity = await entities[plan.kind](context, database.db, options);
    closers.push(() => entity.close());
    // What a crash has left half-done is finished before the first call is served.
    await entity.start();
    const doors = await openDoors(context, options.alter?.(entity.registrations) ?? entity.registrations, options);
    closers.push(() => doors.close());
    void entity.halted?.then(({ why }) => {
      doors.setServing(false);
      log.error("halted", { why });
    });
    const renewal = watchFile(files.chain, () => context.renew(readOwn(files)), log);
    closers.push(() => renewal.close());
    context.refreshEvery(options.revocationRefreshMs);
    return { ...doors, refreshRevocationLists: () => context.refreshRevocationLists(), close };
  } catch (cause) {
    await close();
    throw cause;
  }
}

/** The entity's own key and certificate: replaced in this order, so that the new certificate comes with its key. */
function readOwn(files: IdentityFiles) {
  return {
    privateKeyPem: readFileSync(files.privateKey, "utf8"),
    certificateChainPem: readFileSync(files.chain, "utf8"),
  };
}
