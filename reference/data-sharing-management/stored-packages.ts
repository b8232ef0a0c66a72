// What a consumer is told about a stored package before it asks for it (C5, F4.11, A2.8): size and SHA-256 of the whole object.
import type { Client } from "@connectrpc/connect";
import type { DataStorageService } from "../../gen/x1410/v1/data_storage_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { parseStorageAddress } from "../communications/address.ts";
import { refusal } from "../communications/refusal.ts";
import type { SharedContract } from "./contracts.ts";

/** Packages remembered; a stored package never changes, so nothing remembered goes stale. */
const REMEMBERED = 10_000;

/** How long a server may take to answer. */
const TIMEOUT_MS = 10_000;

export interface StoredPackage {
  readonly size: bigint;
  readonly sha256: Uint8Array;
}

/** The registered data storage servers, by identity; undefined for an identity that is not in the registry. */
export interface DataStorageServers {
  dataServer(identity: string): Pick<Client<typeof DataStorageService>, "getPackageStatus"> | undefined;
}

/**
 * Answers what is stored for a contract. In Annex A the signed information states it; a package with metadata is asked of its server, once.
 * @throws ConnectError PEER_UNAVAILABLE
 */
export function storedPackages(servers: DataStorageServers): (contract: SharedContract) => Promise<StoredPackage> {
  const known = new Map<string, StoredPackage>();
  return async ({ information, accessPermission }) => {
    const { packageAddress, packageId, encryptedData } = information;
    if (accessPermission === undefined && encryptedData !== undefined) return encryptedData;
    const remembered = known.get(packageAddress);
    if (remembered !== undefined) return remembered;
    const { entity } = parseStorageAddress(packageAddress);
    let stored: StoredPackage | undefined;
    try {
      stored = await servers.dataServer(entity)?.getPackageStatus({ packageId }, { timeoutMs: TIMEOUT_MS });
    } catch {
      // Whatever the server's reason is, the consumer can only ask again later.
    }
    if (stored === undefined || stored.sha256.length === 0) throw refusal(ErrorReason.PEER_UNAVAILABLE, entity);
    const { size, sha256 } = stored;
    const [oldest] = known.keys();
    if (known.size >= REMEMBERED && oldest !== undefined) known.delete(oldest);
    known.set(packageAddress, { size, sha256 });
    return { size, sha256 };
  };
}
