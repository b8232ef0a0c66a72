import { createHash, randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { clone, create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { afterAll, describe, expect, test } from "vitest";
import {
  type DataSharingPackage,
  DataSharingPackageSchema,
  EncryptedDataSchema,
  type PackageMetadata,
  PackageMetadataSchema,
} from "../../gen/x1410/v1/data_sharing_pb.ts";
import { signMessage } from "../envelope/sign.ts";
import { encryptBytes } from "../symmetric-encryption/encrypt-bytes.ts";
import { failureOf, userFixture } from "../user/user.fixture.ts";
import { PackageError, validateCiphertext, validatePackage } from "./package-validation.ts";

const fixture = userFixture();
const folder = mkdtempSync(join(tmpdir(), "x1410-validation-"));
afterAll(() => {
  fixture.remove();
  rmSync(folder, { recursive: true });
});

const provider = fixture.signer("user", "provider");
const stranger = fixture.signer("user", "stranger");
const keyId = "a".repeat(32);
const packageId = "b".repeat(32);
const expected = { packageId, keyId, providerIdentity: provider.identity };
const key = randomBytes(32);
const { ciphertext, commitment } = encryptBytes(randomBytes(50_000), key, Buffer.from(keyId));
const encryptedData = create(EncryptedDataSchema, {
  sha256: createHash("sha256").update(ciphertext).digest(),
  size: BigInt(ciphertext.length),
  commitment,
});
const metadata = create(PackageMetadataSchema, {
  packageId,
  providerIdentity: provider.identity,
  providerPublicKey: provider.publicKey,
  keyId,
  encryptedData,
});
let files = 0;

function packaged(change: (metadata: PackageMetadata) => void = () => {}, signer = provider): DataSharingPackage {
  const own = clone(PackageMetadataSchema, metadata);
  change(own);
  return create(DataSharingPackageSchema, {
    metadata: signMessage(signer, PackageMetadataSchema, own),
    encryptedData: ciphertext,
  });
}

const bytesOf = (message: DataSharingPackage) => toBinary(DataSharingPackageSchema, message);
const good = bytesOf(packaged());

function fileOf(bytes: Uint8Array): string {
  const path = join(folder, `package-${files++}`);
  writeFileSync(path, bytes);
  return path;
}

async function flawOf(promise: Promise<unknown>): Promise<string> {
  const cause = await failureOf(promise);
  if (!(cause instanceof PackageError)) throw cause;
  expect(ConnectError.from(cause).code).toBe(Code.DataLoss);
  return cause.flaw;
}

test("only a refused package is one, not every error of Connect", () => {
  expect(new ConnectError("text", Code.DataLoss)).not.toBeInstanceOf(PackageError);
  expect(new PackageError("digest", "text")).toBeInstanceOf(PackageError);
});

const validated = (bytes: Uint8Array) => validatePackage(fileOf(bytes), expected, fixture.trust);

/** The ciphertext with this done to it, under the metadata of the right one. */
function withCiphertext(change: (ciphertext: Buffer) => Uint8Array): Uint8Array {
  const own = fromBinary(DataSharingPackageSchema, good);
  return bytesOf({ ...own, encryptedData: change(Buffer.from(ciphertext)) });
}

/** The package with one bit of its ciphertext flipped, its length unchanged. */
function flipped(at: number): Buffer {
  const bytes = Buffer.from(good);
  bytes[at] = (bytes[at] ?? 0) ^ 1;
  return bytes;
}

test("a good package tells where its ciphertext is and how it was encrypted", async () => {
  const valid = await validated(good);
  expect(Buffer.compare(good.subarray(valid.ciphertextStart), ciphertext)).toBe(0);
  expect(Buffer.from(valid.salt)).toEqual(Buffer.from(ciphertext.subarray(0, 24)));
  expect(valid).toMatchObject({ keyId, packageId, encryptedData: { size: encryptedData.size } });
});

test("a length that is written longer than needed is the same protobuf", async () => {
  const { ciphertextStart } = await validated(good);
  const length = [...good.subarray(0, ciphertextStart)];
  const last = length.pop() ?? 0;
  const padded = Buffer.concat([Uint8Array.from([...length, last | 0x80, 0x00]), ciphertext]);
  expect(fromBinary(DataSharingPackageSchema, padded).encryptedData.length).toBe(ciphertext.length);
  await validated(padded);
});

describe("truncated", () => {
  test.each([0, 1, 2, 500, good.length - ciphertext.length - 2, good.length - ciphertext.length + 10, good.length - 1])(
    "after %i bytes",
    async (length) => expect(await flawOf(validated(good.subarray(0, length)))).toBe("truncated"),
  );

  test("by whole chunks, with the framing made to fit", async () => {
    const cut = withCiphertext((bytes) => bytes.subarray(0, 56 + 16_400));
    expect(await flawOf(validated(cut))).toBe("truncated");
  });
});

describe("extended", () => {
  test.each([
    ["by a byte", Buffer.concat([good, Buffer.from([0])])],
    ["by another field", Buffer.concat([good, Buffer.from([0x1a, 0x01, 0x00])])],
    [
      "by a second ciphertext, which protobuf would take instead",
      Buffer.concat([good, Buffer.from([0x12, 0x01, 0x00])]),
    ],
    ["by a second package", Buffer.concat([good, good])],
    ["inside its framing", withCiphertext((bytes) => Buffer.concat([bytes, bytes.subarray(56)]))],
  ])("%s", async (_, bytes) => expect(await flawOf(validated(bytes))).toBe("extended"));
});

describe("reordered", () => {
  test("fields", async () => {
    const { ciphertextStart } = await validated(good);
    const lengthBytes =
      bytesOf(create(DataSharingPackageSchema, { encryptedData: ciphertext })).length - ciphertext.length;
    const first = ciphertextStart - lengthBytes;
    const reordered = Buffer.concat([good.subarray(first), good.subarray(0, first)]);
    expect(fromBinary(DataSharingPackageSchema, reordered).metadata).toBeDefined();
    expect(await flawOf(validated(reordered))).toBe("framing");
  });

  test("chunks", async () => {
    const swapped = withCiphertext((bytes) => {
      const chunk = (n: number) => bytes.subarray(56 + n * 16_400, 56 + (n + 1) * 16_400);
      return Buffer.concat([bytes.subarray(0, 56), chunk(1), chunk(0), bytes.subarray(56 + 2 * 16_400)]);
    });
    expect(await flawOf(validated(swapped))).toBe("digest");
  });
});

describe("substituted", () => {
  test("another package of the same provider", async () => {
    const other = packaged((own) => {
      own.packageId = "c".repeat(32);
    });
    expect(await flawOf(validated(bytesOf(other)))).toBe("substituted");
  });

  test("a package under another key", async () => {
    const other = packaged((own) => {
      own.keyId = "d".repeat(32);
    });
    expect(await flawOf(validated(bytesOf(other)))).toBe("substituted");
  });

  test("the ciphertext of another package", async () => {
    const other = encryptBytes(randomBytes(50_000), key, Buffer.from(keyId)).ciphertext;
    expect(await flawOf(validated(withCiphertext(() => other)))).toBe("digest");
  });

  test("a package that a stranger made in its own name", async () => {
    const own = packaged((message) => {
      message.providerIdentity = stranger.identity;
      message.providerPublicKey = stranger.publicKey;
    }, stranger);
    expect(await flawOf(validated(bytesOf(own)))).toBe("signer");
  });

  test("a package that a stranger made in the provider's name", async () => {
    expect(await flawOf(validated(bytesOf(packaged(() => {}, stranger))))).toBe("signer");
  });

  test("metadata that names another public key", async () => {
    const own = packaged((message) => {
      message.providerPublicKey = stranger.publicKey;
    });
    expect(await flawOf(validated(bytesOf(own)))).toBe("signer");
  });

  test("metadata that states another commitment", async () => {
    const own = packaged((message) => {
      if (message.encryptedData) message.encryptedData.commitment = new Uint8Array(32);
    });
    expect(await flawOf(validated(bytesOf(own)))).toBe("digest");
  });
});

describe("altered", () => {
  test.each([good.length - 1, good.length - ciphertext.length, good.length - ciphertext.length + 30])(
    "one bit of the ciphertext, at byte %i of the package",
    async (at) => expect(await flawOf(validated(flipped(at)))).toBe("digest"),
  );

  test("one bit of the signed metadata", async () => {
    const own = packaged();
    const payload = Buffer.from(own.metadata?.payload ?? []);
    payload[10] = (payload[10] ?? 0) ^ 1;
    if (own.metadata) own.metadata.payload = payload;
    expect(await flawOf(validated(bytesOf(own)))).toBe("signature");
  });

  test("metadata without a signature", async () => {
    const own = packaged();
    if (own.metadata) own.metadata.signatures = [];
    expect(await flawOf(validated(bytesOf(own)))).toBe("signature");
  });

  test("metadata whose length would take gigabytes", async () => {
    const bytes = Buffer.concat([Buffer.from([0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f]), good]);
    expect(await flawOf(validated(bytes))).toBe("framing");
  });

  test("a length that does not end", async () => {
    const bytes = Buffer.concat([Buffer.from([0x0a, ...Array<number>(10).fill(0xff)]), good]);
    expect(await flawOf(validated(bytes))).toBe("framing");
  });

  test("no package at all", async () => {
    expect(await flawOf(validated(Buffer.from("name,phone\n")))).toBe("framing");
  });
});

describe("a bare ciphertext (Annex A)", () => {
  const checked = (bytes: Uint8Array, stated: typeof encryptedData | undefined = encryptedData) =>
    validateCiphertext(fileOf(bytes), expected, stated);

  test("is held against what the provider signed in its information", async () => {
    expect(await checked(ciphertext)).toMatchObject({ ciphertextStart: 0, keyId });
  });

  test("is refused truncated, extended and altered", async () => {
    expect(await flawOf(checked(ciphertext.subarray(0, -1)))).toBe("truncated");
    expect(await flawOf(checked(Buffer.concat([ciphertext, Buffer.from([0])])))).toBe("extended");
    const altered = Buffer.from(ciphertext);
    altered[100] = (altered[100] ?? 0) ^ 1;
    expect(await flawOf(checked(altered))).toBe("digest");
  });

  test("is refused where the provider signed nothing about it", async () => {
    expect(await flawOf(validateCiphertext(fileOf(ciphertext), expected, undefined))).toBe("signature");
  });
});
