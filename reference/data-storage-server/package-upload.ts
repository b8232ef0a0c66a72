// Receiving a package (DSM1, DSM3): bytes go to disk as they come, are hashed on the way, and count as stored only once all are verified.
import { createHash } from "node:crypto";
import type { FileHandle } from "node:fs/promises";
import type { StorePackageOpen, StorePackageRequest } from "../../gen/x1410/v1/data_storage_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { refusal } from "../communications/refusal.ts";
import type { Holdings } from "../store/holdings.ts";
import { hashBeginning, type PackageFiles } from "./package-files.ts";
import type { PackageRow, PackageTable } from "./package-table.ts";
import type { Turn, UploadTurns } from "./upload-turns.ts";

/** After so many bytes they are synced and the committed offset moves: what a broken connection or a crash costs at most. */
const COMMIT_BYTES = 16 * 1024 * 1024;

export interface PackageUploadDependencies {
  readonly table: PackageTable;
  readonly files: PackageFiles;
  readonly turns: UploadTurns;
  readonly holdings: Holdings;
  /** The longest package that is taken. */
  readonly packageBytes: number;
  readonly now: () => Date;
}

/** A row whose package is stored. */
export type StoredRow = PackageRow & Required<Pick<PackageRow, "upload" | "storedAt">>;

interface Announcement {
  readonly packageId: string;
  readonly size: number;
  readonly sha256: string;
  readonly offset: number;
}

export function isStored(row: PackageRow): row is StoredRow {
  return row.storedAt !== undefined && row.upload !== undefined;
}

/** Whether the registration has ended unfilled. */
export function registrationOver(row: PackageRow, at: Date): boolean {
  return row.storedAt === undefined && at.getTime() >= row.expiresAt;
}

export function withoutUpload({ upload: _dropped, ...registered }: PackageRow): PackageRow {
  return registered;
}

/** Takes one upload of `owner`; answers the row of the stored package. */
export async function receivePackage(
  dependencies: PackageUploadDependencies,
  owner: string,
  requests: AsyncIterable<StorePackageRequest>,
): Promise<StoredRow> {
  const messages = requests[Symbol.asyncIterator]();
  try {
    const announced = announcement(await messages.next());
    const { packageId } = announced;
    // Judged before the turn is taken, so that nobody stops an upload who could not make one.
    const confirmed = judge(await dependencies.table.get(packageId), announced, owner, dependencies.now());
    if (confirmed !== undefined) return confirmed;
    return await dependencies.turns.takeOver(packageId, async (turn) => {
      const row = await dependencies.table.get(packageId);
      const stored = judge(row, announced, owner, dependencies.now());
      if (stored !== undefined) return stored;
      if (row === undefined) throw refusal(ErrorReason.PACKAGE_NOT_FOUND, packageId);
      return await new Upload(dependencies, announced, row, turn).receive(messages);
    });
  } finally {
    // Not awaited: the stream of an upload that was taken over may never say another word.
    messages.return?.().then(undefined, () => undefined);
  }
}

class Upload {
  readonly #table: PackageTable;
  readonly #files: PackageFiles;
  readonly #holdings: Holdings;
  readonly #packageBytes: number;
  readonly #now: () => Date;
  readonly #announced: Announcement;
  readonly #turn: Turn;
  #row: PackageRow;
  /** Bytes in the file. */
  #received: number;

  constructor(dependencies: PackageUploadDependencies, announced: Announcement, row: PackageRow, turn: Turn) {
    this.#table = dependencies.table;
    this.#files = dependencies.files;
    this.#holdings = dependencies.holdings;
    this.#packageBytes = dependencies.packageBytes;
    this.#now = dependencies.now;
    this.#announced = announced;
    this.#row = row;
    this.#turn = turn;
    this.#received = announced.offset;
  }

  async receive(messages: AsyncIterator<StorePackageRequest>): Promise<StoredRow> {
    const { packageId, size, sha256, offset } = this.#announced;
    if (offset > (this.#row.upload?.committed ?? 0)) throw refusal(ErrorReason.OFFSET_OUT_OF_RANGE, "open.offset");
    if (size > this.#packageBytes) throw refusal(ErrorReason.QUOTA_EXCEEDED, "open.size");
    // All that was announced counts from the beginning, so that many uploads at once cannot exceed together what each alone may.
    this.#holdings.hold(this.#row.owner, packageId, size);
    await this.#commit();
    const file = await this.#files.openPart(packageId, offset);
    let verified: boolean;
    try {
      verified = await this.#write(file, messages);
      if (verified) await file.sync();
    } catch (cause) {
      // Broken off: what has come stays, and the upload is resumed from there.
      await file.datasync();
      await (this.#received === 0 ? this.#drop() : this.#commit());
      throw cause;
    } finally {
      await file.close();
    }
    if (!verified) {
      await this.#drop();
      throw refusal(ErrorReason.PACKAGE_DIGEST_MISMATCH, packageId);
    }
    await this.#files.complete(packageId);
    const storedAt = this.#now().getTime();
    const stored: StoredRow = { ...this.#row, upload: { size, sha256, committed: size }, storedAt };
    await this.#table.replace(packageId, stored);
    this.#holdings.endRegistration(stored.owner, packageId);
    return stored;
  }

  /** Writes what comes; answers whether the whole has the size and SHA-256 announced. */
  async #write(file: FileHandle, messages: AsyncIterator<StorePackageRequest>): Promise<boolean> {
    const { size, sha256, offset } = this.#announced;
    const hash = offset === 0 ? createHash("sha256") : await hashBeginning(file, offset);
    let committed = offset;
    for (;;) {
      const { done, value } = await this.#turn.whileHeld(messages.next());
      if (done) break;
      if (value.part.case !== "data") throw refusal(ErrorReason.REQUEST_INVALID, "part");
      const data = value.part.value;
      if (this.#received + data.byteLength > size) return false;
      hash.update(data);
      await writeWhole(file, data, this.#received);
      this.#received += data.byteLength;
      if (this.#received - committed < COMMIT_BYTES) continue;
      await file.datasync();
      await this.#commit();
      committed = this.#received;
    }
    return this.#received === size && hash.digest("hex") === sha256;
  }

  /** Records how far the upload has come. The bytes before that are on disk. */
  async #commit(): Promise<void> {
    const { packageId, size, sha256 } = this.#announced;
    this.#row = { ...this.#row, upload: { size, sha256, committed: this.#received } };
    await this.#table.replace(packageId, this.#row);
  }

  /** Back to registered: nothing of the upload is kept. */
  async #drop(): Promise<void> {
    await this.#table.replace(this.#announced.packageId, withoutUpload(this.#row));
    await this.#files.removePart(this.#announced.packageId);
    this.#holdings.release(this.#row.owner, this.#announced.packageId);
  }
}

function announcement(first: IteratorResult<StorePackageRequest>): Announcement {
  if (first.done || first.value.part.case !== "open") throw refusal(ErrorReason.REQUEST_INVALID, "open");
  const { packageId, size, sha256, offset }: StorePackageOpen = first.value.part.value;
  if (size > BigInt(Number.MAX_SAFE_INTEGER)) throw refusal(ErrorReason.REQUEST_INVALID, "open.size");
  if (offset > size) throw refusal(ErrorReason.OFFSET_OUT_OF_RANGE, "open.offset");
  return {
    packageId,
    size: Number(size),
    sha256: Buffer.from(sha256).toString("hex"),
    offset: Number(offset),
  };
}

/** The stored row where this very package is stored already; undefined where the upload may go on. */
function judge(
  row: PackageRow | undefined,
  { packageId, size, sha256 }: Announcement,
  owner: string,
  at: Date,
): StoredRow | undefined {
  if (row === undefined || row.deletedAt !== undefined || row.owner !== owner) {
    throw refusal(ErrorReason.PACKAGE_NOT_FOUND, packageId);
  }
  const same = row.upload?.size === size && row.upload.sha256 === sha256;
  if (isStored(row)) {
    if (same) return row;
    throw refusal(ErrorReason.PACKAGE_EXISTS, packageId);
  }
  if (registrationOver(row, at)) throw refusal(ErrorReason.REGISTRATION_EXPIRED, packageId);
  if (row.upload !== undefined && !same) throw refusal(ErrorReason.PACKAGE_EXISTS, packageId);
  return undefined;
}

async function writeWhole(file: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let written = 0; written < bytes.byteLength; ) {
    const { bytesWritten } = await file.write(bytes, written, bytes.byteLength - written, position + written);
    written += bytesWritten;
  }
}
