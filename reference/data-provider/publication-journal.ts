// What a provider keeps of a publication under way (P4), so that a process killed at any instant loses nothing that was wrapped: the steps
// that are done, the spooled ciphertext, the bytes that were signed, and, until the key storage server has it, the key.
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { PRIVATE_FILE, writeDurably } from "../../certs/durable-file.ts";
import { type Lock, type StateDirectory, StateDirectoryError } from "../user/state-directory.ts";

/** JSON; bytes in Base64. */
export interface PublicationEntry {
  /** The policy's id, chosen by the provider. */
  readonly policyId: string;
  readonly startedAt: string;
  readonly keyStorage: string;
  readonly dataStorage: string;
  readonly keyRequestId: string;
  readonly packageRequestId: string;
  /** Set once everything is wrapped: from here on a publication can be resumed. */
  readonly wrapped?: WrappedEntry;
  /** The signed submission as it was sent first. */
  readonly submission?: { readonly envelope: string; readonly signedAt: number };
  readonly keyStored?: boolean;
}

export interface WrappedEntry {
  readonly keyId: string;
  readonly packageId: string;
  /** What stands before the ciphertext. */
  readonly head: string;
  readonly size: number;
  readonly sha256: string;
  /** The PolicySubmission without its context. */
  readonly terms: string;
}

const ENTRY = "publication.json";
const KEY = "key";
const CIPHERTEXT = "ciphertext";

export class PublicationJournal {
  readonly id: string;
  readonly #all: StateDirectory;
  readonly #own: StateDirectory;
  readonly #lock: Lock;
  #entry: PublicationEntry;

  private constructor(all: StateDirectory, id: string, lock: Lock, entry: PublicationEntry) {
    this.id = id;
    this.#all = all;
    this.#own = all.directory(id);
    this.#lock = lock;
    this.#entry = entry;
  }

  static begin(all: StateDirectory, servers: Pick<PublicationEntry, "keyStorage" | "dataStorage">, now: Date) {
    const policyId = randomBytes(16).toString("hex");
    const lock = all.lock(policyId);
    if (lock === undefined) throw new StateDirectoryError(`${all.path} holds publication ${policyId} already`);
    const entry = {
      policyId,
      startedAt: now.toISOString(),
      ...servers,
      keyRequestId: randomBytes(16).toString("base64"),
      packageRequestId: randomBytes(16).toString("base64"),
    };
    const journal = new PublicationJournal(all, policyId, lock, entry);
    journal.note({});
    return journal;
  }

  /** Ids of the publications that were begun and are not finished, those of running processes included. */
  static unfinished(all: StateDirectory): string[] {
    return all.names().filter((name) => /^[0-9a-f]{32}$/.test(name));
  }

  /** Nothing where another process works on it, or has finished it. @throws StateDirectoryError where the entry is damaged */
  static take(all: StateDirectory, id: string): PublicationJournal | undefined {
    const lock = all.lock(id);
    if (lock === undefined) return undefined;
    try {
      const entry = all.has(id) ? all.directory(id).read<PublicationEntry>(ENTRY) : undefined;
      if (entry !== undefined) return new PublicationJournal(all, id, lock, entry);
      // Killed before its first note was written.
      all.remove(id);
    } catch (cause) {
      lock.release();
      throw cause;
    }
    lock.release();
    return undefined;
  }

  get entry(): PublicationEntry {
    return this.#entry;
  }

  get ciphertextPath(): string {
    return this.#own.file(CIPHERTEXT);
  }

  /** Durable when it returns. */
  note(done: Partial<PublicationEntry>): void {
    this.#entry = { ...this.#entry, ...done };
    this.#own.write(ENTRY, this.#entry);
  }

  keepKey(key: Uint8Array): void {
    writeDurably(this.#own.file(KEY), key, PRIVATE_FILE);
  }

  /** @throws StateDirectoryError where it is gone */
  readKey(): Uint8Array {
    const path = this.#own.file(KEY);
    try {
      return new Uint8Array(readFileSync(path));
    } catch (cause) {
      throw new StateDirectoryError(`cannot read ${path}; discard publication ${this.id} and publish again`, { cause });
    }
  }

  wipeKey(): void {
    this.#own.wipe(KEY);
  }

  /** Nothing is left of it. */
  finish(): void {
    this.wipeKey();
    this.#all.remove(this.id);
    this.release();
  }

  /** Leaves it to be resumed. */
  release(): void {
    this.#lock.release();
  }
}
