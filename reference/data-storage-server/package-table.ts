// What the data storage server knows of each package (DSM1, DSM2): owner, management, readers, and how far its upload has come.
import { type Change, commit, jsonTable, put, remove, type Store, type Table } from "../store/durable-batch.ts";

/** How long ended registrations and deleted packages are remembered, so that their owner is told what became of them. */
const REMEMBERED_MS = 30 * 24 * 60 * 60_000;

/** Times in milliseconds since 1970. */
export interface PackageRow {
  readonly owner: string;
  readonly management: string;
  /** Empty for every authenticated user. */
  readonly readers: readonly string[];
  /** Of the registration, hexadecimal. */
  readonly requestId: string;
  readonly registeredAt: number;
  readonly expiresAt: number;
  readonly inUse: boolean;
  /** What was announced, and the bytes of it that are on disk. */
  readonly upload?: { readonly size: number; readonly sha256: string; readonly committed: number };
  /** Set once all bytes are there and verified. */
  readonly storedAt?: number;
  readonly deletedAt?: number;
}

export class PackageTable {
  readonly #store: Store;
  readonly #packages: Table<PackageRow>;
  /** Package id by owner and request id. */
  readonly #requests: Table<string>;

  constructor(store: Store) {
    this.#store = store;
    this.#packages = jsonTable(store, "packages");
    this.#requests = jsonTable(store, "requests");
  }

  get(packageId: string): Promise<PackageRow | undefined> {
    return this.#packages.get(packageId);
  }

  ids(): AsyncIterable<string> {
    return this.#packages.keys();
  }

  async byRequest(owner: string, requestId: string): Promise<{ packageId: string; row: PackageRow } | undefined> {
    const packageId = await this.#requests.get(requestName(owner, requestId));
    const row = packageId === undefined ? undefined : await this.get(packageId);
    return packageId === undefined || row === undefined ? undefined : { packageId, row };
  }

  /** Durable when it resolves. */
  async register(packageId: string, row: PackageRow): Promise<void> {
    const request = put(this.#requests, requestName(row.owner, row.requestId), packageId);
    await commit(this.#store, [put(this.#packages, packageId, row), request]);
  }

  /** Durable when it resolves. */
  async replace(packageId: string, row: PackageRow): Promise<void> {
    await commit(this.#store, [put(this.#packages, packageId, row)]);
  }

  /** Whether nothing of the package is remembered any longer. */
  forgettable(row: PackageRow, at: number): boolean {
    if (row.deletedAt !== undefined) return row.deletedAt + REMEMBERED_MS < at;
    return row.storedAt === undefined && row.expiresAt + REMEMBERED_MS < at;
  }

  async forget(packageId: string, { owner, requestId }: PackageRow): Promise<void> {
    const request = requestName(owner, requestId);
    const changes: Change[] = [remove(this.#packages, packageId)];
    // A later registration may have taken over the request id.
    if ((await this.#requests.get(request)) === packageId) changes.push(remove(this.#requests, request));
    await commit(this.#store, changes);
  }
}

/** Identities have no space in them. */
function requestName(owner: string, requestId: string): string {
  return `${owner} ${requestId}`;
}
