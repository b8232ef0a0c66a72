// Over real gRPC with mutual TLS, for what depends on the wire: broken connections, early answers, back-pressure.
import { join } from "node:path";
import { createClient } from "@connectrpc/connect";
import type { Level } from "level";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { DataDistributionService } from "../../gen/x1410/v1/data_distribution_pb.ts";
import { DataStorageService, PackageState } from "../../gen/x1410/v1/data_storage_pb.ts";
import { type ClosableTransport, grpcTransport } from "../communications/grpc-transport.ts";
import { type PkiFixture, pkiFixture } from "../communications/pki.fixture.ts";
import { type RunningServer, startServer } from "../communications/server.ts";
import { collect, openDatabase, refusalOf, temporaryDirectory } from "../store/entity.fixture.ts";
import { chunks, MIB, opening, random, type StoreMessage, sha256, stream } from "./data-storage-server.fixture.ts";
import { createDataStorageServer, type DataStorageServer } from "./server.ts";

const DSSM = "urn:x1410:entity:dssm:one";

let fixture: PkiFixture;
let identity: ReturnType<PkiFixture["issue"]>;
let alice: ReturnType<PkiFixture["issue"]>;
let directory: Awaited<ReturnType<typeof temporaryDirectory>>;
let db: Level<string, string>;
let entity: DataStorageServer;
let server: RunningServer;
let transport: ClosableTransport;

beforeAll(() => {
  fixture = pkiFixture();
  identity = fixture.issue("dss", "one");
  alice = fixture.issue("user", "alice");
});
afterAll(() => fixture.remove());

beforeEach(async () => {
  directory = await temporaryDirectory();
  db = await openDatabase(directory.path);
  entity = createDataStorageServer({
    db,
    dataDirectory: join(directory.path, "data"),
    identity: identity.identity,
    registry: new Set([DSSM]),
    now: () => new Date(),
  });
  await entity.start();
  const { credentials } = identity;
  server = await startServer({ name: "dss", credentials, registrations: entity.registrations });
  transport = grpcTransport({
    address: server.address,
    credentials: alice.credentials,
    serverIdentity: identity.identity,
  });
});
afterEach(async () => {
  transport.close();
  await server.close(200);
  await entity.close();
  await db.close();
  await directory.remove();
});

const storage = () => createClient(DataStorageService, transport);
const distribution = () => createClient(DataDistributionService, transport);
const register = () => storage().registerPackage({ requestId: random(16), managementIdentity: DSSM });
const status = (packageId: string) => storage().getPackageStatus({ packageId });

test("a package goes up and comes down whole", async () => {
  const content = random(9 * MIB + 1);
  const { packageId } = await register();
  await storage().storePackage(stream(opening(packageId, content), chunks(content)));
  const [, ...parts] = await collect(distribution().getPackage({ packageId, offset: 0n }));
  const received = Buffer.concat(parts.map(({ part }) => (part.case === "data" ? part.value : new Uint8Array())));
  expect(Buffer.compare(received, content)).toBe(0);
});

test("a client that vanishes leaves what it has sent, and goes on from there", async () => {
  const content = random(6 * MIB);
  const { packageId } = await register();
  const vanishing = new AbortController();
  async function* sending(): AsyncGenerator<StoreMessage> {
    yield opening(packageId, content);
    yield* [...chunks(content)].slice(0, 4);
    // Never ends by itself.
    await new Promise(() => undefined);
  }
  const upload = storage().storePackage(sending(), { signal: vanishing.signal });
  upload.catch(() => undefined);
  // Nothing tells from outside when four chunks have arrived but that they are there.
  await expect.poll(async () => (await status(packageId)).size).toBe(BigInt(6 * MIB));
  vanishing.abort();
  await expect(upload).rejects.toThrow();
  await expect.poll(async () => (await status(packageId)).state).not.toBe(PackageState.STORED);
  const { committedOffset } = await status(packageId);
  const offset = Number(committedOffset);
  await storage().storePackage(stream(opening(packageId, content, { offset }), chunks(content, offset)));
  const after = await status(packageId);
  expect(after.state).toBe(PackageState.STORED);
  expect(Buffer.compare(after.sha256, sha256(content))).toBe(0);
});

test("a client that resumes while its old stream hangs takes over at once", async () => {
  const content = random(4 * MIB);
  const { packageId } = await register();
  async function* hanging(): AsyncGenerator<StoreMessage> {
    yield opening(packageId, content);
    yield* [...chunks(content)].slice(0, 1);
    await new Promise(() => undefined);
  }
  const old = storage().storePackage(hanging());
  const told = refusalOf(old);
  await expect.poll(async () => (await status(packageId)).size).toBe(BigInt(4 * MIB));
  await storage().storePackage(stream(opening(packageId, content), chunks(content)));
  expect(await told).toBe("ALREADY_EXISTS PACKAGE_EXISTS");
});

test("an answer that needs no bytes comes before they are sent", async () => {
  const content = random(4 * MIB);
  const { packageId } = await register();
  await storage().storePackage(stream(opening(packageId, content), chunks(content)));
  async function* endless(announced: Uint8Array): AsyncGenerator<StoreMessage> {
    yield opening(packageId, announced);
    await new Promise(() => undefined);
  }
  expect((await storage().storePackage(endless(content))).size).toBe(BigInt(4 * MIB));
  const other = storage().storePackage(endless(random(4 * MIB)));
  expect(await refusalOf(other)).toBe("ALREADY_EXISTS PACKAGE_EXISTS");
});
