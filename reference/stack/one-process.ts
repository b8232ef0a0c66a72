// All entities in this process; between them still mutual TLS, so that nothing behaves otherwise than when they are apart.

import type { Launcher } from "./stack.ts";
import { startEntity } from "./start-entity.ts";

export const launchHere: Launcher = async ({ plan, directory, files, network, pkiDirectory, options }) => {
  const { host, log, revocationRefreshMs, introspection } = options;
  const entity = await startEntity({
    plan,
    directory,
    files,
    network,
    pkiDirectory,
    host,
    log,
    revocationRefreshMs,
    introspection,
  });
  return { ...entity, ended: new Promise<string>(() => {}) };
};
