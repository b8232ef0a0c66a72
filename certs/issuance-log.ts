import { randomBytes } from "node:crypto";
import { closeSync, fstatSync, fsyncSync, ftruncateSync, openSync, readSync, statSync } from "node:fs";
import { PUBLIC_FILE, storageFailed, writeWhole } from "./durable-file.ts";
import { PkiError } from "./pki-error.ts";

/** Revocation reasons of RFC 5280 5.3.1 that an authority gives; the numbers go on the wire. */
export const REVOCATION_REASONS = {
  unspecified: 0,
  keyCompromise: 1,
  cACompromise: 2,
  affiliationChanged: 3,
  superseded: 4,
  cessationOfOperation: 5,
  privilegeWithdrawn: 9,
} as const;
export type RevocationReason = keyof typeof REVOCATION_REASONS;

export function isRevocationReason(value: string): value is RevocationReason {
  return Object.hasOwn(REVOCATION_REASONS, value);
}

/** One certificate that the authority issued. */
export type IssuedRecord = {
  serialNumber: string;
  fingerprint: string;
  /** SAN URI; absent for authorities and OCSP responders. */
  identity?: string;
  profile: string;
  notBefore: string;
  notAfter: string;
  issuedAt: string;
  /** Base64 of the DER, so that the certificate can be handed out again. */
  certificate: string;
};

export type RevocationRecord = { serialNumber: string; reason: RevocationReason; revokedAt: string };

/** Announces a revocation list before it is signed: its number is its rank among these entries. */
type CrlRecord = { id: string; revocations: number };

type Entry =
  | ({ event: "issued" } & IssuedRecord)
  | ({ event: "revoked" } & RevocationRecord)
  | ({ event: "crl" } & CrlRecord);

const MAX_ENTRY_BYTES = 256 * 1024;

/**
 * The authority's durable memory: an append-only file of JSON lines, synced before a certificate leaves. A line that a
 * crash cut short was never acknowledged and is dropped at opening; any other damage stops the authority, for a lost
 * revocation must not pass unseen. Several processes may hold the same log: appends are atomic, and everyone reads
 * what the others added before it decides.
 */
export class IssuanceLog {
  readonly #path: string;
  #consumed = 0;
  readonly #issued = new Map<string, IssuedRecord>();
  readonly #byFingerprint = new Map<string, IssuedRecord>();
  readonly #revoked = new Map<string, RevocationRecord>();
  readonly #crls: CrlRecord[] = [];

  constructor(path: string) {
    this.#path = path;
    this.#dropTornLine();
    this.refresh();
  }

  /** Reads what this or another process has appended since. */
  refresh(): void {
    const size = this.#guard(() => statSync(this.#path).size);
    if (size < this.#consumed) throw new PkiError("corrupt_store", `${this.#path} has become shorter`);
    if (size === this.#consumed) return;
    const bytes = this.#read(this.#consumed, size - this.#consumed);
    const end = bytes.lastIndexOf(0x0a) + 1;
    for (const line of bytes.subarray(0, end).toString("utf8").split("\n")) {
      if (line !== "") this.#apply(this.#parse(line));
    }
    this.#consumed += end;
  }

  appendIssued(record: IssuedRecord): void {
    this.#append({ event: "issued", ...record });
  }

  appendRevoked(record: RevocationRecord): void {
    this.#append({ event: "revoked", ...record });
  }

  /** Takes the next CRL number: monotonic, never given twice, also among processes. */
  nextCrlNumber(): { number: number; revocations: RevocationRecord[] } {
    const id = randomBytes(8).toString("hex");
    const revocations = this.revocations();
    this.#append({ event: "crl", id, revocations: revocations.length });
    return { number: this.#crls.findIndex((crl) => crl.id === id) + 1, revocations };
  }

  /** Number of the latest announced list, and how many revocations it covers; 0 before the first. */
  latestCrl(): { number: number; revocations: number } {
    return { number: this.#crls.length, revocations: this.#crls.at(-1)?.revocations ?? 0 };
  }

  issued(selector: string): IssuedRecord | undefined {
    return this.#issued.get(selector) ?? this.#byFingerprint.get(selector);
  }

  revocation(serialNumber: string): RevocationRecord | undefined {
    return this.#revoked.get(serialNumber);
  }

  /** In the order of their entry. */
  allIssued(): IssuedRecord[] {
    return [...this.#issued.values()];
  }

  get revocationCount(): number {
    return this.#revoked.size;
  }

  revocations(): RevocationRecord[] {
    return [...this.#revoked.values()];
  }

  #apply(entry: Entry): void {
    switch (entry.event) {
      case "issued": {
        const { event: _, ...record } = entry;
        this.#issued.set(record.serialNumber, record);
        this.#byFingerprint.set(record.fingerprint, record);
        return;
      }
      case "revoked": {
        const { event: _, ...record } = entry;
        // The first revocation stands, should two processes have raced.
        if (!this.#revoked.has(record.serialNumber)) this.#revoked.set(record.serialNumber, record);
        return;
      }
      case "crl":
        this.#crls.push({ id: entry.id, revocations: entry.revocations });
        return;
    }
  }

  #parse(line: string): Entry {
    try {
      const entry = JSON.parse(line) as Entry;
      if (["issued", "revoked", "crl"].includes(entry.event)) return entry;
    } catch {
      // reported below, with what to do
    }
    throw new PkiError("corrupt_store", `${this.#path} has an unreadable line; restore the file from a backup`);
  }

  #append(entry: Entry): void {
    const line = Buffer.from(`${JSON.stringify(entry)}\n`);
    if (line.byteLength > MAX_ENTRY_BYTES) throw new PkiError("storage_failed", "the entry is too long");
    this.#guard(() => {
      const file = openSync(this.#path, "a", PUBLIC_FILE);
      const { size } = fstatSync(file);
      try {
        writeWhole(file, line);
        fsyncSync(file);
      } catch (error) {
        // A full disk may have taken part of the line; the next one must not be glued to it.
        const torn = fstatSync(file).size - size;
        if (torn > 0 && torn < line.byteLength) ftruncateSync(file, size);
        throw error;
      } finally {
        closeSync(file);
      }
    });
    this.refresh();
  }

  #dropTornLine(): void {
    this.#guard(() => {
      const file = openSync(this.#path, "r+");
      try {
        const { size } = fstatSync(file);
        const from = Math.max(0, size - MAX_ENTRY_BYTES);
        const tail = Buffer.alloc(size - from);
        readSync(file, tail, 0, tail.byteLength, from);
        const end = from + tail.lastIndexOf(0x0a) + 1;
        if (end === size) return;
        ftruncateSync(file, end);
        fsyncSync(file);
      } finally {
        closeSync(file);
      }
    });
  }

  #read(offset: number, length: number): Buffer {
    return this.#guard(() => {
      const file = openSync(this.#path, "r");
      try {
        const bytes = Buffer.alloc(length);
        const count = readSync(file, bytes, 0, length, offset);
        return bytes.subarray(0, count);
      } finally {
        closeSync(file);
      }
    });
  }

  #guard<T>(act: () => T): T {
    try {
      return act();
    } catch (error) {
      if (error instanceof PkiError) throw error;
      throw storageFailed(this.#path, error);
    }
  }
}
