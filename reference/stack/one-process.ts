// All entities in this process; between them still mutual TLS, so that nothing behaves otherwise than when they are apart.

import type { Registration } from "../communications/service.ts";
import type { Launch, Launcher, Started } from "./stack.ts";
import { type StartedEntity, startEntity } from "./start-entity.ts";

export const launchHere: Launcher = (launch) => launchAltered(launch, (registrations) => registrations);

/** As `launchHere`, each service passed through `alter` first: how faulty variants of the reference are made, to prove the kit on them. */
export const launchAltered = async (
  { plan, directory, files, network, pkiDirectory, accessFile, options }: Launch,
  alter: (registrations: readonly Registration[]) => readonly Registration[],
): Promise<Started & StartedEntity> => {
  const { host, log, revocationRefreshMs, introspection, rotation } = options;
  const entity = await startEntity({
    plan,
    directory,
    files,
    network,
    pkiDirectory,
    accessFile,
    host,
    log,
    revocationRefreshMs,
    introspection,
    ...(rotation && { rotation }),
    alter,
  });
  return { ...entity, ended: new Promise<string>(() => {}) };
};
