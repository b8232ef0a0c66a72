import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { refusalOf } from "../store/entity.fixture.ts";
import {
  carol,
  directory,
  issuer,
  mallory,
  otherDssm,
  otherIssuer,
  redeem,
  replaceBatch,
  restart,
  row,
  rows,
  server,
  serverForEachTest,
  stored,
  wrappedAnew,
} from "./key-storage-server.fixture.ts";

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
