// A package registered and stored: the state from which data storage and data distribution are tested.
import { createHash } from "node:crypto";
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Client } from "@connectrpc/connect";
import { DataDistributionService, type PackageDescription } from "../../gen/x1410/v1/data_distribution_pb.ts";
import { DataStorageService, type StorePackageRequestSchema } from "../../gen/x1410/v1/data_storage_pb.ts";
import type { User } from "../roles/user.ts";
import type { TestCase } from "../test-case.ts";

type UploadPart = MessageInitShape<typeof StorePackageRequestSchema>;

export function dataStorage(user: User): Client<typeof DataStorageService> {
  return user.client(DataStorageService, "dss");
}

export interface Registration {
  /** Default: the management of the stage. */
  readonly management?: string;
  readonly readers?: readonly string[];
  readonly requestId?: Uint8Array;
}

/** Registers a package of the provider. It is deleted afterwards. */
export async function registeredPackage(
  t: TestCase,
  { management = t.target.entities.dssm.identity, readers = [], requestId = t.random(16) }: Registration = {},
): Promise<{ readonly packageId: string; readonly address: string }> {
  const dss = dataStorage(t.provider);
  const { packageId, packageAddress: address } = await dss.registerPackage({
    requestId,
    managementIdentity: management,
    readers: [...readers],
  });
  t.cleanUp(() => dss.deletePackage({ packageId }));
  return { packageId, address };
}

/** Registers and stores `bytes`. */
export async function storedPackage(t: TestCase, bytes: Uint8Array, registration?: Registration): Promise<string> {
  const { packageId } = await registeredPackage(t, registration);
  await dataStorage(t.provider).storePackage(upload(packageId, bytes));
  return packageId;
}

export interface Announced {
  readonly size?: bigint;
  readonly sha256?: Uint8Array;
  readonly offset?: bigint;
}

/** An upload in parts of `partBytes`, from the offset on; `announced` is what it says otherwise than the truth. */
export async function* upload(
  packageId: string,
  bytes: Uint8Array,
  announced: Announced = {},
  partBytes = 1 << 20,
): AsyncGenerator<UploadPart> {
  const { offset = 0n, size = BigInt(bytes.length), sha256: digest = sha256(bytes) } = announced;
  yield { part: { case: "open", value: { packageId, size, sha256: digest, offset } } };
  for (let at = Math.min(Number(offset), bytes.length); at < bytes.length; at += partBytes)
    yield { part: { case: "data", value: bytes.subarray(at, at + partBytes) } };
}

export async function* parts(...list: readonly UploadPart[]): AsyncGenerator<UploadPart> {
  yield* list;
}

export interface Download {
  readonly description: PackageDescription | undefined;
  readonly bytes: Uint8Array;
  /** Whether the description came first, and once. */
  readonly inOrder: boolean;
}

/** F4.15.2 to F4.17, from an offset on. */
export async function download(user: User, packageId: string, offset = 0n): Promise<Download> {
  const cases: string[] = [];
  const data: Uint8Array[] = [];
  let description: PackageDescription | undefined;
  const stream = user.client(DataDistributionService, "dss").getPackage({ packageId, offset });
  for await (const { part } of stream) {
    cases.push(part.case ?? "");
    if (part.case === "description") description = part.value;
    else if (part.case === "data") data.push(part.value);
  }
  const inOrder = cases[0] === "description" && cases.lastIndexOf("description") === 0;
  return { description, bytes: new Uint8Array(Buffer.concat(data)), inOrder };
}

export function sha256(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(createHash("sha256").update(bytes).digest());
}
