import { createHash, randomBytes } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { equals, fromBinary, toBinary } from "@bufbuild/protobuf";
import { afterAll, describe, expect, test } from "vitest";
import {
  DataSharingPackageSchema,
  EncryptedDataSchema,
  PackageMetadataSchema,
} from "../../gen/x1410/v1/data_sharing_pb.ts";
import { verifyEnvelope } from "../envelope/verify.ts";
import { decryptBytes } from "../symmetric-encryption/encrypt-bytes.ts";
import { userFixture } from "../user/user.fixture.ts";
import { encryptToFile, packageHead, StoredObject, signMetadata } from "./wrapping.ts";

const fixture = userFixture();
const folder = mkdtempSync(join(tmpdir(), "x1410-wrapping-"));
afterAll(() => {
  fixture.remove();
  rmSync(folder, { recursive: true });
});
const signer = fixture.signer("user", "provider");
const key = randomBytes(32);
const keyId = "a".repeat(32);
const packageId = "b".repeat(32);
let files = 0;

async function* inPieces(bytes: Uint8Array, size = 10_000): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function wrap(plaintext: Uint8Array) {
  const path = join(folder, `ciphertext-${files++}`);
  const encryptedData = await encryptToFile(inPieces(plaintext), { key, keyId }, path);
  const head = packageHead(signMetadata(signer, { packageId, keyId, encryptedData }), Number(encryptedData.size));
  return { path, encryptedData, head, object: await StoredObject.of(head, path, encryptedData) };
}

async function bytesOf(chunks: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const chunk of chunks) parts.push(chunk);
  return Buffer.concat(parts);
}

const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest();

describe.each([0, 1, 100, 16_384, 300_000])("%i bytes of plaintext", (size) => {
  test("make a package that protobuf's own parser reads, and that its own serialiser writes the same", async () => {
    const plaintext = randomBytes(size);
    const { object, encryptedData } = await wrap(plaintext);
    const bytes = await bytesOf(object.from(0));
    const parsed = fromBinary(DataSharingPackageSchema, bytes);
    expect(Buffer.compare(toBinary(DataSharingPackageSchema, parsed), bytes)).toBe(0);
    expect(parsed.encryptedData.length).toBe(Number(encryptedData.size));
    const opened = decryptBytes(parsed.encryptedData, key, Buffer.from(keyId), encryptedData.commitment);
    expect(Buffer.compare(opened, plaintext)).toBe(0);
    if (parsed.metadata === undefined) return expect.unreachable("metadata");
    const { message, signer: signedBy } = verifyEnvelope(parsed.metadata, PackageMetadataSchema, fixture.trust);
    expect(signedBy.identity).toBe(signer.identity);
    expect(message).toMatchObject({ packageId, keyId, providerIdentity: signer.identity });
    expect(message.encryptedData && equals(EncryptedDataSchema, message.encryptedData, encryptedData)).toBe(true);
  });
});

test("size and digests are those of the bytes", async () => {
  const { object, encryptedData, path } = await wrap(randomBytes(50_000));
  const bytes = await bytesOf(object.from(0));
  expect(object.size).toBe(bytes.length);
  expect(Buffer.from(object.sha256)).toEqual(sha256(bytes));
  const ciphertext = readFileSync(path);
  expect(Buffer.from(encryptedData.sha256)).toEqual(sha256(ciphertext));
  expect(Number(encryptedData.size)).toBe(ciphertext.length);
  expect(Buffer.from(encryptedData.commitment)).toEqual(ciphertext.subarray(24, 56));
});

test("a package is read from any offset, inside the metadata or after it", async () => {
  const { object, head } = await wrap(randomBytes(50_000));
  const bytes = await bytesOf(object.from(0));
  for (const offset of [1, head.length - 1, head.length, head.length + 1, bytes.length - 1, bytes.length])
    expect(Buffer.compare(await bytesOf(object.from(offset)), bytes.subarray(offset))).toBe(0);
});

test("without metadata the bare ciphertext is stored", async () => {
  const { path, encryptedData } = await wrap(randomBytes(1000));
  const object = await StoredObject.of(new Uint8Array(), path, encryptedData);
  expect(Buffer.compare(await bytesOf(object.from(0)), readFileSync(path))).toBe(0);
  expect(object.sha256).toEqual(encryptedData.sha256);
});

test("the spool file is readable by its owner only", async () => {
  const { path } = await wrap(randomBytes(10));
  expect(statSync(path).mode & 0o777).toBe(0o600);
});

test("data that breaks off leaves no file", async () => {
  const path = join(folder, "broken");
  const breaking = async function* () {
    yield randomBytes(100_000);
    throw new Error("the source is gone");
  };
  await expect(encryptToFile(breaking(), { key, keyId }, path)).rejects.toThrow("the source is gone");
  expect(existsSync(path)).toBe(false);
});
