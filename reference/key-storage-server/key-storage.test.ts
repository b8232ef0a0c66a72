import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { timestampDate } from "@bufbuild/protobuf/wkt";
import { describe, expect, test } from "vitest";
import { KeyState } from "../../gen/x1410/v1/key_storage_pb.ts";
import { refusalOf } from "../store/entity.fixture.ts";
import {
  alice,
  as,
  clock,
  DAY,
  directory,
  dssm,
  HOUR,
  mallory,
  otherDssm,
  random,
  register,
  restart,
  row,
  serverForEachTest,
  startServer,
  stopServer,
  stored,
} from "./key-storage-server.fixture.ts";

serverForEachTest();

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
