// Starts one entity of a deployment: opens its database, puts its components together, opens its doors.
import { readFileSync } from "node:fs";
import { pemBlocks } from "../../certs/der.ts";
import type { IdentityFiles } from "../../certs/pki.ts";
import { startExposure } from "../communications/exposure-host.ts";
import type { Log } from "../communications/log.ts";
import { startServer } from "../communications/server.ts";
import type { Registration } from "../communications/service.ts";
import { openDatabase } from "./data-directory.ts";
import { entities } from "./entities.ts";
import { EntityContext } from "./entity-context.ts";
import type { Network } from "./network.ts";
import type { EntityPlan } from "./plan.ts";

export interface EntityStartOptions {
  readonly plan: EntityPlan;
  readonly directory: string;
  readonly files: IdentityFiles;
  readonly network: Network;
  readonly pkiDirectory: string;
  readonly host: string;
  readonly log: Log;
  readonly revocationRefreshMs: number;
  readonly introspection: "off" | "required";
  /** What is served instead of the services as they are. */
  readonly alter?: (registrations: readonly Registration[]) => readonly Registration[];
}

export interface StartedEntity {
  readonly endpoint: string;
  readonly secondEndpoint: string | undefined;
  close(): Promise<void>;
}

/** @throws DataDirectoryError, ListenError, PkiError, or what the entity's own components refuse to start with */
export async function startEntity(options: EntityStartOptions): Promise<StartedEntity> {
  const { plan, directory, files, network, host, log } = options;
  const closers: (() => Promise<void> | void)[] = [];
  const close = async () => {
    for (const one of closers.splice(0).reverse()) await one();
  };
  try {
    const context = new EntityContext({
      identity: plan.identity,
      directory,
      material: {
        privateKeyPem: readFileSync(files.privateKey, "utf8"),
        certificateChainPem: readFileSync(files.chain, "utf8"),
        trustAnchorsPem: readFileSync(files.ca, "utf8"),
        revocationListPems: pemBlocks("X509 CRL", readFileSync(files.crl, "utf8")),
      },
      network,
      log,
      now: () => new Date(),
    });
    closers.push(() => context.close());
    const db = await openDatabase(directory);
    closers.push(() => db.close());
    const entity = await entities[plan.kind](context, db, options);
    closers.push(() => entity.close());
    // What a crash has left half-done is finished before the first call is served.
    await entity.start();
    const registrations = options.alter?.(entity.registrations) ?? entity.registrations;
    const server = await startServer({
      name: plan.name,
      credentials: context.credentials,
      host,
      port: plan.port,
      registrations,
      log,
    });
    closers.push(() => server.close());
    context.attach(server);
    const second = await secondDoor(context, registrations, options);
    if (second !== undefined) closers.push(() => second.close());
    context.refreshEvery(options.revocationRefreshMs);
    return { endpoint: server.address, secondEndpoint: second?.address, close };
  } catch (cause) {
    await close();
    throw cause;
  }
}

/** The capabilities exposure API (API1 to API3), or for the authority the door through which clients without certificate enrol. */
async function secondDoor(context: EntityContext, registrations: readonly Registration[], options: EntityStartOptions) {
  const { plan, host, log } = options;
  if (plan.secondPort === undefined) return undefined;
  const door = {
    name: `${plan.name}-2`,
    credentials: context.credentials,
    host,
    port: plan.secondPort,
    registrations,
    log,
  };
  const server = plan.kind === "ca" ? await startServer({ ...door, clients: "anonymous" }) : await startExposure(door);
  context.attach(server);
  return server;
}
