// Pre-shared keys of users (clause 7.2.5, AAC1; identities after RFC 4279, 5.1: the UTF-8 text of the user's URN). One key is for one user
// and one server (RFC 9257, 4.1): a server that shared it with others could pass for the user there.
import { parseIdentity } from "../../certs/identity.ts";

export interface PreSharedKey {
  /** urn:x1410:user:NAME */
  readonly identity: string;
  /** A secret of 32 to 64 random bytes; never a password. */
  readonly key: Uint8Array;
}

const MIN_BYTES = 32;
const MAX_BYTES = 64;

export class PreSharedKeys {
  #keys: ReadonlyMap<string, Buffer>;
  readonly #listeners = new Set<(identities: ReadonlySet<string>) => void>();

  /** @throws TypeError as `replace` */
  constructor(keys: readonly PreSharedKey[]) {
    this.#keys = tableOf(keys);
  }

  /**
   * Takes effect with the next handshake; connections under a key that is gone or another now are cut.
   * @throws TypeError where an identity is not a user's, comes twice, or its key is too short or too long; nothing has changed then
   */
  replace(keys: readonly PreSharedKey[]): void {
    const former = this.#keys;
    this.#keys = tableOf(keys);
    const withdrawn = new Set(
      [...former].filter(([identity, key]) => !this.holds({ identity, key })).map(([id]) => id),
    );
    if (withdrawn.size > 0) for (const listener of this.#listeners) listener(withdrawn);
  }

  keyOf(identity: string): Uint8Array | undefined {
    return this.#keys.get(identity);
  }

  /** Whether the key is that of its user now. */
  holds({ identity, key }: PreSharedKey): boolean {
    return this.#keys.get(identity)?.equals(key) === true;
  }

  /** `listener` learns whose keys hold no more. Returns how to stop that. */
  onWithdrawal(listener: (identities: ReadonlySet<string>) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }
}

function tableOf(keys: readonly PreSharedKey[]): ReadonlyMap<string, Buffer> {
  const table = new Map<string, Buffer>();
  for (const { identity, key } of keys) {
    if (parseIdentity(identity)?.role !== "user")
      throw new TypeError(`${JSON.stringify(identity)} is no user's identity`);
    if (table.has(identity)) throw new TypeError(`${identity} has two pre-shared keys`);
    if (key.byteLength < MIN_BYTES || key.byteLength > MAX_BYTES)
      throw new TypeError(
        `the pre-shared key of ${identity} has ${key.byteLength} bytes, not ${MIN_BYTES} to ${MAX_BYTES}`,
      );
    table.set(identity, Buffer.from(key));
  }
  return table;
}
