// The bytes of packages (DSM3, clause 6.2.4): one plain file each in the data directory. It is ciphertext, so nothing more is needed.
import { createHash, type Hash } from "node:crypto";
import { type FileHandle, mkdir, open, readdir, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { refusal } from "../communications/refusal.ts";

const READ_BYTES = 1024 * 1024;
const PACKAGE_ID = /^[0-9a-f]{32}$/;
const FILE_NAME = /^([0-9a-f]{32})(\.part)?$/;

export class PackageFiles {
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
  }

  async prepare(): Promise<void> {
    await mkdir(this.#directory, { recursive: true, mode: 0o700 });
  }

  /** Of the stored package. @throws ConnectError REQUEST_INVALID: no path is ever built from anything but an id */
  wholePath(packageId: string): string {
    if (!PACKAGE_ID.test(packageId)) throw refusal(ErrorReason.REQUEST_INVALID, "package_id");
    return join(this.#directory, packageId);
  }

  /** Of an upload that is not complete. */
  partPath(packageId: string): string {
    return `${this.wholePath(packageId)}.part`;
  }

  async openWhole(packageId: string): Promise<FileHandle | undefined> {
    return ifPresent(() => open(this.wholePath(packageId), "r"));
  }

  /** Opens the part for writing on from `offset`; what lies beyond is cut off. */
  async openPart(packageId: string, offset: number): Promise<FileHandle> {
    const path = this.partPath(packageId);
    if (offset === 0) {
      const file = await open(path, "w+", 0o600);
      await this.#syncDirectory();
      return file;
    }
    const file = await open(path, "r+");
    await file.truncate(offset);
    return file;
  }

  /** Makes the part the whole, for good. The part has been synced. */
  async complete(packageId: string): Promise<void> {
    await rename(this.partPath(packageId), this.wholePath(packageId));
    await this.#syncDirectory();
  }

  /** Removes whole and part. */
  async remove(packageId: string): Promise<void> {
    await this.removePart(packageId);
    await this.removeWhole(packageId);
  }

  async removePart(packageId: string): Promise<void> {
    await rm(this.partPath(packageId), { force: true });
  }

  async sizeOfPart(packageId: string): Promise<number> {
    return (await ifPresent(() => stat(this.partPath(packageId))))?.size ?? 0;
  }

  async sizeOfWhole(packageId: string): Promise<number | undefined> {
    return (await ifPresent(() => stat(this.wholePath(packageId))))?.size;
  }

  async removeWhole(packageId: string): Promise<void> {
    await rm(this.wholePath(packageId), { force: true });
    await this.#syncDirectory();
  }

  /** Ids of all packages of which there is a file. Other files are left alone: they are not ours. */
  async ids(): Promise<Set<string>> {
    const names = await readdir(this.#directory);
    return new Set(names.map((name) => FILE_NAME.exec(name)?.[1]).filter((id) => id !== undefined));
  }

  /** A created, renamed or removed entry survives a power cut only with its directory on disk. */
  async #syncDirectory(): Promise<void> {
    const directory = await open(this.#directory, "r");
    try {
      await directory.sync();
    } finally {
      await directory.close();
    }
  }
}

/** The bytes from `offset` to `end` in buffers of their own, so that a reader may keep them; fewer where the file is shorter. */
export async function* readRange(file: FileHandle, offset: number, end: number): AsyncGenerator<Uint8Array> {
  for (let position = offset; position < end; ) {
    // Not zeroed, and no slice of a pool.
    const { buffer } = Buffer.allocUnsafeSlow(Math.min(READ_BYTES, end - position));
    const bytes = new Uint8Array(buffer);
    const { bytesRead } = await file.read(bytes, 0, bytes.byteLength, position);
    if (bytesRead === 0) return;
    position += bytesRead;
    yield bytes.subarray(0, bytesRead);
  }
}

/** SHA-256 over the first `end` bytes, for more to be added. */
export async function hashBeginning(file: FileHandle, end: number): Promise<Hash> {
  const hash = createHash("sha256");
  for await (const bytes of readRange(file, 0, end)) hash.update(bytes);
  return hash;
}

async function ifPresent<T>(act: () => Promise<T>): Promise<T | undefined> {
  try {
    return await act();
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw cause;
  }
}
