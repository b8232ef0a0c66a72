import { access, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test, vi } from "vitest";
import { refusalOf } from "../store/entity.fixture.ts";
import {
  alice,
  as,
  carol,
  clock,
  DAY,
  directory,
  issuer,
  mallory,
  orderRotation,
  otherDssm,
  otherIssuer,
  random,
  redeem,
  register,
  replaceBatch,
  replaceGet,
  restart,
  rotateEvery,
  row,
  rows,
  serverForEachTest,
  startServer,
  stopServer,
  stored,
  wrappedAnew,
} from "./key-storage-server.fixture.ts";
import { ROTATION_ORDER } from "./server.ts";

serverForEachTest();

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
      orderRotation(),
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
    expect(await orderRotation()).toBe("failed");
    expect(Object.keys((await kekFile()).keys)).toHaveLength(2);
    expect(await kekOf(keyId)).toBe(former);
    await restart();
    await wrappedAnew.promise;
    expect(await kekOf(keyId)).toBe((await kekFile()).current);
    expect(Object.keys((await kekFile()).keys)).toHaveLength(1);
    expect((await release(keyId)).key).toEqual(key);
  });

  test("killed between the keys of a rotation, every key is readable, and after the next start none is under the former one", async () => {
    const all = await Promise.all(Array.from({ length: 10 }, () => stored()));
    const former = (await kekFile()).current;
    let left = 4;
    replaceBatch((proceed) => (left-- > 0 ? proceed() : Promise.reject(new Error("killed"))));
    expect(await orderRotation()).toBe("failed");
    const halfway = await Promise.all(all.map(({ keyId }) => kekOf(keyId)));
    expect(halfway.filter((kekId) => kekId === former)).toHaveLength(6);
    await restart();
    const [read] = await Promise.all([Promise.all(all.map(({ keyId }) => release(keyId))), wrappedAnew.promise]);
    expect(read.map(({ key }) => key)).toEqual(all.map(({ key }) => key));
    const { current, keys } = await kekFile();
    expect(Object.keys(keys)).toEqual([current]);
    for (const { keyId, key } of all) {
      expect(await kekOf(keyId)).toBe(current);
      expect((await release(keyId)).key).toEqual(key);
    }
  });

  test("a key that is being stored when the former key is replaced is not lost with it, even if the server then dies", async () => {
    const { keyId } = await register();
    const key = random(32);
    const former = (await kekFile()).current;
    const onItsWay = Promise.withResolvers<void>();
    const arrived = Promise.withResolvers<void>();
    let first = true;
    replaceBatch(async (proceed) => {
      if (!first) return proceed();
      first = false;
      onItsWay.resolve();
      await arrived.promise;
      await proceed();
      throw new Error("killed");
    });
    const storing = refusalOf(as(alice).storeKey({ keyId, key }));
    await onItsWay.promise;
    const rotation = orderRotation();
    await vi.waitFor(async () => expect((await kekFile()).current).not.toBe(former));
    arrived.resolve();
    expect(await storing).toBe("INTERNAL INTERNAL_FAULT");
    expect(await rotation).toBe("done");
    expect(await kekOf(keyId)).toBe((await kekFile()).current);
    await restart();
    expect((await release(keyId)).key).toEqual(key);
  });

  test("a key that is read while it is wrapped anew is not taken for a corrupt one", async () => {
    const { keyId, key } = await stored();
    const read = Promise.withResolvers<void>();
    const wrapped = Promise.withResolvers<void>();
    let first = true;
    replaceGet(async (proceed) => {
      const found = await proceed();
      if (!first) return found;
      first = false;
      read.resolve();
      await wrapped.promise;
      return found;
    });
    const released = release(keyId);
    await read.promise;
    await orderRotation();
    expect(Object.keys((await kekFile()).keys)).toHaveLength(1);
    wrapped.resolve();
    expect((await released).key).toEqual(key);
  });

  test("an order is carried out once, by the running server or at the next start", async () => {
    const { keyId, key } = await stored();
    await orderRotation();
    const { current } = await kekFile();
    const order = join(directory.path, ROTATION_ORDER);
    await expect(access(order)).rejects.toThrow("ENOENT");
    await restart();
    expect((await kekFile()).current).toBe(current);
    await stopServer();
    await writeFile(order, "");
    await startServer();
    expect(await wrappedAnew.promise).toBe("done");
    await expect(access(order)).rejects.toThrow("ENOENT");
    expect((await kekFile()).current).not.toBe(current);
    expect((await release(keyId)).key).toEqual(key);
  });

  test("when it is time the key is replaced by itself, whether the server runs on or was started anew", async () => {
    const { keyId, key } = await stored();
    const first = (await kekFile()).current;
    clock.advance(90 * DAY - 1);
    await restart();
    expect((await kekFile()).current).toBe(first);
    clock.advance(1);
    await restart();
    expect(await wrappedAnew.promise).toBe("done");
    const second = (await kekFile()).current;
    expect(second).not.toBe(first);
    rotateEvery(20);
    await restart();
    expect((await kekFile()).current).toBe(second);
    clock.advance(20);
    expect(await wrappedAnew.promise).toBe("done");
    expect((await kekFile()).current).not.toBe(second);
    expect((await release(keyId)).key).toEqual(key);
  });

  test("the former key stays while a damaged row may still need it", async () => {
    const { keyId, key } = await stored();
    const good = await row(keyId);
    await rows().put(keyId, { ...good, owner: mallory.identity });
    await orderRotation();
    expect(Object.keys((await kekFile()).keys)).toHaveLength(2);
    await rows().put(keyId, good);
    expect((await release(keyId)).key).toEqual(key);
    await orderRotation();
    expect(Object.keys((await kekFile()).keys)).toHaveLength(1);
    expect((await release(keyId)).key).toEqual(key);
  });
});
