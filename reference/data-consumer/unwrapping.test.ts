import { createHash, randomBytes } from "node:crypto";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { afterAll, describe, expect, test } from "vitest";
import { EncryptedDataSchema, UsageKind } from "../../gen/x1410/v1/data_sharing_pb.ts";
import { encryptBytes } from "../symmetric-encryption/encrypt-bytes.ts";
import { StateDirectory } from "../user/state-directory.ts";
import { failureOf } from "../user/user.fixture.ts";
import { PackageError } from "./package-validation.ts";
import { type UnwrappingDependencies, UnwrappingError, UnwrappingSession } from "./unwrapping.ts";

const folder = mkdtempSync(join(tmpdir(), "x1410-unwrapping-"));
afterAll(() => rmSync(folder, { recursive: true }));
const plaintext = randomBytes(3_000_000);
const keyId = "a".repeat(32);
const hour = 3_600_000;
let folders = 0;

function setting(given: { readOnly?: boolean; permission?: undefined; wrongKey?: boolean } = {}) {
  const own = join(folder, `consumer-${folders++}`);
  const openings = StateDirectory.open(own);
  const key = randomBytes(32);
  const { ciphertext, salt, commitment } = encryptBytes(plaintext, key, Buffer.from(keyId));
  // The framed metadata is whatever stands before the ciphertext.
  const head = Buffer.from("metadata");
  const path = join(own, "package");
  writeFileSync(path, Buffer.concat([head, ciphertext]));
  const clock = { now: Date.parse("2030-01-01T00:00:00Z") };
  const reports: UsageKind[] = [];
  const over: boolean[] = [];
  const sha256 = createHash("sha256").update(ciphertext).digest();
  const dependencies: UnwrappingDependencies = {
    accessId: "e".repeat(32),
    permission:
      "permission" in given ? undefined : { expiration: new Date(clock.now + hour), readOnly: given.readOnly ?? false },
    valid: {
      path,
      ciphertextStart: head.length,
      keyId,
      packageId: "b".repeat(32),
      encryptedData: create(EncryptedDataSchema, { sha256, size: BigInt(ciphertext.length), commitment }),
      salt,
    },
    key: given.wrongKey ? randomBytes(32) : key,
    openings,
    now: () => new Date(clock.now),
    report: async (kind) => void reports.push(kind),
    over: () => void over.push(true),
  };
  const open = (again: Partial<UnwrappingDependencies> = {}) => UnwrappingSession.open({ ...dependencies, ...again });
  const package_ = () => readFileSync(path);
  return { open, clock, reports, over, key: dependencies.key, path, own, stored: package_(), now: package_ };
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  const cause = await failureOf(promise);
  if (!(cause instanceof UnwrappingError)) throw cause;
  return cause.code;
}

async function presented(session: UnwrappingSession): Promise<Buffer> {
  const parts: Buffer[] = [];
  await session.present((bytes) => void parts.push(Buffer.from(bytes)));
  return Buffer.concat(parts);
}

describe("presenting", () => {
  test("shows the plaintext and reports opening and closing", async () => {
    const { open, reports } = setting({ readOnly: true });
    const session = await open();
    expect(Buffer.compare(await presented(session), plaintext)).toBe(0);
    await session.close();
    expect(reports).toEqual([UsageKind.OPENED, UsageKind.CLOSED]);
  });

  test("leaves no plaintext: the bytes shown are wiped, the key is wiped, only the package is on disk", async () => {
    const { open, key, own, stored, now, over } = setting({ readOnly: true });
    const session = await open();
    const shown: Uint8Array[] = [];
    await session.present((bytes) => void shown.push(bytes));
    await session.close();
    expect(shown.every((bytes) => bytes.every((byte) => byte === 0))).toBe(true);
    expect(key.every((byte) => byte === 0)).toBe(true);
    expect(readdirSync(own).sort()).toEqual(["e".repeat(32), "package"]);
    expect(Buffer.compare(now(), stored)).toBe(0);
    expect(over).toHaveLength(1);
  });

  test("waits for whoever is shown it", async () => {
    const { open } = setting();
    const session = await open();
    let busy = 0;
    let most = 0;
    await session.present(async () => {
      most = Math.max(most, ++busy);
      await new Promise(setImmediate);
      busy--;
    });
    expect(most).toBe(1);
  });

  test("with a wrong key shows nothing", async () => {
    const { open } = setting({ wrongKey: true });
    const session = await open();
    const shown: Uint8Array[] = [];
    const cause = await failureOf(session.present((bytes) => void shown.push(bytes)));
    expect(cause).toBeInstanceOf(PackageError);
    expect(shown).toEqual([]);
  });

  test("of a package that was altered after its validation stops at the alteration", async () => {
    const { open, path, stored } = setting();
    const session = await open();
    stored[stored.length - 10] = (stored.at(-10) ?? 0) ^ 1;
    writeFileSync(path, stored);
    expect(await failureOf(presented(session))).toMatchObject({ flaw: "digest" });
  });

  test("is over once the session is closed", async () => {
    const { open } = setting();
    const session = await open();
    await session.close();
    expect(await codeOf(session.present(() => {}))).toBe("closed");
    expect(await codeOf(session.export(join(folder, "late")))).toBe("closed");
  });
});

describe("count", () => {
  test("a grant is opened once, and a restart does not open it again", async () => {
    const { open, own, reports, over } = setting();
    await (await open()).close();
    const restarted = { openings: StateDirectory.open(own), key: randomBytes(32) };
    expect(await codeOf(open(restarted))).toBe("already_opened");
    expect(reports).toEqual([UsageKind.OPENED, UsageKind.CLOSED, UsageKind.REFUSED]);
    expect(restarted.key.every((byte) => byte === 0)).toBe(true);
    expect(over).toHaveLength(2);
  });

  test("a crash after the opening does not give it back", async () => {
    const { open } = setting();
    await open();
    expect(await codeOf(open({ key: randomBytes(32) }))).toBe("already_opened");
  });

  test("of two that open at once one succeeds", async () => {
    const { open } = setting();
    const outcomes = await Promise.allSettled([open(), open({ key: randomBytes(32) }), open({ key: randomBytes(32) })]);
    expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
  });

  test("another grant of the same contract is another opening", async () => {
    const { open } = setting();
    await open();
    await expect(open({ accessId: "f".repeat(32) })).resolves.toBeDefined();
  });
});

describe("expiration", () => {
  test("at the very time it is too late to open, and the opening is not spent", async () => {
    const { open, clock, reports } = setting();
    clock.now += hour;
    expect(await codeOf(open({ key: randomBytes(32) }))).toBe("expired");
    expect(reports).toEqual([UsageKind.REFUSED]);
    clock.now -= 1;
    await expect(open()).resolves.toBeDefined();
  });

  test("in the midst of it nothing more is shown", async () => {
    const { open, clock, reports } = setting();
    const session = await open();
    let shown = 0;
    const showing = session.present((bytes) => {
      shown += bytes.length;
      clock.now += hour;
    });
    expect(await codeOf(showing)).toBe("expired");
    expect(shown).toBeGreaterThan(0);
    expect(shown).toBeLessThan(plaintext.length);
    expect(reports).toContain(UsageKind.REFUSED);
  });

  test("in the midst of an export leaves no file", async () => {
    const { open, clock, own } = setting();
    const session = await open({
      now: () => {
        clock.now += hour / 4;
        return new Date(clock.now);
      },
    });
    expect(await codeOf(session.export(join(own, "plain")))).toBe("expired");
    expect(existsSync(join(own, "plain"))).toBe(false);
  });

  test("without an access permission there is none", async () => {
    const { open, clock } = setting({ permission: undefined });
    clock.now += 1_000_000 * hour;
    const session = await open();
    expect(Buffer.compare(await presented(session), plaintext)).toBe(0);
  });
});

describe("read only", () => {
  test("an export is refused and reported, and there is no file", async () => {
    const { open, own, reports } = setting({ readOnly: true });
    const session = await open();
    expect(await codeOf(session.export(join(own, "plain")))).toBe("read_only");
    expect(existsSync(join(own, "plain"))).toBe(false);
    expect(reports).toEqual([UsageKind.OPENED, UsageKind.REFUSED]);
  });

  test("otherwise an export is allowed, into a new file of the owner", async () => {
    const { open, own } = setting();
    const session = await open();
    const path = join(own, "plain");
    await session.export(path);
    expect(Buffer.compare(readFileSync(path), plaintext)).toBe(0);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(await codeOf(session.export(path))).toBe("would_overwrite");
    expect(Buffer.compare(readFileSync(path), plaintext)).toBe(0);
  });
});

describe("encrypting again", () => {
  test("gives the identical package and leaves only that", async () => {
    const { open, own, path, stored, now } = setting();
    const session = await open();
    const plain = join(own, "plain");
    await session.export(plain);
    // The consumer may have let go of the ciphertext meanwhile; its head is kept.
    writeFileSync(path, stored.subarray(0, 8));
    await session.encryptAgain(plain);
    await session.close();
    expect(Buffer.compare(now(), stored)).toBe(0);
    expect(readdirSync(own).sort()).toEqual(["e".repeat(32), "package"]);
  });

  test("a changed plaintext is refused and reported; nothing is encrypted", async () => {
    const { open, own, stored, now, reports } = setting();
    const session = await open();
    const plain = join(own, "plain");
    await session.export(plain);
    writeFileSync(plain, Buffer.concat([plaintext.subarray(0, -1), Buffer.from("x")]));
    expect(await codeOf(session.encryptAgain(plain))).toBe("plaintext_changed");
    expect(existsSync(plain)).toBe(true);
    expect(Buffer.compare(now(), stored)).toBe(0);
    expect(reports).toEqual([UsageKind.OPENED, UsageKind.REFUSED]);
    expect(readdirSync(own).filter((name) => name.endsWith(".again"))).toEqual([]);
  });

  test("a file that the session did not export is none of its", async () => {
    const { open, own } = setting();
    const session = await open();
    expect(await codeOf(session.encryptAgain(join(own, "package")))).toBe("not_exported");
  });
});
