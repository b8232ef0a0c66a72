// Plain keys are wiped as soon as they have served (KSM3): those that came with a call, and those opened to compare, release or wrap anew.
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { Client } from "@connectrpc/connect";
import type { Level } from "level";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { KeyStorageService } from "../../gen/x1410/v1/key_storage_pb.ts";
import { type TokenVerificationService, VerifyTokenResponseSchema } from "../../gen/x1410/v1/token_verification_pb.ts";
import { bindDirect } from "../communications/direct-binding.ts";
import { silentLog } from "../communications/log.ts";
import type { Peer } from "../communications/peer.ts";
import { openDatabase, refusalOf, temporaryDirectory } from "../store/entity.fixture.ts";
import { createKeyStorage, defaultKeyStorageLimits, type KeyStorage } from "./key-storage.ts";
import { alice, carol, dssm, mallory, random } from "./key-storage-server.fixture.ts";
import { type KeyWrapper, openKekFile } from "./key-wrapping.ts";
import { KSS } from "./token.fixture.ts";

const now = () => new Date();
const WIPED = new Uint8Array(32);

let directory: Awaited<ReturnType<typeof temporaryDirectory>>;
let db: Level<string, string>;
let wrapper: KeyWrapper;
let storage: KeyStorage;

beforeEach(async () => {
  directory = await temporaryDirectory();
  db = await openDatabase(directory.path);
  wrapper = openKekFile(join(directory.path, "keks.json"), { create: true, now });
  const verified = create(VerifyTokenResponseSchema, {
    issuer: dssm.identity,
    tokenId: "7".repeat(32),
    consumerIdentity: carol.identity,
    expiresAt: timestampFromMs(now().getTime() + 60_000),
  });
  const tokenVerification = { verifyToken: () => Promise.resolve(verified) };
  storage = createKeyStorage({
    store: db.sublevel("key-storage", {}),
    identity: KSS,
    registry: new Set([dssm.identity]),
    wrapper,
    limits: defaultKeyStorageLimits,
    tokenVerification: tokenVerification as Client<typeof TokenVerificationService>,
    now,
    log: silentLog,
  });
});
afterEach(async () => {
  await db.close();
  await directory.remove();
});

const as = (peer: Peer): Client<typeof KeyStorageService> => bindDirect(storage.registration, { peer });
const register = () => as(alice).registerKey({ requestId: random(16), managementIdentity: dssm.identity });

async function stored(key = random(32)) {
  const { keyId } = await register();
  await as(alice).storeKey({ keyId, key: key.slice() });
  return { keyId, key };
}

/** The buffers in which keys were opened from now on. */
function openedKeys(): () => unknown[] {
  const unwrap = vi.spyOn(wrapper, "unwrap");
  return () => unwrap.mock.settledResults.map(({ value }) => value);
}

test("a key that was received is wiped once it is stored, confirmed or refused", async () => {
  const { keyId, key } = await stored();
  const [first, again, other, strange] = [random(32), key.slice(), random(32), random(32)];
  await as(alice).storeKey({ keyId: (await register()).keyId, key: first });
  await as(alice).storeKey({ keyId, key: again });
  expect(await refusalOf(as(alice).storeKey({ keyId, key: other }))).toBe("ALREADY_EXISTS KEY_EXISTS");
  expect(await refusalOf(as(mallory).storeKey({ keyId, key: strange }))).toBe("NOT_FOUND KEY_NOT_FOUND");
  expect([first, again, other, strange]).toEqual([WIPED, WIPED, WIPED, WIPED]);
  // The stored one is not affected.
  expect((await as(carol).getKey({ accessToken: "token", keyId, requestId: random(16) })).key).toEqual(key);
});

test("a stored key that was opened to be compared is wiped, whether it is the same or another", async () => {
  const { keyId, key } = await stored();
  const opened = openedKeys();
  await as(alice).storeKey({ keyId, key: key.slice() });
  expect(await refusalOf(as(alice).storeKey({ keyId, key: random(32) }))).toBe("ALREADY_EXISTS KEY_EXISTS");
  expect(opened()).toEqual([WIPED, WIPED]);
});

test("a key whose redemption is refused is wiped", async () => {
  const { keyId, key } = await stored();
  const redeem = () => as(carol).getKey({ accessToken: "token", keyId, requestId: random(16) });
  expect((await redeem()).key).toEqual(key);
  const opened = openedKeys();
  expect(await refusalOf(redeem())).toBe("FAILED_PRECONDITION TOKEN_REDEEMED");
  expect(opened()).toEqual([WIPED]);
});

test("a key that was wrapped anew is wiped", async () => {
  const { keyId, key } = await stored();
  const opened = openedKeys();
  await wrapper.rotate();
  await storage.rewrap(new AbortController().signal);
  expect(opened()).toEqual([WIPED]);
  expect((await as(carol).getKey({ accessToken: "token", keyId, requestId: random(16) })).key).toEqual(key);
});
