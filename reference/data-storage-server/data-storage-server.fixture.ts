// A data storage server on a temporary directory, its callers, and packages sent whole or in parts.
import { createHash, randomBytes } from "node:crypto";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Level } from "level";
import { afterEach, beforeEach, expect } from "vitest";
import { DataDistributionService } from "../../gen/x1410/v1/data_distribution_pb.ts";
import {
  DataStorageService,
  type GetPackageStatusResponse,
  type StorePackageRequestSchema,
} from "../../gen/x1410/v1/data_storage_pb.ts";
import { bindDirect } from "../communications/direct-binding.ts";
import type { Peer } from "../communications/peer.ts";
import { standardGuards } from "../communications/server.ts";
import { implement, type Registration } from "../communications/service.ts";
import { Clock, collect, openDatabase, peerOf, temporaryDirectory } from "../store/entity.fixture.ts";
import type { DataStorageLimits } from "./data-storage.ts";
import { createDataStorageServer, type DataStorageServer } from "./server.ts";

export const MIB = 1024 * 1024;
export const HOUR = 60 * 60_000;
export const DAY = 24 * HOUR;

export const alice = peerOf("urn:x1410:user:alice");
export const mallory = peerOf("urn:x1410:user:mallory");
export const carol = peerOf("urn:x1410:user:carol");
export const dssm = peerOf("urn:x1410:entity:dssm:one");
export const otherDssm = peerOf("urn:x1410:entity:dssm:two");

export let directory: Awaited<ReturnType<typeof temporaryDirectory>>;
export let clock: Clock;
export let db: Level<string, string>;
export let server: DataStorageServer;
let limits: Partial<DataStorageLimits>;

/** Every test of the file has a server of its own. */
export function serverForEachTest(): void {
  beforeEach(async () => {
    directory = await temporaryDirectory();
    clock = new Clock();
    limits = {};
    await startServer();
  });
  afterEach(async () => {
    await stopServer();
    await directory.remove();
  });
}

export async function startServer(): Promise<void> {
  db = await openDatabase(directory.path);
  server = createDataStorageServer({
    db,
    dataDirectory: directory.path,
    identity: "urn:x1410:entity:dss:one",
    registry: new Set([dssm.identity, otherDssm.identity]),
    limits,
    now: clock.now,
  });
  await server.start();
}

export async function stopServer(): Promise<void> {
  await server.close();
  await db.close();
}

export async function restart(): Promise<void> {
  await stopServer();
  await startServer();
}

export async function restartWith(given: Partial<DataStorageLimits>): Promise<void> {
  limits = given;
  await restart();
}

const guards = standardGuards({
  registrations: [implement(DataStorageService, {}), implement(DataDistributionService, {})],
});

export function storageAs(peer: Peer) {
  const [registration] = server.registrations;
  return bindDirect(registration as Registration<typeof DataStorageService>, { peer, guards });
}

export function distributionAs(peer: Peer) {
  const [, registration] = server.registrations;
  return bindDirect(registration as Registration<typeof DataDistributionService>, { peer, guards });
}

export const random = (size: number) => new Uint8Array(randomBytes(size));
export const sha256 = (content: Uint8Array) => new Uint8Array(createHash("sha256").update(content).digest());

type Registering = { requestId?: Uint8Array; managementIdentity?: string; readers?: string[] };
export const register = (request: Registering = {}, owner = alice) =>
  storageAs(owner).registerPackage({ requestId: random(16), managementIdentity: dssm.identity, ...request });

export type StoreMessage = MessageInitShape<typeof StorePackageRequestSchema>;
type Opening = { size?: number; sha256?: Uint8Array; offset?: number };

export function opening(
  packageId: string,
  content: Uint8Array,
  { size, offset = 0, ...other }: Opening = {},
): StoreMessage {
  const value = {
    packageId,
    size: BigInt(size ?? content.byteLength),
    sha256: sha256(content),
    offset: BigInt(offset),
  };
  return { part: { case: "open", value: { ...value, ...other } } };
}

export function* chunks(content: Uint8Array, from = 0, size = MIB): Generator<StoreMessage> {
  for (let offset = from; offset < content.byteLength; offset += size) {
    yield { part: { case: "data", value: content.subarray(offset, offset + size) } };
  }
}

export async function* stream(...parts: (StoreMessage | Iterable<StoreMessage>)[]): AsyncGenerator<StoreMessage> {
  for (const part of parts) {
    if (Symbol.iterator in part) yield* part;
    else yield part;
  }
}

export const store = (packageId: string, content: Uint8Array, options: Opening = {}, owner = alice) =>
  storageAs(owner).storePackage(
    stream(opening(packageId, content, options), chunks(content, Math.min(options.offset ?? 0, content.byteLength))),
  );

export async function stored(content: Uint8Array, request: Registering = {}): Promise<string> {
  const { packageId } = await register(request);
  await store(packageId, content);
  return packageId;
}

/** An upload that stops after `messages` until it is told to go on or break off. */
export function heldUpload(packageId: string, content: Uint8Array, messages: readonly StoreMessage[]) {
  const reached = Promise.withResolvers<void>();
  const released = Promise.withResolvers<readonly StoreMessage[]>();
  async function* sending(): AsyncGenerator<StoreMessage> {
    yield opening(packageId, content);
    yield* messages;
    reached.resolve();
    yield* await released.promise;
  }
  const outcome = storageAs(alice).storePackage(sending());
  outcome.catch(() => undefined);
  return {
    outcome,
    reached: reached.promise,
    goOn: (rest: readonly StoreMessage[]) => released.resolve(rest),
    breakOff: () => released.reject(new Error("connection lost")),
  };
}

/** Uploads `messages` and breaks off. */
export async function brokenOff(
  packageId: string,
  content: Uint8Array,
  messages: readonly StoreMessage[],
): Promise<void> {
  const upload = heldUpload(packageId, content, messages);
  await upload.reached;
  upload.breakOff();
  await expect(upload.outcome).rejects.toThrow();
}

export const status = (packageId: string, peer = alice): Promise<GetPackageStatusResponse> =>
  storageAs(peer).getPackageStatus({ packageId });

export async function fetched(packageId: string, peer = carol, offset = 0): Promise<Uint8Array> {
  const [first, ...rest] = await collect(distributionAs(peer).getPackage({ packageId, offset: BigInt(offset) }));
  expect(first?.part.case).toBe("description");
  return Buffer.concat(rest.map(({ part }) => (part.case === "data" ? part.value : new Uint8Array(0))));
}

export const fetching = (packageId: string, peer = carol, offset = 0n) =>
  collect(distributionAs(peer).getPackage({ packageId, offset }));

export const folder = () => join(directory.path, "packages");
export const files = () => readdir(folder());
