// The data storage server (DSS, clause 6.2.4): data storage management and data distribution over one store.
import { join } from "node:path";
import type { EntityRegistry } from "../communications/entity-registry.ts";
import { type Log, silentLog } from "../communications/log.ts";
import type { Registration } from "../communications/service.ts";
import type { Store } from "../store/durable-batch.ts";
import { type RecurringTask, repeat } from "../store/recurring-task.ts";
import { createDataDistribution } from "./data-distribution.ts";
import { createDataStorage, type DataStorageLimits, defaultDataStorageLimits } from "./data-storage.ts";
import { PackageFiles } from "./package-files.ts";
import { checkInventory } from "./package-inventory.ts";
import { PackageTable } from "./package-table.ts";

const SWEEP_INTERVAL_MS = 60 * 60_000;

export interface DataStorageServerDependencies {
  /** The server's one database; whoever opened it closes it. */
  readonly db: Store;
  /** Packages go into its folder `packages`. */
  readonly dataDirectory: string;
  /** urn:x1410:entity:dss:NAME */
  readonly identity: string;
  readonly registry: EntityRegistry;
  readonly limits?: Partial<DataStorageLimits>;
  readonly now: () => Date;
  readonly log?: Log;
}

export interface DataStorageServer {
  readonly registrations: readonly Registration[];
  /** Mends what a crash left. Before the first call is served. @throws PackageDamage */
  start(): Promise<void>;
  /** Stops the uploads under way, each resumable. */
  close(): Promise<void>;
}

export function createDataStorageServer(dependencies: DataStorageServerDependencies): DataStorageServer {
  const { db, dataDirectory, identity, registry, now, log = silentLog } = dependencies;
  const table = new PackageTable(db.sublevel("data-storage", {}));
  const files = new PackageFiles(join(dataDirectory, "packages"));
  const limits = { ...defaultDataStorageLimits, ...dependencies.limits };
  const storage = createDataStorage({ table, files, identity, registry, limits, now, log });
  const distribution = createDataDistribution({ table, files, now, log });
  let sweeping: RecurringTask | undefined;
  return {
    registrations: [storage.registration, distribution],
    async start() {
      await files.prepare();
      await storage.reconcile();
      await checkInventory(table, files);
      await storage.sweep();
      await storage.count();
      sweeping = repeat("sweep packages", SWEEP_INTERVAL_MS, () => storage.sweep(), log);
    },
    async close() {
      await sweeping?.stop();
      await storage.stop();
    },
  };
}
