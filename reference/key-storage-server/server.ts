// The key storage server (KSS, clause 6.2.3): key storage management and token verification over one store.
import { join } from "node:path";
import { bindDirect, directPeer } from "../communications/direct-binding.ts";
import type { EntityRegistry } from "../communications/entity-registry.ts";
import { type Log, silentLog } from "../communications/log.ts";
import type { Registration } from "../communications/service.ts";
import type { Store } from "../store/durable-batch.ts";
import { type RecurringTask, repeat } from "../store/recurring-task.ts";
import type { TokenServices } from "./issuer-keys.ts";
import { createKeyStorage } from "./key-storage.ts";
import { KeyTable } from "./key-table.ts";
import { openKekFile } from "./key-wrapping.ts";
import { createTokenVerification } from "./token-verification.ts";

const SWEEP_INTERVAL_MS = 60 * 60_000;

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
  readonly log?: Log;
}

export interface KeyStorageServer {
  readonly registrations: readonly Registration[];
  /** Sweeps, and resumes the wrapping anew that a crash or a stop has interrupted. */
  start(): Promise<void>;
  /** Makes a new key-encryption key; keys are wrapped anew while calls go on. Resolves when the former ones are retired. */
  rotateKeyEncryptionKey(): Promise<void>;
  close(): Promise<void>;
}

/** @throws Error where the file of the key-encryption keys is damaged, or missing though keys are stored */
export async function createKeyStorageServer(dependencies: KeyStorageServerDependencies): Promise<KeyStorageServer> {
  const { db, dataDirectory, identity, registry, tokenServices, now, introspection, log = silentLog } = dependencies;
  const store: Store = db.sublevel("key-storage", {});
  const create = !(await new KeyTable(store).holdsKeys());
  const wrapper = openKekFile(join(dataDirectory, "key-encryption-keys.json"), { create });
  const verification = createTokenVerification({ identity, registry, tokenServices, now, introspection });
  const storage = createKeyStorage({
    store,
    identity,
    registry,
    wrapper,
    // Both are components of one entity: to token verification the caller is this server.
    tokenVerification: bindDirect(verification, { peer: directPeer(identity) }),
    now,
    log,
  });
  let sweeping: RecurringTask | undefined;
  let wrapping: Promise<void> = Promise.resolve();
  const closing = new AbortController();
  /** One after the other: a second rotation meets no key of the first half done. */
  const rewrap = () => {
    const turn = wrapping.then(() => storage.rewrap(closing.signal));
    wrapping = turn.catch((cause: unknown) => log.error("wrapping anew failed", { cause: String(cause) }));
    return turn;
  };
  return {
    registrations: [storage.registration, verification],
    async start() {
      await storage.sweep();
      sweeping = repeat("sweep keys", SWEEP_INTERVAL_MS, () => storage.sweep(), log);
      rewrap().catch(() => undefined);
    },
    async rotateKeyEncryptionKey() {
      await wrapper.rotate();
      await rewrap();
    },
    async close() {
      closing.abort();
      await sweeping?.stop();
      await wrapping;
    },
  };
}
