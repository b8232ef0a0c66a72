// Data distribution (DD, clause 6.2.4): takes the request of a consumer (DD1), whom the connection authenticates (DD2), and sends the
// ciphertext (DD3).
import { createHash } from "node:crypto";
import type { FileHandle } from "node:fs/promises";
import { create } from "@bufbuild/protobuf";
import {
  DataDistributionService,
  type GetPackageResponse,
  GetPackageResponseSchema,
} from "../../gen/x1410/v1/data_distribution_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import type { Log } from "../communications/log.ts";
import { peerKey } from "../communications/peer.ts";
import { refusal } from "../communications/refusal.ts";
import { implement, type Registration } from "../communications/service.ts";
import { type PackageFiles, readRange } from "./package-files.ts";
import type { PackageTable } from "./package-table.ts";
import { isStored, registrationOver, type StoredRow } from "./package-upload.ts";

export interface DataDistributionDependencies {
  readonly table: PackageTable;
  readonly files: PackageFiles;
  readonly now: () => Date;
  readonly log: Log;
}

export function createDataDistribution(
  dependencies: DataDistributionDependencies,
): Registration<typeof DataDistributionService> {
  const { table, files, now, log } = dependencies;

  /** A package that is not meant for the caller is the same as none. */
  const find = async (packageId: string, caller: string): Promise<StoredRow> => {
    const row = await table.get(packageId);
    const meant =
      row !== undefined && (row.readers.length === 0 || row.readers.includes(caller) || row.owner === caller);
    if (!meant || row.deletedAt !== undefined || registrationOver(row, now())) {
      throw refusal(ErrorReason.PACKAGE_NOT_FOUND, packageId);
    }
    if (!isStored(row)) throw refusal(ErrorReason.PACKAGE_NOT_STORED, packageId);
    return row;
  };

  const corrupt = (packageId: string) => {
    log.error("package corrupt", { packageId });
    return refusal(ErrorReason.PACKAGE_CORRUPT, packageId);
  };

  return implement(DataDistributionService, {
    // A generator: the next chunk is read only when the connection has taken the last one.
    async *getPackage({ packageId, offset: wanted }, context): AsyncGenerator<GetPackageResponse> {
      const { upload } = await find(packageId, context.values.get(peerKey).identity);
      const { size, sha256 } = upload;
      if (wanted > BigInt(size)) throw refusal(ErrorReason.OFFSET_OUT_OF_RANGE, "offset");
      const offset = Number(wanted);
      const file = await files.openWhole(packageId);
      if (file === undefined) throw corrupt(packageId);
      try {
        if ((await file.stat()).size !== size) throw corrupt(packageId);
        yield create(GetPackageResponseSchema, {
          part: {
            case: "description",
            value: { size: BigInt(size), sha256: new Uint8Array(Buffer.from(sha256, "hex")), offset: wanted },
          },
        });
        for await (const data of verifiedBytes(file, offset, size, sha256)) {
          if (data === undefined) throw corrupt(packageId);
          yield create(GetPackageResponseSchema, { part: { case: "data", value: data } });
        }
      } finally {
        await file.close();
      }
    },
  });
}

/**
 * The bytes from `offset`; `undefined` instead of the last ones where the file is not what was stored. The SHA-256 is that of the whole:
 * a transfer that resumes in the middle is checked by its receiver, who has the beginning.
 */
async function* verifiedBytes(
  file: FileHandle,
  offset: number,
  size: number,
  sha256: string,
): AsyncGenerator<Uint8Array | undefined> {
  const hash = offset === 0 ? createHash("sha256") : undefined;
  let position = offset;
  for await (const data of readRange(file, offset, size)) {
    hash?.update(data);
    position += data.byteLength;
    if (position === size && hash !== undefined && hash.digest("hex") !== sha256) yield undefined;
    else yield data;
  }
  if (position < size) yield undefined;
}
