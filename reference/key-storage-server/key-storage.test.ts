import { randomBytes } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { timestampDate } from "@bufbuild/protobuf/wkt";
import type { Client } from "@connectrpc/connect";
import type { Level } from "level";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { KeyState, KeyStorageService } from "../../gen/x1410/v1/key_storage_pb.ts";
import { bindDirect } from "../communications/direct-binding.ts";
import { type Log, silentLog } from "../communications/log.ts";
import type { Peer } from "../communications/peer.ts";
import { standardGuards } from "../communications/server.ts";
import { implement, type Registration } from "../communications/service.ts";
import { Clock, openDatabase, peerOf, refusalOf, temporaryDirectory } from "../store/entity.fixture.ts";
import { createKeyStorageServer, type KeyStorageServer } from "./server.ts";
import { KSS, TokenIssuer } from "./token.fixture.ts";

const HOUR = 60 * 60_000;
const DAY = 24 * HOUR;

const alice = peerOf("urn:x1410:user:alice");
const mallory = peerOf("urn:x1410:user:mallory");
const carol = peerOf("urn:x1410:user:carol");
const dssm = peerOf("urn:x1410:entity:dssm:one");
const otherDssm = peerOf("urn:x1410:entity:dssm:two");

let directory: Awaited<ReturnType<typeof temporaryDirectory>>;
let clock: Clock;
let issuer: TokenIssuer;
let otherIssuer: TokenIssuer;
let db: Level<string, string>;
let server: KeyStorageServer;
let introspection: "off" | "required";
/** Settles when the server of now has wrapped its keys anew. */
let wrappedAnew: PromiseWithResolvers<void>;

beforeEach(async () => {
  directory = await temporaryDirectory();
  clock = new Clock();
  issuer = new TokenIssuer(dssm.identity, clock.now);
  otherIssuer = new TokenIssuer(otherDssm.identity, clock.now);
  introspection = "off";
  await startServer();
});
afterEach(async () => {
  await stopServer();
  await directory.remove();
});

async function startServer(): Promise<void> {
  db = await openDatabase(directory.path);
  wrappedAnew = Promise.withResolvers();
  const log: Log = { ...silentLog, info: (event) => event === "keys wrapped anew" && wrappedAnew.resolve() };
  server = await createKeyStorageServer({
    db,
    dataDirectory: directory.path,
    identity: KSS,
    registry: new Set([dssm.identity, otherDssm.identity]),
    tokenServices: (identity) => (identity === issuer.identity ? issuer : otherIssuer).client,
    now: clock.now,
    introspection,
    log,
  });
  await server.start();
}

async function stopServer(): Promise<void> {
  await server.close();
  await db.close();
}

async function restart(): Promise<void> {
  await stopServer();
  await startServer();
}

const guards = standardGuards({ registrations: [implement(KeyStorageService, {})] });

function as(peer: Peer): Client<typeof KeyStorageService> {
  const registration = server.registrations.find(({ service }) => service === KeyStorageService);
  return bindDirect(registration as Registration<typeof KeyStorageService>, { peer, guards });
}

/** Stands in for what the database does with a batch, until the next start. */
function replaceBatch(batch: (...operations: unknown[]) => Promise<void>): void {
  Object.assign(db, { batch });
}

const random = (size: number) => new Uint8Array(randomBytes(size));
const register = (request: { requestId?: Uint8Array; managementIdentity?: string } = {}, owner = alice) =>
  as(owner).registerKey({ requestId: random(16), managementIdentity: dssm.identity, ...request });

async function stored(key = random(32)): Promise<{ keyId: string; key: Uint8Array }> {
  const { keyId } = await register();
  await as(alice).storeKey({ keyId, key });
  return { keyId, key };
}

const redeem = (accessToken: string, keyId: string, requestId = random(16), consumer = carol) =>
  as(consumer).getKey({ accessToken, keyId, requestId });

/** Rows as an attacker with the disk would see and change them. */
function rows() {
  return db.sublevel("key-storage", {}).sublevel<string, Record<string, unknown>>("keys", { valueEncoding: "json" });
}

async function row(keyId: string): Promise<Record<string, unknown>> {
  const found = await rows().get(keyId);
  if (found === undefined) throw new Error("no row");
  return found;
}

describe("RegisterKey (F3.2.2)", () => {
  test("answers id, address and end", async () => {
    const { keyId, keyAddress, expiresAt } = await register();
    expect(keyId).toMatch(/^[0-9a-f]{32}$/);
    expect(keyAddress).toBe(`x1410://kss.one/keys/${keyId}`);
    expect(expiresAt && timestampDate(expiresAt).getTime()).toBe(clock.now().getTime() + DAY);
  });

  test("the same request gets the same answer, also at once and after a restart", async () => {
    const requestId = random(16);
    const [first, second] = await Promise.all([register({ requestId }), register({ requestId })]);
    expect(second).toEqual(first);
    await restart();
    expect(await register({ requestId })).toEqual(first);
    expect((await register({ requestId }, mallory)).keyId).not.toBe(first.keyId);
  });

  test("the same request id with another management is refused", async () => {
    const requestId = random(16);
    await register({ requestId });
    const other = register({ requestId, managementIdentity: otherDssm.identity });
    expect(await refusalOf(other)).toBe("ALREADY_EXISTS REQUEST_ID_REUSED");
  });

  test("a management outside the registry is refused", async () => {
    const unknown = register({ managementIdentity: "urn:x1410:entity:dssm:unknown" });
    expect(await refusalOf(unknown)).toBe("FAILED_PRECONDITION ENTITY_NOT_REGISTERED");
  });

  test("a request that breaks a rule is refused", async () => {
    expect(await refusalOf(register({ requestId: random(15) }))).toBe("INVALID_ARGUMENT REQUEST_INVALID");
    expect(await refusalOf(register({}, dssm))).toBe("PERMISSION_DENIED CALLER_NOT_ALLOWED");
  });
});

describe("StoreKey (F3.7.2)", () => {
  test("the same key again is confirmed, another one is refused", async () => {
    const { keyId } = await register();
    const key = random(32);
    const first = await as(alice).storeKey({ keyId, key });
    clock.advance(HOUR);
    await restart();
    expect(await as(alice).storeKey({ keyId, key })).toEqual(first);
    expect(await refusalOf(as(alice).storeKey({ keyId, key: random(32) }))).toBe("ALREADY_EXISTS KEY_EXISTS");
  });

  test("of two keys at once exactly one is stored", async () => {
    const { keyId } = await register();
    const outcomes = await Promise.allSettled([1, 2].map(() => as(alice).storeKey({ keyId, key: random(32) })));
    expect(outcomes.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
  });

  test("an absent id and another owner's are the same", async () => {
    const { keyId } = await register();
    expect(await refusalOf(as(mallory).storeKey({ keyId, key: random(32) }))).toBe("NOT_FOUND KEY_NOT_FOUND");
    const absent = as(alice).storeKey({ keyId: "0".repeat(32), key: random(32) });
    expect(await refusalOf(absent)).toBe("NOT_FOUND KEY_NOT_FOUND");
    await as(alice).storeKey({ keyId, key: random(32) });
  });

  test("a registration that was not filled in time is over", async () => {
    const requestId = random(16);
    const { keyId } = await register({ requestId });
    const late = await register();
    clock.advance(DAY - 1);
    await as(alice).storeKey({ keyId, key: random(32) });
    clock.advance(1);
    const store = () => as(alice).storeKey({ keyId: late.keyId, key: random(32) });
    expect(await refusalOf(store())).toBe("FAILED_PRECONDITION REGISTRATION_EXPIRED");
    await restart();
    expect(await refusalOf(store())).toBe("FAILED_PRECONDITION REGISTRATION_EXPIRED");
    expect(await refusalOf(as(alice).getKeyStatus({ keyId: late.keyId }))).toBe("NOT_FOUND KEY_NOT_FOUND");
    clock.advance(31 * DAY);
    await restart();
    expect(await refusalOf(store())).toBe("NOT_FOUND KEY_NOT_FOUND");
    expect((await as(alice).getKeyStatus({ keyId })).state).toBe(KeyState.STORED);
  });

  test.each(["../x", "a/b", `${"a".repeat(31)}\u0000`, "%2f".repeat(10), "A".repeat(32), ""])(
    "%j is no id",
    async (keyId) => {
      const store = as(alice).storeKey({ keyId, key: random(32) });
      expect(await refusalOf(store)).toBe("INVALID_ARGUMENT REQUEST_INVALID");
    },
  );

  test("no file of the server holds the key", async () => {
    const { key } = await stored();
    await stopServer();
    const files = await readdir(directory.path, { recursive: true, withFileTypes: true });
    for (const file of files.filter((entry) => entry.isFile())) {
      const content = await readFile(join(file.parentPath, file.name));
      for (const encoding of ["hex", "base64", "latin1"] as const) {
        expect(content.includes(Buffer.from(key).toString(encoding), 0, "latin1")).toBe(false);
      }
    }
    await startServer();
  });
});

describe("GetKeyStatus (KSM4)", () => {
  test("answers owner and named management, nobody else", async () => {
    const { keyId } = await register();
    const status = await as(dssm).getKeyStatus({ keyId });
    expect(status).toMatchObject({
      state: KeyState.REGISTERED,
      ownerIdentity: alice.identity,
      managementIdentity: dssm.identity,
      inUse: false,
    });
    expect(status.storedAt).toBeUndefined();
    await as(alice).storeKey({ keyId, key: random(32) });
    const after = await as(alice).getKeyStatus({ keyId });
    expect(after.state).toBe(KeyState.STORED);
    expect(after.storedAt && timestampDate(after.storedAt)).toEqual(clock.now());
    for (const stranger of [mallory, otherDssm]) {
      expect(await refusalOf(as(stranger).getKeyStatus({ keyId }))).toBe("NOT_FOUND KEY_NOT_FOUND");
    }
  });
});

describe("SetKeyUse, DeleteKey", () => {
  test("a key in use stays; freed, it goes for good", async () => {
    const { keyId } = await stored();
    await as(dssm).setKeyUse({ keyId, inUse: true });
    await as(dssm).setKeyUse({ keyId, inUse: true });
    await restart();
    expect((await as(dssm).getKeyStatus({ keyId })).inUse).toBe(true);
    expect(await refusalOf(as(alice).deleteKey({ keyId }))).toBe("FAILED_PRECONDITION OBJECT_IN_USE");
    await as(dssm).setKeyUse({ keyId, inUse: false });
    await as(alice).deleteKey({ keyId });
    await as(alice).deleteKey({ keyId });
    expect(await refusalOf(as(mallory).deleteKey({ keyId }))).toBe("NOT_FOUND KEY_NOT_FOUND");
    expect(await refusalOf(as(alice).getKeyStatus({ keyId }))).toBe("NOT_FOUND KEY_NOT_FOUND");
    expect(await refusalOf(as(alice).storeKey({ keyId, key: random(32) }))).toBe("NOT_FOUND KEY_NOT_FOUND");
    expect(await refusalOf(as(dssm).setKeyUse({ keyId, inUse: true }))).toBe("NOT_FOUND KEY_NOT_FOUND");
    expect(JSON.stringify(await row(keyId))).not.toContain("wrapped");
  });

  test("only the named management marks, and only what is stored", async () => {
    const { keyId } = await register();
    expect(await refusalOf(as(dssm).setKeyUse({ keyId, inUse: true }))).toBe("FAILED_PRECONDITION KEY_NOT_STORED");
    await as(alice).storeKey({ keyId, key: random(32) });
    expect(await refusalOf(as(otherDssm).setKeyUse({ keyId, inUse: true }))).toBe("NOT_FOUND KEY_NOT_FOUND");
    expect(await refusalOf(as(alice).setKeyUse({ keyId, inUse: true }))).toBe("PERMISSION_DENIED CALLER_NOT_ALLOWED");
    expect(await refusalOf(as(mallory).deleteKey({ keyId }))).toBe("NOT_FOUND KEY_NOT_FOUND");
    await as(dssm).setKeyUse({ keyId, inUse: true });
  });

  test("a deleted key's request id registers anew", async () => {
    const requestId = random(16);
    const { keyId } = await register({ requestId });
    await as(alice).deleteKey({ keyId });
    expect((await register({ requestId })).keyId).not.toBe(keyId);
  });
});

describe("GetKey (F4.12.2 to F4.14)", () => {
  test("the token's key comes, and comes again for the same request, also after a restart", async () => {
    const { keyId, key } = await stored();
    const token = await issuer.issue({ keyId, consumer: carol });
    const requestId = random(16);
    expect((await redeem(token, keyId, requestId)).key).toEqual(key);
    expect((await redeem(token, keyId, requestId)).key).toEqual(key);
    await restart();
    expect((await redeem(token, keyId, requestId)).key).toEqual(key);
    expect(await refusalOf(redeem(token, keyId))).toBe("FAILED_PRECONDITION TOKEN_REDEEMED");
    clock.advance(6 * 60_000);
    expect(await refusalOf(redeem(token, keyId, requestId))).toBe("UNAUTHENTICATED TOKEN_EXPIRED");
  });

  test("of 100 redemptions at once exactly one gets the key", async () => {
    const { keyId } = await stored();
    const token = await issuer.issue({ keyId, consumer: carol });
    const outcomes = await Promise.all(
      Array.from({ length: 100 }, () =>
        redeem(token, keyId).then(
          () => "key",
          (cause: unknown) => refusalOf(Promise.reject(cause)),
        ),
      ),
    );
    expect(outcomes.filter((outcome) => outcome === "key")).toHaveLength(1);
    expect(outcomes.filter((outcome) => outcome === "FAILED_PRECONDITION TOKEN_REDEEMED")).toHaveLength(99);
  });

  test("token ids are an issuer's own: two issuers may draw the same one", async () => {
    const first = await stored();
    const { keyId } = await register({ managementIdentity: otherDssm.identity });
    await as(alice).storeKey({ keyId, key: random(32) });
    const jti = "7".repeat(32);
    await redeem(await issuer.issue({ keyId: first.keyId, consumer: carol }, { jti }), first.keyId);
    await redeem(await otherIssuer.issue({ keyId, consumer: carol }, { jti }), keyId);
  });

  test("no key leaves without its record on disk; the crash between record and answer costs nothing", async () => {
    const { keyId, key } = await stored();
    const token = await issuer.issue({ keyId, consumer: carol });
    const requestId = random(16);
    const { batch } = db;
    replaceBatch(() => Promise.reject(new Error("disk full")));
    expect(await refusalOf(redeem(token, keyId, requestId))).toBe("INTERNAL INTERNAL_FAULT");
    // Written, but the process dies before it can answer.
    replaceBatch(async (...operations) => {
      await Reflect.apply(batch, db, operations);
      throw new Error("killed");
    });
    expect(await refusalOf(redeem(token, keyId, requestId))).toBe("INTERNAL INTERNAL_FAULT");
    await restart();
    expect(await refusalOf(redeem(token, keyId))).toBe("FAILED_PRECONDITION TOKEN_REDEEMED");
    expect((await redeem(token, keyId, requestId)).key).toEqual(key);
  });

  test("records outlive their token and are then forgotten", async () => {
    const { keyId } = await stored();
    await redeem(await issuer.issue({ keyId, consumer: carol }), keyId);
    const records = () => db.sublevel("key-storage", {}).sublevel("redemptions", {}).keys().all();
    clock.advance(6 * 60_000);
    await restart();
    expect(await records()).toHaveLength(1);
    clock.advance(10 * 60_000);
    await restart();
    expect(await records()).toHaveLength(0);
  });

  test("no token, or a bad one, is refused for its own reason", async () => {
    const { keyId } = await stored();
    expect(await refusalOf(redeem("", keyId))).toBe("UNAUTHENTICATED TOKEN_MISSING");
    expect(await refusalOf(redeem("x.y.z", keyId))).toBe("UNAUTHENTICATED TOKEN_INVALID");
    const token = await issuer.issue({ keyId, consumer: carol });
    expect(await refusalOf(redeem(token, keyId, random(16), mallory))).toBe("UNAUTHENTICATED TOKEN_BINDING_MISMATCH");
    const renamed = await issuer.issue({ keyId, consumer: carol }, { sub: mallory.identity });
    expect(await refusalOf(redeem(renamed, keyId))).toBe("UNAUTHENTICATED TOKEN_BINDING_MISMATCH");
    await redeem(token, keyId);
  });

  test("a connection by pre-shared key redeems nothing", async () => {
    const { keyId } = await stored();
    const psk: Peer = { ...carol, fingerprint: "", certificate: undefined, transport: "psk" };
    const token = await issuer.issue({ keyId, consumer: carol }, { cnf: undefined });
    expect(await refusalOf(redeem(token, keyId, random(16), psk))).toBe("UNAUTHENTICATED TOKEN_BINDING_MISMATCH");
  });

  test("a token for one key opens no other, whether or not there is one", async () => {
    const [one, two] = [await stored(), await stored()];
    const token = await issuer.issue({ keyId: one.keyId, consumer: carol });
    for (const keyId of [two.keyId, "0".repeat(32)]) {
      expect(await refusalOf(redeem(token, keyId))).toBe("PERMISSION_DENIED TOKEN_KEY_MISMATCH");
    }
    await redeem(token, one.keyId);
  });

  test("a trusted management that the owner did not name opens nothing", async () => {
    const { keyId } = await stored();
    const token = await otherIssuer.issue({ keyId, consumer: carol });
    expect(await refusalOf(redeem(token, keyId))).toBe("PERMISSION_DENIED TOKEN_ISSUER_NOT_NAMED");
  });

  test("a token for no key, or for none stored yet, is not spent", async () => {
    const absent = await issuer.issue({ keyId: "0".repeat(32), consumer: carol });
    expect(await refusalOf(redeem(absent, "0".repeat(32)))).toBe("NOT_FOUND KEY_NOT_FOUND");
    const { keyId } = await register();
    const token = await issuer.issue({ keyId, consumer: carol });
    expect(await refusalOf(redeem(token, keyId))).toBe("FAILED_PRECONDITION KEY_NOT_STORED");
    await as(alice).storeKey({ keyId, key: random(32) });
    await redeem(token, keyId);
  });

  test("with introspection required, a revoked token opens nothing and an unreachable management neither", async () => {
    introspection = "required";
    await restart();
    const { keyId } = await stored();
    const jti = "9".repeat(32);
    const token = await issuer.issue({ keyId, consumer: carol }, { jti });
    issuer.revoked.add(jti);
    expect(await refusalOf(redeem(token, keyId))).toBe("UNAUTHENTICATED TOKEN_REVOKED");
    issuer.revoked.delete(jti);
    issuer.reachable = false;
    expect(await refusalOf(redeem(token, keyId))).toBe("UNAVAILABLE INTROSPECTION_UNAVAILABLE");
    issuer.reachable = true;
    await redeem(token, keyId);
  });
});

describe("keys at rest (KSM3)", () => {
  const release = async (keyId: string) => redeem(await issuer.issue({ keyId, consumer: carol }), keyId);

  test("swapped rows are found out", async () => {
    const [one, two] = [await stored(), await stored()];
    const [first, second] = [await row(one.keyId), await row(two.keyId)];
    await rows().put(one.keyId, second);
    await rows().put(two.keyId, first);
    expect(await refusalOf(release(one.keyId))).toBe("DATA_LOSS KEY_CORRUPT");
    expect(await refusalOf(release(two.keyId))).toBe("DATA_LOSS KEY_CORRUPT");
    await rows().put(one.keyId, first);
    expect((await release(one.keyId)).key).toEqual(one.key);
  });

  test.each([
    ["owner", mallory.identity],
    ["management", otherDssm.identity],
  ])("an altered %s is found out", async (field, value) => {
    const { keyId } = await stored();
    await rows().put(keyId, { ...(await row(keyId)), [field]: value });
    const token = await (field === "management" ? otherIssuer : issuer).issue({ keyId, consumer: carol });
    expect(await refusalOf(redeem(token, keyId))).toBe("DATA_LOSS KEY_CORRUPT");
  });

  test("a row that cannot be read is a corrupt key", async () => {
    const { keyId } = await stored();
    await rows().put<string, string>(keyId, "{", { valueEncoding: "utf8" });
    expect(await refusalOf(release(keyId))).toBe("DATA_LOSS KEY_CORRUPT");
    await restart();
  });

  test("a corrupt key spends no token", async () => {
    const { keyId } = await stored();
    const good = await row(keyId);
    const token = await issuer.issue({ keyId, consumer: carol });
    await rows().put(keyId, { ...good, owner: mallory.identity });
    expect(await refusalOf(redeem(token, keyId))).toBe("DATA_LOSS KEY_CORRUPT");
    await rows().put(keyId, good);
    await redeem(token, keyId);
  });

  const kekFile = async () =>
    JSON.parse(await readFile(join(directory.path, "key-encryption-keys.json"), "utf8")) as {
      current: string;
      keys: Record<string, string>;
    };
  const kekOf = async (keyId: string) => ((await row(keyId))["stored"] as { wrapped: { kekId: string } }).wrapped.kekId;

  test("rotation wraps every key anew while keys are stored and read, and retires the former key", async () => {
    const before = await Promise.all(Array.from({ length: 20 }, () => stored()));
    const former = (await kekFile()).current;
    const [during, , read] = await Promise.all([
      Promise.all(Array.from({ length: 20 }, () => stored())),
      server.rotateKeyEncryptionKey(),
      Promise.all(before.map(({ keyId }) => release(keyId))),
    ]);
    expect(read.map(({ key }) => key)).toEqual(before.map(({ key }) => key));
    const { current, keys } = await kekFile();
    expect(current).not.toBe(former);
    expect(Object.keys(keys)).toEqual([current]);
    await restart();
    for (const { keyId, key } of [...before, ...during]) {
      expect(await kekOf(keyId)).toBe(current);
      expect((await release(keyId)).key).toEqual(key);
    }
  });

  test("a rotation that a crash interrupted is completed at the next start", async () => {
    const { keyId, key } = await stored();
    const former = (await kekFile()).current;
    replaceBatch(() => Promise.reject(new Error("killed")));
    await expect(server.rotateKeyEncryptionKey()).rejects.toThrow("killed");
    expect(Object.keys((await kekFile()).keys)).toHaveLength(2);
    expect(await kekOf(keyId)).toBe(former);
    await restart();
    await wrappedAnew.promise;
    expect(await kekOf(keyId)).toBe((await kekFile()).current);
    expect(Object.keys((await kekFile()).keys)).toHaveLength(1);
    expect((await release(keyId)).key).toEqual(key);
  });

  test("the former key stays while a damaged row may still need it", async () => {
    const { keyId, key } = await stored();
    const good = await row(keyId);
    await rows().put(keyId, { ...good, owner: mallory.identity });
    await server.rotateKeyEncryptionKey();
    expect(Object.keys((await kekFile()).keys)).toHaveLength(2);
    await rows().put(keyId, good);
    expect((await release(keyId)).key).toEqual(key);
    await server.rotateKeyEncryptionKey();
    expect(Object.keys((await kekFile()).keys)).toHaveLength(1);
    expect((await release(keyId)).key).toEqual(key);
  });
});
