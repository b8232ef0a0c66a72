// Uploading a package (W8; F3.7.4, A1.7.2) so that a broken connection costs only what was not committed: the data storage server is asked
// how far it has come, and the upload goes on from there.
import type { MessageInitShape } from "@bufbuild/protobuf";
import { type Client, Code, ConnectError } from "@connectrpc/connect";
import {
  type DataStorageService,
  PackageState,
  type StorePackageRequestSchema,
} from "../../gen/x1410/v1/data_storage_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { reasonOf, refusal } from "../communications/refusal.ts";
import { BackOff, type Patience, repeat } from "../user/repetition.ts";
import type { StoredObject } from "./wrapping.ts";

export interface Upload {
  readonly client: Client<typeof DataStorageService>;
  readonly packageId: string;
  readonly object: Pick<StoredObject, "size" | "sha256" | "from">;
  readonly patience: Patience;
  /** Told how many bytes have been sent, after every chunk. */
  readonly sent?: (bytes: number) => void;
}

/**
 * Resolves when the server has confirmed that all of it is stored. Starts where an earlier upload of the same bytes has come to.
 * @throws ConnectError of the server where it refuses for good, or stays away longer than patience lasts without any progress
 */
export async function uploadPackage(upload: Upload): Promise<void> {
  const { client, packageId, object, patience } = upload;
  const backOff = new BackOff(patience);
  let furthest = -1;
  for (;;) {
    const offset = await committedOffset(upload);
    if (offset === undefined) return;
    if (offset > furthest) backOff.reset();
    furthest = Math.max(furthest, offset);
    try {
      const stored = await client.storePackage(requests(upload, offset));
      if (stored.size !== BigInt(object.size) || Buffer.compare(stored.sha256, object.sha256) !== 0)
        throw refusal(ErrorReason.PACKAGE_DIGEST_MISMATCH, packageId);
      return;
    } catch (cause) {
      await backOff.after(passing(cause));
    }
  }
}

/** Where to begin, or nothing where all of it is stored already. @throws ConnectError PACKAGE_EXISTS where another package is */
async function committedOffset({ client, packageId, object, patience }: Upload): Promise<number | undefined> {
  const status = await repeat(patience, () => client.getPackageStatus({ packageId }));
  if (status.state === PackageState.REGISTERED) return 0;
  const same = status.size === BigInt(object.size) && Buffer.compare(status.sha256, object.sha256) === 0;
  if (!same) throw refusal(ErrorReason.PACKAGE_EXISTS, packageId);
  return status.state === PackageState.STORED ? undefined : Number(status.committedOffset);
}

async function* requests(
  { packageId, object, sent = () => {} }: Upload,
  offset: number,
): AsyncGenerator<MessageInitShape<typeof StorePackageRequestSchema>, void> {
  const { size, sha256 } = object;
  yield { part: { case: "open", value: { packageId, size: BigInt(size), sha256, offset: BigInt(offset) } } };
  let at = offset;
  for await (const data of object.from(offset)) {
    yield { part: { case: "data", value: data } };
    at += data.length;
    sent(at);
  }
}

/** The committed offset may have moved back over a crash of the server: that passes by asking for it again. */
function passing(cause: unknown): unknown {
  if (reasonOf(cause) !== ErrorReason.OFFSET_OUT_OF_RANGE) return cause;
  return new ConnectError("the committed offset has changed", Code.Unavailable, undefined, undefined, cause);
}
