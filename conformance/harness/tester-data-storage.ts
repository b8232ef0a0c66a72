// The tester's data storage server: keeps packages in memory for managements and users under test, and answers wrongly where a purpose
// has it do so. It is written from the interface alone and shares no code with the reference's.
import { createHash, randomBytes } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { HandlerContext } from "@connectrpc/connect";
import { DataDistributionService, GetPackageResponseSchema } from "../../gen/x1410/v1/data_distribution_pb.ts";
import {
  DataStorageService,
  GetPackageStatusResponseSchema,
  PackageState,
  type StorePackageRequest,
} from "../../gen/x1410/v1/data_storage_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { packageAddress } from "../../reference/communications/address.ts";
import { peerKey } from "../../reference/communications/peer.ts";
import { refusal } from "../../reference/communications/refusal.ts";
import { implement, type Registration } from "../../reference/communications/service.ts";

/** What GetPackageStatus says otherwise than the truth. */
export type PackageStatusFault = "absent" | "unavailable" | { readonly owner: string };

const CHUNK_BYTES = 1 << 20;

interface StoredPackage {
  readonly owner: string;
  readonly management: string;
  readonly readers: readonly string[];
  bytes: Uint8Array | undefined;
  storedAt: Date | undefined;
  inUse: boolean;
}

export class TesterDataStorage {
  readonly identity: string;
  readonly #packages = new Map<string, StoredPackage>();
  readonly #requests = new Map<string, { readonly packageId: string; readonly management: string }>();
  readonly #faults = new Map<string, PackageStatusFault>();
  readonly #statusCallers = new Map<string, string[]>();

  constructor(identity: string) {
    this.identity = identity;
  }

  /** Lies about the package in GetPackageStatus from now on; `undefined` tells the truth again. */
  lie(packageId: string, fault: PackageStatusFault | undefined): void {
    if (fault === undefined) this.#faults.delete(packageId);
    else this.#faults.set(packageId, fault);
  }

  /** Hands out other bytes than were stored from now on. */
  substitute(packageId: string, bytes: Uint8Array): void {
    const row = this.#packages.get(packageId);
    if (row === undefined) throw new Error(`no package ${packageId}`);
    row.bytes = bytes;
  }

  /** Who has asked GetPackageStatus about the package, in order. */
  statusCallers(packageId: string): readonly string[] {
    return this.#statusCallers.get(packageId) ?? [];
  }

  /** Whether a management has marked the package as used by a live contract. */
  inUse(packageId: string): boolean {
    return this.#packages.get(packageId)?.inUse ?? false;
  }

  get registrations(): readonly Registration[] {
    return [this.#storage(), this.#distribution()];
  }

  #storage(): Registration<typeof DataStorageService> {
    return implement(DataStorageService, {
      registerPackage: ({ requestId, managementIdentity, readers }, context) => {
        const owner = callerOf(context);
        const request = `${owner} ${Buffer.from(requestId).toString("hex")}`;
        const known = this.#requests.get(request);
        if (known !== undefined && known.management !== managementIdentity)
          throw refusal(ErrorReason.REQUEST_ID_REUSED);
        const packageId = known?.packageId ?? randomBytes(16).toString("hex");
        if (known === undefined) {
          this.#requests.set(request, { packageId, management: managementIdentity });
          const empty = { bytes: undefined, storedAt: undefined, inUse: false };
          this.#packages.set(packageId, { owner, management: managementIdentity, readers, ...empty });
        }
        const expiresAt = timestampFromDate(new Date(Date.now() + 24 * 60 * 60_000));
        return { packageId, packageAddress: packageAddress(this.identity, packageId), expiresAt };
      },
      storePackage: (requests, context) => this.#store(requests, context),
      getPackageStatus: ({ packageId }, context) => this.#status(packageId, callerOf(context)),
      deletePackage: ({ packageId }, context) => {
        const row = this.#owned(packageId, context);
        if (row.inUse) throw refusal(ErrorReason.OBJECT_IN_USE);
        this.#packages.delete(packageId);
        return {};
      },
      setPackageUse: ({ packageId, inUse }, context) => {
        const row = this.#packages.get(packageId);
        if (row?.management !== callerOf(context)) throw refusal(ErrorReason.PACKAGE_NOT_FOUND);
        if (row.bytes === undefined) throw refusal(ErrorReason.PACKAGE_NOT_STORED);
        row.inUse = inUse;
        return {};
      },
    });
  }

  #distribution(): Registration<typeof DataDistributionService> {
    const packages = this.#packages;
    return implement(DataDistributionService, {
      async *getPackage({ packageId, offset }, context) {
        const row = packages.get(packageId);
        const open = row !== undefined && (row.readers.length === 0 || row.readers.includes(callerOf(context)));
        if (!open && row?.owner !== callerOf(context)) throw refusal(ErrorReason.PACKAGE_NOT_FOUND);
        if (row?.bytes === undefined) throw refusal(ErrorReason.PACKAGE_NOT_STORED);
        const { bytes } = row;
        if (offset > BigInt(bytes.length)) throw refusal(ErrorReason.OFFSET_OUT_OF_RANGE);
        const description = { size: BigInt(bytes.length), sha256: sha256(bytes), offset };
        yield create(GetPackageResponseSchema, { part: { case: "description", value: description } });
        for (let at = Number(offset); at < bytes.length; at += CHUNK_BYTES)
          yield create(GetPackageResponseSchema, {
            part: { case: "data", value: bytes.subarray(at, at + CHUNK_BYTES) },
          });
      },
    });
  }

  /** Nothing of a broken upload is kept: whoever resumes starts again from the committed offset, 0. */
  async #store(requests: AsyncIterable<StorePackageRequest>, context: HandlerContext) {
    let row: StoredPackage | undefined;
    let announced: { readonly size: bigint; readonly sha256: Uint8Array } | undefined;
    const parts: Uint8Array[] = [];
    for await (const { part } of requests) {
      if (part.case === "open") {
        if (announced !== undefined) throw refusal(ErrorReason.REQUEST_INVALID, "open");
        row = this.#owned(part.value.packageId, context);
        if (part.value.offset !== 0n) throw refusal(ErrorReason.OFFSET_OUT_OF_RANGE);
        announced = part.value;
      } else if (part.case === "data") parts.push(part.value);
    }
    if (row === undefined || announced === undefined) throw refusal(ErrorReason.REQUEST_INVALID, "open");
    const bytes = new Uint8Array(Buffer.concat(parts));
    const digest = sha256(bytes);
    if (BigInt(bytes.length) !== announced.size || Buffer.compare(digest, announced.sha256) !== 0)
      throw refusal(ErrorReason.PACKAGE_DIGEST_MISMATCH);
    if (row.bytes !== undefined && Buffer.compare(sha256(row.bytes), digest) !== 0)
      throw refusal(ErrorReason.PACKAGE_EXISTS);
    row.bytes ??= bytes;
    row.storedAt ??= new Date();
    return { storedAt: timestampFromDate(row.storedAt), size: BigInt(bytes.length), sha256: digest };
  }

  #status(packageId: string, caller: string) {
    const row = this.#packages.get(packageId);
    if (row === undefined || (caller !== row.owner && caller !== row.management))
      throw refusal(ErrorReason.PACKAGE_NOT_FOUND);
    this.#statusCallers.set(packageId, [...this.statusCallers(packageId), caller]);
    const fault = this.#faults.get(packageId);
    if (fault === "absent") throw refusal(ErrorReason.PACKAGE_NOT_FOUND);
    if (fault === "unavailable") throw refusal(ErrorReason.PEER_UNAVAILABLE);
    const size = BigInt(row.bytes?.length ?? 0);
    return create(GetPackageStatusResponseSchema, {
      state: row.bytes === undefined ? PackageState.REGISTERED : PackageState.STORED,
      ownerIdentity: fault?.owner ?? row.owner,
      managementIdentity: row.management,
      inUse: row.inUse,
      size,
      committedOffset: size,
      ...(row.bytes && { sha256: sha256(row.bytes) }),
      ...(row.storedAt && { storedAt: timestampFromDate(row.storedAt) }),
    });
  }

  /** A user's own package; another's is answered as none. */
  #owned(packageId: string, context: HandlerContext): StoredPackage {
    const row = this.#packages.get(packageId);
    if (row === undefined || row.owner !== callerOf(context)) throw refusal(ErrorReason.PACKAGE_NOT_FOUND);
    return row;
  }
}

function callerOf(context: HandlerContext): string {
  return context.values.get(peerKey).identity;
}

function sha256(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(createHash("sha256").update(bytes).digest());
}
