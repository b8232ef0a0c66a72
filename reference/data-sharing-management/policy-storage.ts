// Whether key and package of a policy are stored (F3.7, A1.7), asked of the servers that keep them. Addresses lead to servers only through
// the registry of entities: one that is not registered is never dialled.
import { type Client, Code, ConnectError } from "@connectrpc/connect";
import type { DataSharingInformation } from "../../gen/x1410/v1/data_sharing_pb.ts";
import { PendingStorage } from "../../gen/x1410/v1/data_sharing_policy_pb.ts";
import {
  type DataStorageService,
  type GetPackageStatusResponse,
  PackageState,
} from "../../gen/x1410/v1/data_storage_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { KeyState, type KeyStorageService } from "../../gen/x1410/v1/key_storage_pb.ts";
import { parseStorageAddress } from "../communications/address.ts";
import { KeyedMutex } from "../communications/keyed-mutex.ts";
import { reasonOf, refusal } from "../communications/refusal.ts";
import type { PolicyEntry, PolicyStore } from "./policy-store.ts";

/** The registered servers, by identity; undefined for an identity that is not in the registry. */
export interface StorageServers {
  keyServer(identity: string): Client<typeof KeyStorageService> | undefined;
  dataServer(identity: string): Client<typeof DataStorageService> | undefined;
}

/** How long a server may take to answer. */
const TIMEOUT_MS = 10_000;

export class PolicyStorage {
  readonly #servers: StorageServers;
  readonly #management: string;
  readonly #policies: PolicyStore;
  /** By storage address: marking and freeing never overtake each other. */
  readonly #uses = new KeyedMutex();

  constructor(options: { servers: StorageServers; management: string; policies: PolicyStore }) {
    this.#servers = options.servers;
    this.#management = options.management;
    this.#policies = options.policies;
  }

  /**
   * What is still to be stored.
   * @throws ConnectError ENTITY_NOT_REGISTERED; KEY_NOT_FOUND, PACKAGE_NOT_FOUND where the object is not the provider's or not meant for
   * this management; STORAGE_MISMATCH where a bare ciphertext (Annex A) is not what the information states; PEER_UNAVAILABLE
   */
  async pending(information: DataSharingInformation, withAccessPermission: boolean): Promise<PendingStorage[]> {
    // Both are looked up before either is asked.
    const keys = this.#keyServer(information);
    const data = this.#dataServer(information);
    const [key, stored] = await Promise.all([
      asked("key", keys.getKeyStatus({ keyId: information.keyId }, { timeoutMs: TIMEOUT_MS })),
      asked("package", data.getPackageStatus({ packageId: information.packageId }, { timeoutMs: TIMEOUT_MS })),
    ]);
    const provider = information.providerIdentity;
    if (key.ownerIdentity !== provider || key.managementIdentity !== this.#management) {
      throw refusal(ErrorReason.KEY_NOT_FOUND, information.keyId);
    }
    if (stored.ownerIdentity !== provider || stored.managementIdentity !== this.#management) {
      throw refusal(ErrorReason.PACKAGE_NOT_FOUND, information.packageId);
    }
    const packageStored = stored.state === PackageState.STORED;
    if (packageStored && !withAccessPermission) requireStated(information, stored);
    return [
      ...(key.state === KeyState.STORED ? [] : [PendingStorage.KEY]),
      ...(packageStored ? [] : [PendingStorage.PACKAGE]),
    ];
  }

  /**
   * Marks key and package as used by a live contract, so that neither goes away under it.
   * @throws ConnectError KEY_NOT_FOUND, KEY_NOT_STORED, PACKAGE_NOT_FOUND, PACKAGE_NOT_STORED, ENTITY_NOT_REGISTERED, PEER_UNAVAILABLE
   */
  async mark({ terms: { information } }: PolicyEntry): Promise<void> {
    await this.#setKeyUse(information, true);
    await this.#setPackageUse(information, true);
  }

  /**
   * Frees key and package, unless another live policy needs them. An object that is gone is free, as is one whose server has left the
   * network.
   * @throws ConnectError PEER_UNAVAILABLE
   */
  async free({ policyId, terms: { information } }: PolicyEntry): Promise<void> {
    const { keyAddress, packageAddress } = information;
    await this.#uses.run(keyAddress, async () => {
      if (await this.#policies.usedByOthers(keyAddress, policyId)) return;
      await unlessGone(this.#askKeyUse(information, false));
    });
    await this.#uses.run(packageAddress, async () => {
      if (await this.#policies.usedByOthers(packageAddress, policyId)) return;
      await unlessGone(this.#askPackageUse(information, false));
    });
  }

  #setKeyUse(information: DataSharingInformation, inUse: boolean) {
    return this.#uses.run(information.keyAddress, () => this.#askKeyUse(information, inUse));
  }

  #setPackageUse(information: DataSharingInformation, inUse: boolean) {
    return this.#uses.run(information.packageAddress, () => this.#askPackageUse(information, inUse));
  }

  async #askKeyUse(information: DataSharingInformation, inUse: boolean): Promise<void> {
    const server = this.#keyServer(information);
    await asked("key", server.setKeyUse({ keyId: information.keyId, inUse }, { timeoutMs: TIMEOUT_MS }));
  }

  async #askPackageUse(information: DataSharingInformation, inUse: boolean): Promise<void> {
    const server = this.#dataServer(information);
    await asked(
      "package",
      server.setPackageUse({ packageId: information.packageId, inUse }, { timeoutMs: TIMEOUT_MS }),
    );
  }

  #keyServer({ keyAddress }: DataSharingInformation): Client<typeof KeyStorageService> {
    const server = this.#servers.keyServer(parseStorageAddress(keyAddress).entity);
    if (server === undefined) throw refusal(ErrorReason.ENTITY_NOT_REGISTERED, "key_address");
    return server;
  }

  #dataServer({ packageAddress }: DataSharingInformation): Client<typeof DataStorageService> {
    const server = this.#servers.dataServer(parseStorageAddress(packageAddress).entity);
    if (server === undefined) throw refusal(ErrorReason.ENTITY_NOT_REGISTERED, "package_address");
    return server;
  }
}

/** Where an object is not there for this management, in the words of the servers. */
const absent: readonly ErrorReason[] = [
  ErrorReason.KEY_NOT_FOUND,
  ErrorReason.KEY_NOT_STORED,
  ErrorReason.PACKAGE_NOT_FOUND,
  ErrorReason.PACKAGE_NOT_STORED,
];

export function isAbsent(error: unknown): boolean {
  return absent.includes(reasonOf(error));
}

async function asked<T>(object: "key" | "package", call: Promise<T>): Promise<T> {
  try {
    return await call;
  } catch (error) {
    if (isAbsent(error)) throw refusal(reasonOf(error), object);
    if (reasonOf(error) === ErrorReason.UNSPECIFIED && ConnectError.from(error).code === Code.NotFound) {
      throw refusal(object === "key" ? ErrorReason.KEY_NOT_FOUND : ErrorReason.PACKAGE_NOT_FOUND, object);
    }
    throw refusal(ErrorReason.PEER_UNAVAILABLE, `${object} server`);
  }
}

async function unlessGone(call: Promise<void>): Promise<void> {
  try {
    await call;
  } catch (error) {
    if (!isAbsent(error) && reasonOf(error) !== ErrorReason.ENTITY_NOT_REGISTERED) throw error;
  }
}

/** In Annex A the stored object is the bare ciphertext, which the provider has signed for. */
function requireStated({ encryptedData }: DataSharingInformation, stored: GetPackageStatusResponse): void {
  const same =
    encryptedData !== undefined &&
    encryptedData.size === stored.size &&
    Buffer.compare(encryptedData.sha256, stored.sha256) === 0;
  if (!same) throw refusal(ErrorReason.STORAGE_MISMATCH, "encrypted_data");
}
