// Unwrapping data according to the requested permission (clause 7.2.2, X6 to X8). The session is where the consumer's side enforces it:
// one opening per grant, none after the expiration, no export where the data is read only. Plaintext is in memory only, a chunk at a time,
// unless the permission lets it be exported.
import { type FileHandle, open, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { UsageKind } from "../../gen/x1410/v1/data_sharing_pb.ts";
import { fileBytes, writeWhole } from "../data-provider/wrapping.ts";
import { decrypt, encryptAgain } from "../symmetric-encryption/encrypt-stream.ts";
import { SymmetricEncryptionError } from "../symmetric-encryption/symmetric-encryption-error.ts";
import type { StateDirectory } from "../user/state-directory.ts";
import { PackageError, type ValidPackage } from "./package-validation.ts";

export const UNWRAPPING_ERROR_MEANINGS = {
  already_opened: "this access has been opened before; each grant allows one opening: request another access",
  expired: "the access permission has expired",
  read_only: "the access permission is read-only: the plaintext may be shown, not exported; use --present",
  closed: "the session is closed",
  would_overwrite: "there is a file of that name already; name another",
  plaintext_changed: "the plaintext has been changed; only what was opened is encrypted again",
  not_exported: "this session has not exported that file",
} as const;

/** Closed set of refusal codes. */
export type UnwrappingErrorCode = keyof typeof UNWRAPPING_ERROR_MEANINGS;

/** A refusal by the session. `code` is stable. */
export class UnwrappingError extends Error {
  readonly code: UnwrappingErrorCode;

  constructor(code: UnwrappingErrorCode, options?: ErrorOptions) {
    super(UNWRAPPING_ERROR_MEANINGS[code], options);
    this.name = "UnwrappingError";
    this.code = code;
  }
}

/** What the requested permission says; nothing in Annex A. */
export interface EnforcedPermission {
  readonly expiration: Date;
  readonly readOnly: boolean;
}

/** Takes note of a usage (UR2), durably. */
export type UsageReporter = (kind: UsageKind, remark: string) => Promise<void>;

export interface UnwrappingDependencies {
  readonly accessId: string;
  readonly permission: EnforcedPermission | undefined;
  readonly valid: ValidPackage;
  /** 32 bytes; the session's own from now on, and wiped by it. */
  readonly key: Uint8Array;
  /** Where openings are kept for good. */
  readonly openings: StateDirectory;
  readonly now: () => Date;
  readonly report: UsageReporter;
  /** Called once the session is over, or does not begin. */
  readonly over?: () => void;
}

/** Is given the plaintext a piece at a time; the bytes are wiped once its promise resolves. */
export type Sink = (plaintext: Uint8Array) => Promise<void> | void;

export class UnwrappingSession {
  readonly accessId: string;
  readonly #given: UnwrappingDependencies;
  readonly #exported = new Map<string, Uint8Array>();
  #presented = 0;
  #closed = false;

  private constructor(given: UnwrappingDependencies) {
    this.accessId = given.accessId;
    this.#given = given;
  }

  /** The one opening of a grant. @throws UnwrappingError expired, already_opened */
  static async open(given: UnwrappingDependencies): Promise<UnwrappingSession> {
    const session = new UnwrappingSession(given);
    try {
      await session.#refuseIfExpired();
      // Of any number of sessions and processes one claims the opening, and a restart finds it claimed.
      if (!given.openings.claim(given.accessId, { openedAt: given.now().toISOString() }))
        await session.#refuse("already_opened");
      await given.report(UsageKind.OPENED, `package ${given.valid.packageId} opened`);
    } catch (cause) {
      given.key.fill(0);
      given.over?.();
      throw cause;
    }
    return session;
  }

  get readOnly(): boolean {
    return this.#given.permission?.readOnly ?? false;
  }

  /**
   * X6, X7: shows the plaintext.
   * @throws UnwrappingError expired, also in the midst of it; closed. PackageError where the key does not open the package
   */
  async present(sink: Sink): Promise<void> {
    await this.#decrypt(sink);
    this.#presented++;
  }

  /**
   * X7: writes the plaintext to a new file of mode 0600, where the permission allows it.
   * @throws UnwrappingError read_only, would_overwrite, and as `present`; then there is no file
   */
  async export(path: string): Promise<void> {
    this.#assertOpen();
    if (this.readOnly) await this.#refuse("read_only");
    const file = await openNew(path);
    try {
      const plaintextSha256 = await this.#decrypt((bytes) => writeWhole(file, bytes));
      await file.sync();
      this.#exported.set(path, plaintextSha256);
    } catch (cause) {
      await rm(path, { force: true });
      throw cause;
    } finally {
      await file.close();
    }
  }

  /**
   * X8: encrypts an exported file again as the provider did, which gives the identical package, and leaves only that.
   * @throws UnwrappingError plaintext_changed, not_exported: then everything stays as it is
   */
  async encryptAgain(path: string): Promise<void> {
    this.#assertOpen();
    const { valid, key } = this.#given;
    const plaintextSha256 = this.#exported.get(path);
    if (plaintextSha256 === undefined) throw new UnwrappingError("not_exported");
    const again = join(dirname(valid.path), `.${valid.packageId}.again`);
    try {
      await this.#writeAgain(path, plaintextSha256, key, again);
    } catch (cause) {
      await rm(again, { force: true });
      if (cause instanceof SymmetricEncryptionError && cause.code === "plaintext_changed")
        await this.#refuse("plaintext_changed");
      throw cause;
    }
    await rename(again, valid.path);
    await rm(path);
    this.#exported.delete(path);
  }

  /** Ends the access: the key is wiped, and what the session leaves is the package, fit to be forwarded (S5). */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#given.key.fill(0);
    this.#given.over?.();
    const left =
      this.#exported.size === 0 ? "only the package is left" : `${this.#exported.size} exported as permitted`;
    await this.#given.report(UsageKind.CLOSED, `presented ${times(this.#presented)}; ${left}`);
  }

  /** Answers the SHA-256 of the plaintext. */
  async #decrypt(sink: Sink): Promise<Uint8Array> {
    this.#assertOpen();
    await this.#refuseIfExpired();
    const { valid, key } = this.#given;
    const { path, ciphertextStart, keyId, encryptedData } = valid;
    const { output, summary } = decrypt(fileBytes(path, ciphertextStart), {
      key,
      context: Buffer.from(keyId, "ascii"),
      commitment: encryptedData.commitment,
    });
    try {
      for await (const bytes of output) {
        try {
          await this.#refuseIfExpired();
          await sink(bytes);
        } finally {
          bytes.fill(0);
        }
      }
    } catch (cause) {
      if (cause instanceof SymmetricEncryptionError) throw new PackageError("digest", cause.message, cause);
      throw cause;
    }
    return (await summary).plaintextSha256;
  }

  async #writeAgain(path: string, plaintextSha256: Uint8Array, key: Uint8Array, again: string): Promise<void> {
    const { valid } = this.#given;
    const { output, summary } = await encryptAgain(() => fileBytes(path, 0), {
      key,
      context: Buffer.from(valid.keyId, "ascii"),
      salt: valid.salt,
      plaintextSha256,
    });
    const file = await open(again, "w", 0o600);
    try {
      for await (const head of fileBytes(valid.path, 0, valid.ciphertextStart)) await writeWhole(file, head);
      for await (const bytes of output) await writeWhole(file, bytes);
      await file.sync();
    } finally {
      await file.close();
    }
    const { ciphertextSha256 } = await summary;
    if (Buffer.compare(ciphertextSha256, valid.encryptedData.sha256) !== 0)
      throw new PackageError("digest", "encrypting again did not give the identical package");
  }

  #assertOpen(): void {
    if (this.#closed) throw new UnwrappingError("closed");
  }

  async #refuseIfExpired(): Promise<void> {
    const { permission, now } = this.#given;
    if (permission !== undefined && now().getTime() >= permission.expiration.getTime()) await this.#refuse("expired");
  }

  /** A refusal is a usage too (UR2). */
  async #refuse(code: UnwrappingErrorCode): Promise<never> {
    await this.#given.report(UsageKind.REFUSED, UNWRAPPING_ERROR_MEANINGS[code]);
    throw new UnwrappingError(code);
  }
}

function times(count: number): string {
  return count === 0 ? "never" : count === 1 ? "once" : `${count} times`;
}

async function openNew(path: string): Promise<FileHandle> {
  try {
    return await open(path, "wx", 0o600);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "EEXIST") throw new UnwrappingError("would_overwrite", { cause });
    throw cause;
  }
}
