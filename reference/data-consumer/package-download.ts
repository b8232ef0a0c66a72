// Fetching a package (X4; F4.15 to F4.17, A2.13 to A2.15) into a file: a broken connection resumes where it broke, and what arrived is
// compared with the SHA-256 that was announced.
import { createHash } from "node:crypto";
import { open, rename, rm, stat } from "node:fs/promises";
import { type Client, Code, ConnectError } from "@connectrpc/connect";
import type { DataDistributionService, PackageDescription } from "../../gen/x1410/v1/data_distribution_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { reasonOf } from "../communications/refusal.ts";
import { fileBytes, writeWhole } from "../data-provider/wrapping.ts";
import { BackOff, type Patience } from "../user/repetition.ts";
import { PackageError } from "./package-validation.ts";

export interface Download {
  readonly client: Client<typeof DataDistributionService>;
  readonly packageId: string;
  /** Where the package is to be; what has come so far is beside it under `.part`. */
  readonly path: string;
  /** What the management announced (F4.11); empty where it did not. */
  readonly sha256: Uint8Array;
  readonly patience: Patience;
  /** Told how many bytes are there and how many will be. */
  readonly received?: (bytes: number, size: number) => void;
}

/**
 * Resolves when the whole package is in its file. A package that is there already is kept if it has the SHA-256 announced.
 * @throws PackageError where what the server gives is not what was announced
 */
export async function downloadPackage(download: Download): Promise<void> {
  const { path, sha256, patience } = download;
  const part = `${path}.part`;
  if (sha256.length > 0 && Buffer.compare(await hashOf(path), sha256) === 0) return;
  const backOff = new BackOff(patience);
  let startedAnew = false;
  for (;;) {
    const before = await sizeOf(part);
    try {
      const description = await fetchRest(download, part, before);
      if (await isWhole(part, description, sha256)) return await rename(part, path);
      // A part of an earlier package, or damaged on disk: once from the beginning.
      await rm(part, { force: true });
      if (startedAnew || before === 0)
        throw new PackageError("digest", "it is not what the data storage server announced");
      startedAnew = true;
    } catch (cause) {
      if (reasonOf(cause) === ErrorReason.OFFSET_OUT_OF_RANGE && before > 0 && !startedAnew) {
        await rm(part, { force: true });
        startedAnew = true;
        continue;
      }
      if ((await sizeOf(part)) > before) backOff.reset();
      await backOff.after(cause);
    }
  }
}

/** Appends to the part what is missing of it. */
async function fetchRest({ client, packageId, received }: Download, part: string, offset: number) {
  const file = await open(part, "a", 0o600);
  try {
    let description: PackageDescription | undefined;
    let at = offset;
    for await (const { part: content } of client.getPackage({ packageId, offset: BigInt(offset) })) {
      if (content.case === "description") {
        description = content.value;
        if (description.offset !== BigInt(offset)) throw new PackageError("framing", "it comes from another offset");
      } else if (content.case === "data" && description !== undefined) {
        at += content.value.length;
        if (BigInt(at) > description.size) throw new PackageError("extended", "more comes than was announced");
        await writeWhole(file, content.value);
        received?.(at, Number(description.size));
      } else {
        throw new PackageError("framing", "the data storage server does not say what comes");
      }
    }
    if (description === undefined) throw new PackageError("framing", "the data storage server does not say what comes");
    // An end before the announced size is a connection that broke, however politely.
    if (BigInt(at) < description.size) throw new ConnectError("the package has not come whole", Code.Unavailable);
    await file.datasync();
    return description;
  } finally {
    await file.close();
  }
}

async function isWhole(part: string, { size, sha256 }: PackageDescription, announced: Uint8Array): Promise<boolean> {
  if (BigInt(await sizeOf(part)) !== size) return false;
  const found = await hashOf(part);
  return Buffer.compare(found, sha256) === 0 && (announced.length === 0 || Buffer.compare(found, announced) === 0);
}

async function sizeOf(path: string): Promise<number> {
  return stat(path).then(
    ({ size }) => size,
    () => 0,
  );
}

/** Empty where there is no such file. */
async function hashOf(path: string): Promise<Uint8Array> {
  if ((await sizeOf(path)) === 0) return new Uint8Array();
  const hash = createHash("sha256");
  for await (const bytes of fileBytes(path, 0)) hash.update(bytes);
  return hash.digest();
}
