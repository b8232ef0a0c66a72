// A key storage server on a temporary directory, its callers, and two managements that issue tokens.
import { randomBytes } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import type { Client } from "@connectrpc/connect";
import { Level } from "level";
import { afterEach, beforeEach } from "vitest";
import { KeyStorageService, StoreKeyRequestSchema } from "../../gen/x1410/v1/key_storage_pb.ts";
import { bindDirect } from "../communications/direct-binding.ts";
import { type Log, silentLog } from "../communications/log.ts";
import type { Peer } from "../communications/peer.ts";
import { standardGuards } from "../communications/server.ts";
import { implement, type Registration } from "../communications/service.ts";
import { Clock, openDatabase, peerOf, temporaryDirectory } from "../store/entity.fixture.ts";
import type { KeyStorageLimits } from "./key-storage.ts";
import { createKeyStorageServer, type KeyStorageServer, ROTATION_ORDER } from "./server.ts";
import { KSS, TokenIssuer } from "./token.fixture.ts";

export const HOUR = 60 * 60_000;
export const DAY = 24 * HOUR;

export const alice = peerOf("urn:x1410:user:alice");
export const mallory = peerOf("urn:x1410:user:mallory");
export const carol = peerOf("urn:x1410:user:carol");
export const dssm = peerOf("urn:x1410:entity:dssm:one");
export const otherDssm = peerOf("urn:x1410:entity:dssm:two");

export let directory: Awaited<ReturnType<typeof temporaryDirectory>>;
export let clock: Clock;
export let issuer: TokenIssuer;
export let otherIssuer: TokenIssuer;
export let db: Level<string, string>;
export let server: KeyStorageServer;
export let introspection: "off" | "required";
let kekRotationMs: number;
let limits: Partial<KeyStorageLimits>;
/** Settles when the server of now has wrapped its keys anew, or could not. */
export let wrappedAnew: PromiseWithResolvers<"done" | "failed">;

/** Every test of the file has a server of its own. */
export function serverForEachTest(): void {
  beforeEach(async () => {
    directory = await temporaryDirectory();
    clock = new Clock();
    issuer = new TokenIssuer(dssm.identity, clock.now);
    otherIssuer = new TokenIssuer(otherDssm.identity, clock.now);
    introspection = "off";
    kekRotationMs = 90 * DAY;
    limits = {};
    await startServer();
  });
  afterEach(async () => {
    await stopServer();
    await directory.remove();
  });
}

export async function restartWith(given: Partial<KeyStorageLimits>): Promise<void> {
  limits = given;
  await restart();
}

/** For servers from the next start on. */
export function rotateEvery(milliseconds: number): void {
  kekRotationMs = milliseconds;
}

/** For servers from the next start on. */
export function requireIntrospection(): void {
  introspection = "required";
}

export async function startServer(): Promise<void> {
  db = await openDatabase(directory.path);
  wrappedAnew = Promise.withResolvers();
  const log: Log = {
    ...silentLog,
    info: (event) => event === "keys wrapped anew" && wrappedAnew.resolve("done"),
    error: (event) => event === "wrapping anew failed" && wrappedAnew.resolve("failed"),
  };
  server = await createKeyStorageServer({
    db,
    dataDirectory: directory.path,
    identity: KSS,
    registry: new Set([dssm.identity, otherDssm.identity]),
    tokenServices: (identity) => (identity === issuer.identity ? issuer : otherIssuer).client,
    now: clock.now,
    introspection,
    kekRotationMs,
    limits,
    log,
  });
  await server.start();
}

/** As an operator orders it, while the server runs. */
export async function orderRotation(): Promise<"done" | "failed"> {
  wrappedAnew = Promise.withResolvers();
  await writeFile(join(directory.path, ROTATION_ORDER), "");
  return wrappedAnew.promise;
}

export async function stopServer(): Promise<void> {
  await server.close();
  await db.close();
}

export async function restart(): Promise<void> {
  await stopServer();
  await startServer();
}

const guards = standardGuards({ registrations: [implement(KeyStorageService, {})] });

export function as(peer: Peer): Client<typeof KeyStorageService> {
  const registration = server.registrations.find(({ service }) => service === KeyStorageService);
  const client = bindDirect(registration as Registration<typeof KeyStorageService>, { peer, guards });
  // The server wipes the key that it is given. Over the wire that is a copy, here it would be the test's own.
  return {
    ...client,
    storeKey(request, options) {
      const { keyId, key } = create(StoreKeyRequestSchema, request);
      return client.storeKey({ keyId, key: key.slice() }, options);
    },
  };
}

/** Stands in for what the database does with a batch, until the next start. `proceed` does it. */
export function replaceBatch(batch: (proceed: () => Promise<void>) => Promise<void>): void {
  const write = Level.prototype.batch.bind(db) as (...operations: unknown[]) => Promise<void>;
  Object.assign(db, { batch: (...operations: unknown[]) => batch(() => write(...operations)) });
}

/** Stands in for what the database does with a read, until the next start. `proceed` does it. */
export function replaceGet(get: (proceed: () => Promise<unknown>) => Promise<unknown>): void {
  const read = Level.prototype.get.bind(db) as (...given: unknown[]) => Promise<unknown>;
  Object.assign(db, { get: (...given: unknown[]) => get(() => read(...given)) });
}

export const random = (size: number) => new Uint8Array(randomBytes(size));
export const register = (request: { requestId?: Uint8Array; managementIdentity?: string } = {}, owner = alice) =>
  as(owner).registerKey({ requestId: random(16), managementIdentity: dssm.identity, ...request });

export async function stored(key = random(32)): Promise<{ keyId: string; key: Uint8Array }> {
  const { keyId } = await register();
  await as(alice).storeKey({ keyId, key });
  return { keyId, key };
}

export const redeem = (accessToken: string, keyId: string, requestId = random(16), consumer = carol) =>
  as(consumer).getKey({ accessToken, keyId, requestId });

/** Rows as an attacker with the disk would see and change them. */
export function rows() {
  return db.sublevel("key-storage", {}).sublevel<string, Record<string, unknown>>("keys", { valueEncoding: "json" });
}

export async function row(keyId: string): Promise<Record<string, unknown>> {
  const found = await rows().get(keyId);
  if (found === undefined) throw new Error("no row");
  return found;
}
