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
  /** When the current KEK became it, in milliseconds since 1970; undefined where a former version has not recorded it. */
  rotatedAt(): number | undefined;
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
  /** Milliseconds since 1970. */
  readonly rotatedAt?: number;
  /** KEK by id, base64. */
  readonly keys: Readonly<Record<string, string>>;
}

/** What the file holds. */
interface Keks {
  readonly current: string;
  readonly rotatedAt: number | undefined;
  readonly byId: ReadonlyMap<string, Buffer>;
}

export interface KekFileOptions {
  readonly create: boolean;
  readonly now: () => Date;
}

/**
 * KEKs in one file of mode 0600. `create` says whether a missing file may be made: never while keys are stored that only it could open.
 * @throws Error where the file is missing though needed, damaged, or readable by others; the message names the file only
 */
export function openKekFile(path: string, { create, now }: KekFileOptions): KeyWrapper {
  const stored = readKekFile(path);
  if (stored !== undefined) return new FileKeyWrapper(path, stored, now);
  if (!create) throw new Error(`${path} is missing, and without it the stored keys cannot be opened: restore it`);
  makePrivateDirectory(dirname(path));
  const first = withNewKek(new Map(), now());
  writeKekFile(path, first);
  return new FileKeyWrapper(path, first, now);
}

class FileKeyWrapper implements KeyWrapper {
  readonly #path: string;
  readonly #now: () => Date;
  #keks: Keks;

  constructor(path: string, keks: Keks, now: () => Date) {
    this.#path = path;
    this.#keks = keks;
    this.#now = now;
  }

  currentKekId(): string {
    return this.#keks.current;
  }

  kekIds(): readonly string[] {
    return [...this.#keks.byId.keys()];
  }

  rotatedAt(): number | undefined {
    return this.#keks.rotatedAt;
  }

  async wrap(key: Uint8Array, binding: KeyBinding): Promise<WrappedKey> {
    const { current: kekId, byId } = this.#keks;
    const kek = byId.get(kekId);
    if (kek === undefined) throw new Error(`${this.#path} lacks its current key`);
    // A random nonce is safe for 2^32 wraps under one KEK (NIST SP 800-38D, 8.3): more keys than one server ever holds.
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv("aes-256-gcm", kek, nonce, { authTagLength: TAG_BYTES });
    cipher.setAAD(associatedData(binding, kekId, FORMAT_VERSION));
    const sealed = Buffer.concat([cipher.update(key), cipher.final(), cipher.getAuthTag()]);
    return { version: FORMAT_VERSION, kekId, nonce: nonce.toString("base64"), sealed: sealed.toString("base64") };
  }

  async unwrap(wrapped: WrappedKey, binding: KeyBinding): Promise<Uint8Array> {
    const kek = this.#keks.byId.get(wrapped.kekId);
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
    this.#replace(withNewKek(this.#keks.byId, this.#now()));
    return this.#keks.current;
  }

  async retire(kekId: string): Promise<void> {
    const { current, byId } = this.#keks;
    if (kekId === current) throw new Error("the current key-encryption key cannot be retired");
    const retired = byId.get(kekId);
    if (retired === undefined) return;
    this.#replace({ ...this.#keks, byId: new Map([...byId].filter(([id]) => id !== kekId)) });
    retired.fill(0);
  }

  /** On disk first: what is wrapped under a KEK can be opened after any crash. */
  #replace(keks: Keks): void {
    writeKekFile(this.#path, keks);
    this.#keks = keks;
  }
}

function withNewKek(former: ReadonlyMap<string, Buffer>, at: Date): Keks {
  const current = randomBytes(8).toString("hex");
  return { current, rotatedAt: at.getTime(), byId: new Map([...former, [current, randomBytes(KEK_BYTES)]]) };
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

function readKekFile(path: string): Keks | undefined {
  const content = readIfPresent(path);
  if (content === undefined) return undefined;
  if ((statSync(path).mode & 0o077) !== 0) {
    throw new Error(`${path} can be read by others than its owner: restrict it (chmod 600) and start again`);
  }
  try {
    const { current, rotatedAt, keys } = JSON.parse(content.toString("utf8")) as KekFile;
    const byId = new Map(Object.entries(keys).map(([id, kek]) => [id, Buffer.from(kek, "base64")]));
    const whole = [...byId.values()].every(({ byteLength }) => byteLength === KEK_BYTES);
    if (whole && byId.has(current)) return { current, rotatedAt, byId };
  } catch {
    // The parser's message could quote a key; the one below does not.
  } finally {
    content.fill(0);
  }
  throw new Error(`${path} is damaged: restore it from its backup`);
}

function writeKekFile(path: string, { current, rotatedAt, byId }: Keks): void {
  const keys = Object.fromEntries([...byId].map(([id, kek]) => [id, kek.toString("base64")]));
  // JSON leaves out what is undefined.
  const file = { current, rotatedAt, keys };
  writeDurably(path, `${JSON.stringify(file)}\n`, PRIVATE_FILE);
}
