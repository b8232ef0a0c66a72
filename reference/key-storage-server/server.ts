// The key storage server (KSS, clause 6.2.3): key storage management and token verification over one store.
import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { bindDirect, directPeer } from "../communications/direct-binding.ts";
import type { EntityRegistry } from "../communications/entity-registry.ts";
import { type Log, silentLog } from "../communications/log.ts";
import type { Registration } from "../communications/service.ts";
import { watchFile } from "../communications/watched-file.ts";
import type { Store } from "../store/durable-batch.ts";
import { type RecurringTask, repeat } from "../store/recurring-task.ts";
import { rotationCheckMs, rotationDue } from "../store/rotation-schedule.ts";
import type { TokenServices } from "./issuer-keys.ts";
import { createKeyStorage, defaultKeyStorageLimits, type KeyStorageLimits } from "./key-storage.ts";
import { KeyTable } from "./key-table.ts";
import { openKekFile } from "./key-wrapping.ts";
import { createTokenVerification } from "./token-verification.ts";

const SWEEP_INTERVAL_MS = 60 * 60_000;
const KEK_ROTATION_MS = 90 * 24 * 60 * 60_000;

/** Made in the data directory, by whoever may write there, this file orders a new key-encryption key. It is gone once there is one. */
export const ROTATION_ORDER = "rotate-key-encryption-key";

export interface KeyStorageServerDependencies {
  /** The server's one database; whoever opened it closes it. */
  readonly db: Store;
  /** The key-encryption keys go into its file `key-encryption-keys.json`, mode 0600. */
  readonly dataDirectory: string;
  /** urn:x1410:entity:kss:NAME */
  readonly identity: string;
  readonly registry: EntityRegistry;
  readonly tokenServices: TokenServices;
  readonly now: () => Date;
  /** Whether token management is asked about each token as well. */
  readonly introspection: "off" | "required";
  /** After this time a key-encryption key is replaced; default 90 days. */
  readonly kekRotationMs?: number;
  readonly limits?: Partial<KeyStorageLimits>;
  readonly log?: Log;
}

export interface KeyStorageServer {
  readonly registrations: readonly Registration[];
  /**
   * Sweeps and counts, and resumes the wrapping anew that a crash or a stop has interrupted. From then on the key-encryption key is replaced when it is time
   * or ordered.
   */
  start(): Promise<void>;
  close(): Promise<void>;
}

/** @throws Error where the file of the key-encryption keys is damaged, or missing though keys are stored */
export async function createKeyStorageServer(dependencies: KeyStorageServerDependencies): Promise<KeyStorageServer> {
  const { db, dataDirectory, identity, registry, tokenServices, now, introspection } = dependencies;
  const { kekRotationMs = KEK_ROTATION_MS, log = silentLog } = dependencies;
  const store: Store = db.sublevel("key-storage", {});
  const create = !(await new KeyTable(store).holdsKeys());
  const wrapper = openKekFile(join(dataDirectory, "key-encryption-keys.json"), { create, now });
  const verification = createTokenVerification({ identity, registry, tokenServices, now, introspection });
  const storage = createKeyStorage({
    store,
    identity,
    registry,
    wrapper,
    limits: { ...defaultKeyStorageLimits, ...dependencies.limits },
    // Both are components of one entity: to token verification the caller is this server.
    tokenVerification: bindDirect(verification, { peer: directPeer(identity) }),
    now,
    log,
  });
  const recurring: RecurringTask[] = [];
  let watcher: { close(): void } | undefined;
  let wrapping: Promise<void> = Promise.resolve();
  const closing = new AbortController();
  /** One after the other: a second rotation meets no key of the first half done. */
  const rewrap = () => {
    wrapping = wrapping
      .then(() => storage.rewrap(closing.signal))
      .catch((cause: unknown) => log.error("wrapping anew failed", { cause: String(cause) }));
    return wrapping;
  };
  const order = join(dataDirectory, ROTATION_ORDER);
  /** Makes a new key-encryption key where it is time or somebody has ordered it, and wraps anew what is under a former one. */
  const keepKek = async () => {
    try {
      if (existsSync(order) || rotationDue(wrapper.rotatedAt(), kekRotationMs, now())) {
        log.info("key-encryption key rotated", { kekId: await wrapper.rotate() });
        // Not before: an order whose execution failed, or was cut short by a crash, still stands.
        rmSync(order, { force: true });
      }
    } catch (cause) {
      log.error("key-encryption key not rotated", { cause: String(cause) });
    }
    await rewrap();
  };
  return {
    registrations: [storage.registration, verification],
    async start() {
      await storage.sweep();
      await storage.count();
      recurring.push(
        repeat("sweep keys", SWEEP_INTERVAL_MS, () => storage.sweep(), log),
        repeat("keep key-encryption key", rotationCheckMs(kekRotationMs), keepKek, log),
      );
      watcher = watchFile(order, () => existsSync(order) && void keepKek(), log);
      void keepKek();
    },
    async close() {
      closing.abort();
      watcher?.close();
      for (const task of recurring) await task.stop();
      await wrapping;
    },
  };
}
