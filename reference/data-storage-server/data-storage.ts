// Data storage management (DSM, clause 6.2.4): takes packages from providers (DSM1, DSM2), stores the ciphertext (DSM3), notifies (DSM4).
import { randomBytes } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import {
  DataStorageService,
  DeletePackageResponseSchema,
  GetPackageStatusResponseSchema,
  PackageState,
  type RegisterPackageRequest,
  RegisterPackageResponseSchema,
  SetPackageUseResponseSchema,
  StorePackageResponseSchema,
} from "../../gen/x1410/v1/data_storage_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { packageAddress } from "../communications/address.ts";
import type { EntityRegistry } from "../communications/entity-registry.ts";
import { KeyedMutex } from "../communications/keyed-mutex.ts";
import type { Log } from "../communications/log.ts";
import { peerKey } from "../communications/peer.ts";
import { refusal } from "../communications/refusal.ts";
import { implement, type Registration } from "../communications/service.ts";
import { Holdings } from "../store/holdings.ts";
import { hashBeginning, type PackageFiles } from "./package-files.ts";
import type { PackageRow, PackageTable } from "./package-table.ts";
import {
  isStored,
  type PackageUploadDependencies,
  receivePackage,
  registrationOver,
  withoutUpload,
} from "./package-upload.ts";
import { UploadTurns } from "./upload-turns.ts";

/** A registration that is not filled by then ends. */
export const REGISTRATION_LIFETIME_MS = 24 * 60 * 60_000;

/** For one identity. */
export interface DataStorageLimits {
  /** Registrations that are neither filled nor over. */
  readonly openRegistrations: number;
  /** Packages, and bytes of them, that are stored or on their way. */
  readonly storedPackages: number;
  readonly storedBytes: number;
  /** Of one package. */
  readonly packageBytes: number;
}

const GIB = 1024 ** 3;

/** Generous: what one user has is small, and what many make together is the operator's to judge. */
export const defaultDataStorageLimits: DataStorageLimits = {
  openRegistrations: 10_000,
  storedPackages: 100_000,
  storedBytes: 1024 * GIB,
  packageBytes: 64 * GIB,
};

export interface DataStorageDependencies {
  readonly table: PackageTable;
  readonly files: PackageFiles;
  /** The data storage server. */
  readonly identity: string;
  readonly registry: EntityRegistry;
  readonly limits: DataStorageLimits;
  readonly now: () => Date;
  readonly log: Log;
}

export interface DataStorage {
  readonly registration: Registration<typeof DataStorageService>;
  /** Brings rows and files into agreement after a crash. Before the first call is served. */
  reconcile(): Promise<void>;
  /** Counts what each identity holds. Before the first call is served. */
  count(): Promise<void>;
  /** Removes uploads whose registration has ended, and forgets what nobody can ask for any more. */
  sweep(): Promise<void>;
  /** Stops the uploads under way, each resumable. */
  stop(): Promise<void>;
}

export function createDataStorage(dependencies: DataStorageDependencies): DataStorage {
  const { table, files, identity, registry, limits, now, log } = dependencies;
  const { openRegistrations: registrations, storedPackages: objects, storedBytes: bytes, packageBytes } = limits;
  const holdings = new Holdings({ limits: { registrations, objects, bytes }, now });
  const turns = new UploadTurns();
  const requestMutex = new KeyedMutex();
  /** For the rows of stored packages; the upload part of a row belongs to whoever has the turn. */
  const rowMutex = new KeyedMutex();

  /** The row, to whoever `mayAsk`; to everyone else the package does not exist. */
  const find = async (packageId: string, mayAsk: (row: PackageRow) => boolean): Promise<PackageRow> => {
    const row = await table.get(packageId);
    if (row === undefined || row.deletedAt !== undefined || !mayAsk(row)) throw notFound(packageId);
    return row;
  };

  const register = async (owner: string, requestId: string, request: RegisterPackageRequest) => {
    const { managementIdentity: management, readers } = request;
    const earlier = await table.byRequest(owner, requestId);
    if (earlier !== undefined && earlier.row.deletedAt === undefined && !registrationOver(earlier.row, now())) {
      if (earlier.row.management === management && sameReaders(earlier.row.readers, readers)) return earlier;
      throw refusal(ErrorReason.REQUEST_ID_REUSED, "request_id");
    }
    if (!(await registry.has(management))) throw refusal(ErrorReason.ENTITY_NOT_REGISTERED, "management_identity");
    const registeredAt = now().getTime();
    const expiresAt = registeredAt + REGISTRATION_LIFETIME_MS;
    const packageId = randomBytes(16).toString("hex");
    const row: PackageRow = { owner, management, readers, requestId, registeredAt, expiresAt, inUse: false };
    holdings.register(owner, packageId, expiresAt);
    try {
      await table.register(packageId, row);
    } catch (cause) {
      holdings.endRegistration(owner, packageId);
      throw cause;
    }
    return { packageId, row };
  };

  const receiving: PackageUploadDependencies = { table, files, turns, holdings, packageBytes, now };
  const registration = implement(DataStorageService, {
    async registerPackage(request, context) {
      const owner = context.values.get(peerKey).identity;
      const requestId = Buffer.from(request.requestId).toString("hex");
      const { packageId, row } = await requestMutex.run(`${owner} ${requestId}`, () =>
        register(owner, requestId, request),
      );
      return create(RegisterPackageResponseSchema, {
        packageId,
        packageAddress: packageAddress(identity, packageId),
        expiresAt: timestampFromMs(row.expiresAt),
      });
    },

    async storePackage(requests, context) {
      const owner = context.values.get(peerKey).identity;
      const { upload, storedAt } = await receivePackage(receiving, owner, requests);
      return create(StorePackageResponseSchema, {
        storedAt: timestampFromMs(storedAt),
        size: BigInt(upload.size),
        sha256: bytesOf(upload.sha256),
      });
    },

    async getPackageStatus({ packageId }, context) {
      const caller = context.values.get(peerKey).identity;
      const row = await find(packageId, ({ owner, management }) => caller === owner || caller === management);
      if (registrationOver(row, now())) throw notFound(packageId);
      const { upload, storedAt } = row;
      return create(GetPackageStatusResponseSchema, {
        state: stateOf(row),
        ownerIdentity: row.owner,
        managementIdentity: row.management,
        inUse: row.inUse,
        ...(upload === undefined
          ? {}
          : {
              size: BigInt(upload.size),
              sha256: bytesOf(upload.sha256),
              committedOffset: BigInt(upload.committed),
            }),
        ...(storedAt === undefined ? {} : { storedAt: timestampFromMs(storedAt) }),
      });
    },

    async deletePackage({ packageId }, context) {
      const caller = context.values.get(peerKey).identity;
      const row = await table.get(packageId);
      if (row?.owner !== caller) throw notFound(packageId);
      await turns.takeOver(packageId, () =>
        rowMutex.run(packageId, async () => {
          const latest = await table.get(packageId);
          if (latest === undefined || latest.deletedAt !== undefined) return;
          if (latest.inUse) throw refusal(ErrorReason.OBJECT_IN_USE, packageId);
          // The row first: a file without a row is removed at the next start, a row without its file would be a loss.
          const { storedAt: _gone, ...rest } = withoutUpload(latest);
          await table.replace(packageId, { ...rest, deletedAt: now().getTime() });
          await files.remove(packageId);
          holdings.endRegistration(caller, packageId);
          holdings.release(caller, packageId);
        }),
      );
      return create(DeletePackageResponseSchema);
    },

    async setPackageUse({ packageId, inUse }, context) {
      const caller = context.values.get(peerKey).identity;
      await rowMutex.run(packageId, async () => {
        const row = await find(packageId, ({ management }) => caller === management);
        if (row.storedAt === undefined) throw refusal(ErrorReason.PACKAGE_NOT_STORED, packageId);
        if (row.inUse !== inUse) await table.replace(packageId, { ...row, inUse });
      });
      return create(SetPackageUseResponseSchema);
    },
  });

  /** A crash came between the rename of a verified file and its record, or the disk has lost what it had confirmed. */
  const reconcileUpload = async (packageId: string, row: PackageRow): Promise<void> => {
    if (row.upload === undefined) return files.remove(packageId);
    const { size, sha256, committed } = row.upload;
    const file = await files.openWhole(packageId);
    if (file !== undefined) {
      const digest = await hashBeginning(file, size).finally(() => file.close());
      if (digest.digest("hex") === sha256) {
        const whole = { size, sha256, committed: size };
        await table.replace(packageId, { ...row, upload: whole, storedAt: now().getTime() });
        return;
      }
      await files.removeWhole(packageId);
    }
    const left = Math.min(committed, await files.sizeOfPart(packageId));
    if (left === committed && left > 0) return;
    await table.replace(packageId, withoutUpload(row));
    await files.remove(packageId);
  };

  return {
    registration,
    async reconcile() {
      const known = new Set<string>();
      const present = await files.ids();
      for await (const packageId of table.ids()) {
        known.add(packageId);
        const row = await table.get(packageId);
        if (row === undefined || isStored(row)) continue;
        if (row.upload !== undefined || present.has(packageId)) await reconcileUpload(packageId, row);
      }
      // A row is forgotten only after its files, so this is no trace of a crash: perhaps another database belongs to these files.
      const unknown = [...present].filter((packageId) => !known.has(packageId)).length;
      if (unknown > 0) log.warn("package files without a row are left alone", { files: unknown });
    },
    async count() {
      const registered: { owner: string; id: string; expiresAt: number }[] = [];
      for await (const id of table.ids()) {
        const row = await table.get(id);
        if (row === undefined || row.deletedAt !== undefined) continue;
        const { owner, expiresAt, upload } = row;
        if (!isStored(row)) registered.push({ owner, id, expiresAt });
        if (upload !== undefined) holdings.recallObject(owner, id, upload.size);
      }
      holdings.recall(registered);
    },
    async sweep() {
      for await (const packageId of table.ids()) {
        await turns.ifFree(packageId, async () => {
          const row = await table.get(packageId);
          if (row === undefined || isStored(row)) return;
          if (row.upload !== undefined && registrationOver(row, now())) {
            await table.replace(packageId, withoutUpload(row));
            await files.removePart(packageId);
          }
          if (registrationOver(row, now())) holdings.release(row.owner, packageId);
          if (table.forgettable(row, now().getTime())) await table.forget(packageId, row);
        });
      }
    },
    stop: () => turns.stopAll(),
  };
}

function stateOf({ upload, storedAt }: PackageRow): PackageState {
  if (storedAt !== undefined) return PackageState.STORED;
  return upload === undefined || upload.committed === 0 ? PackageState.REGISTERED : PackageState.PARTIAL;
}

/** Whatever their order. The interface forbids duplicates. */
function sameReaders(left: readonly string[], right: readonly string[]): boolean {
  const set = new Set(left);
  return left.length === right.length && right.every((reader) => set.has(reader));
}

function bytesOf(hex: string): Uint8Array {
  return new Uint8Array(Buffer.from(hex, "hex"));
}

function notFound(packageId: string) {
  return refusal(ErrorReason.PACKAGE_NOT_FOUND, packageId);
}
