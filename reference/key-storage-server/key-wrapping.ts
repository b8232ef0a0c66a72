// Keys at rest (KSM3, clause 6.2.3: stored encrypted): each wrapped by AES-256-GCM under a key-encryption key (KEK) of the server.
import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";
import { statSync } from "node:fs";
import { dirname } from "node:path";
import { makePrivateDirectory, PRIVATE_FILE, readIfPresent, writeDurably } from "../../certs/durable-file.ts";

/** What a wrapped key belongs to. All of it is authenticated, so that rows cannot be swapped or handed to another management. */
export interface KeyBinding {
  readonly keyId: string;
  readonly owner: string;
  readonly management: string;
}

/** As a row keeps it; binary parts in base64. */
export interface WrappedKey {
  /** Version of this format. */
  readonly version: number;
  readonly kekId: string;
  readonly nonce: string;
  /** Ciphertext followed by the 16-byte tag. */
  readonly sealed: string;
}

/** Where the KEKs are: here a file; a PKCS #11 token or a key management service has the same shape. */
export interface KeyWrapper {
  /** Id of the KEK that wraps now. */
  currentKekId(): string;
  /** Ids of all KEKs that are kept, the current one among them. */
  kekIds(): readonly string[];
  wrap(key: Uint8Array, binding: KeyBinding): Promise<WrappedKey>;
  /** The key in a buffer of its own, for the caller to wipe. @throws KeyCorruptError */
  unwrap(wrapped: WrappedKey, binding: KeyBinding): Promise<Uint8Array>;
  /** Makes a new KEK the current one; the others still unwrap. Durable before it wraps anything. Answers its id. */
  rotate(): Promise<string>;
  /** Forgets a KEK under which nothing is wrapped any more. @throws Error for the current one */
  retire(kekId: string): Promise<void>;
}

/** The wrapped key fails its authentication under its binding, or its KEK is not there. */
export class KeyCorruptError extends Error {
  constructor(keyId: string) {
    super(`stored key ${keyId} fails its authentication`);
    this.name = "KeyCorruptError";
  }
}

const FORMAT_VERSION = 1;
const KEK_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

interface KekFile {
  readonly current: string;
  /** KEK by id, base64. */
  readonly keys: Readonly<Record<string, string>>;
}

/**
 * KEKs in one file of mode 0600. `create` says whether a missing file may be made: never while keys are stored that only it could open.
 * @throws Error where the file is missing though needed, damaged, or readable by others; the message names the file only
 */
export function openKekFile(path: string, { create }: { readonly create: boolean }): KeyWrapper {
  const stored = readKekFile(path);
  if (stored !== undefined) return new FileKeyWrapper(path, stored.current, stored.keks);
  if (!create) throw new Error(`${path} is missing, and without it the stored keys cannot be opened: restore it`);
  makePrivateDirectory(dirname(path));
  const wrapper = new FileKeyWrapper(path, newKekId(), new Map());
  wrapper.initialize();
  return wrapper;
}

class FileKeyWrapper implements KeyWrapper {
  readonly #path: string;
  #current: string;
  #keks: ReadonlyMap<string, Buffer>;

  constructor(path: string, current: string, keks: ReadonlyMap<string, Buffer>) {
    this.#path = path;
    this.#current = current;
    this.#keks = keks;
  }

  initialize(): void {
    this.#replace(this.#current, new Map([[this.#current, randomBytes(KEK_BYTES)]]));
  }

  currentKekId(): string {
    return this.#current;
  }

  kekIds(): readonly string[] {
    return [...this.#keks.keys()];
  }

  async wrap(key: Uint8Array, binding: KeyBinding): Promise<WrappedKey> {
    const kekId = this.#current;
    const kek = this.#keks.get(kekId);
    if (kek === undefined) throw new Error(`${this.#path} lacks its current key`);
    // A random nonce is safe for 2^32 wraps under one KEK (NIST SP 800-38D, 8.3): more keys than one server ever holds.
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv("aes-256-gcm", kek, nonce, { authTagLength: TAG_BYTES });
    cipher.setAAD(associatedData(binding, kekId, FORMAT_VERSION));
    const sealed = Buffer.concat([cipher.update(key), cipher.final(), cipher.getAuthTag()]);
    return { version: FORMAT_VERSION, kekId, nonce: nonce.toString("base64"), sealed: sealed.toString("base64") };
  }

  async unwrap(wrapped: WrappedKey, binding: KeyBinding): Promise<Uint8Array> {
    const kek = this.#keks.get(wrapped.kekId);
    const nonce = Buffer.from(wrapped.nonce, "base64");
    const sealed = Buffer.from(wrapped.sealed, "base64");
    const end = sealed.byteLength - TAG_BYTES;
    if (kek === undefined || wrapped.version !== FORMAT_VERSION || nonce.byteLength !== NONCE_BYTES || end < 0) {
      throw new KeyCorruptError(binding.keyId);
    }
    const decipher = createDecipheriv("aes-256-gcm", kek, nonce, { authTagLength: TAG_BYTES });
    decipher.setAAD(associatedData(binding, wrapped.kekId, wrapped.version));
    decipher.setAuthTag(sealed.subarray(end));
    const opened = decipher.update(sealed.subarray(0, end));
    try {
      decipher.final();
      return new Uint8Array(opened);
    } catch {
      throw new KeyCorruptError(binding.keyId);
    } finally {
      opened.fill(0);
    }
  }

  async rotate(): Promise<string> {
    const kekId = newKekId();
    this.#replace(kekId, new Map([...this.#keks, [kekId, randomBytes(KEK_BYTES)]]));
    return kekId;
  }

  async retire(kekId: string): Promise<void> {
    if (kekId === this.#current) throw new Error("the current key-encryption key cannot be retired");
    const retired = this.#keks.get(kekId);
    if (retired === undefined) return;
    this.#replace(this.#current, new Map([...this.#keks].filter(([id]) => id !== kekId)));
    retired.fill(0);
  }

  /** On disk first: what is wrapped under a KEK can be opened after any crash. */
  #replace(current: string, keks: ReadonlyMap<string, Buffer>): void {
    const keys = Object.fromEntries([...keks].map(([id, kek]) => [id, kek.toString("base64")]));
    const file: KekFile = { current, keys };
    writeDurably(this.#path, `${JSON.stringify(file)}\n`, PRIVATE_FILE);
    this.#current = current;
    this.#keks = keks;
  }
}

function newKekId(): string {
  return randomBytes(8).toString("hex");
}

/** Parts with their lengths before them, so that no two bindings give the same bytes. */
function associatedData({ keyId, owner, management }: KeyBinding, kekId: string, version: number): Buffer {
  const parts = ["x1410 wrapped key", keyId, owner, management, kekId, String(version)];
  return Buffer.concat(
    parts.flatMap((part) => {
      const bytes = Buffer.from(part, "utf8");
      const length = Buffer.alloc(4);
      length.writeUInt32BE(bytes.byteLength);
      return [length, bytes];
    }),
  );
}

function readKekFile(path: string): { current: string; keks: Map<string, Buffer> } | undefined {
  const content = readIfPresent(path);
  if (content === undefined) return undefined;
  if ((statSync(path).mode & 0o077) !== 0) {
    throw new Error(`${path} can be read by others than its owner: restrict it (chmod 600) and start again`);
  }
  try {
    const { current, keys } = JSON.parse(content.toString("utf8")) as KekFile;
    const keks = new Map(Object.entries(keys).map(([id, kek]) => [id, Buffer.from(kek, "base64")]));
    const whole = [...keks.values()].every(({ byteLength }) => byteLength === KEK_BYTES);
    if (whole && keks.has(current)) return { current, keks };
  } catch {
    // The parser's message could quote a key; the one below does not.
  } finally {
    content.fill(0);
  }
  throw new Error(`${path} is damaged: restore it from its backup`);
}
