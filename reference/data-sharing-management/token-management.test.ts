import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { timestampDate, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { createLocalJWKSet, decodeProtectedHeader, type JSONWebKeySet, jwtVerify } from "jose";
import { Level } from "level";
import { afterEach, beforeEach, expect, test } from "vitest";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { reasonOf } from "../communications/refusal.ts";
import { callAs } from "./component-call.fixture.ts";
import { openTokenKeys } from "./token-keys.ts";
import { createTokenManagement, type TokenManagement } from "./token-management.ts";

const management = "urn:x1410:entity:dssm:main";
const kss = "urn:x1410:entity:kss:one";
const consumer = "urn:x1410:user:consumer";
const operator = "urn:x1410:entity:operator:op";
const start = Date.parse("2026-01-01T00:00:00.700Z");
const order = {
  accessId: "a".repeat(32),
  contractAddress: `x1410://dlt.net/contracts/${"c".repeat(32)}`,
  consumerIdentity: consumer,
  consumerCertificateSha256: new Uint8Array(32).fill(7),
  keyId: "d".repeat(32),
  keyServerIdentity: kss,
  packageId: "e".repeat(32),
};

let directory: string;
let level: Level<string, string>;
let time: number;
let tokens: TokenManagement;

async function open(): Promise<void> {
  level = new Level(join(directory, "level"));
  const now = () => new Date(time);
  const keys = await openTokenKeys({ directory: join(directory, "keys"), now });
  tokens = createTokenManagement({ store: level, keys, identity: management, now });
}

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), "x1410-tokens-"));
  time = start;
  await open();
});
afterEach(async () => {
  await level.close();
  rmSync(directory, { recursive: true, force: true });
});

const as = (identity: string) => callAs(tokens.registration, { identity });

async function verify(token: string) {
  const { jwks, issuer } = await as(kss).listTokenKeys({});
  return jwtVerify(token, createLocalJWKSet(JSON.parse(jwks) as JSONWebKeySet), {
    issuer,
    audience: kss,
    typ: "at+jwt",
    algorithms: ["ES256"],
    currentDate: new Date(time),
  });
}

async function refused(call: Promise<unknown>, code: Code, reason: ErrorReason): Promise<void> {
  const error = ConnectError.from(
    await call.then(
      () => new Error("no refusal"),
      (cause: unknown) => cause,
    ),
  );
  expect([error.code, reasonOf(error)]).toEqual([code, reason]);
}

test("a token is a JWT after RFC 9068, bound to the certificate and to one key", async () => {
  const { accessToken, tokenId, expiresAt } = await as(management).createToken(order);
  const { payload, protectedHeader } = await verify(accessToken);
  const seconds = Math.floor(start / 1000);
  expect(tokenId).toMatch(/^[0-9a-f]{32}$/);
  expect(payload).toEqual({
    iss: management,
    aud: kss,
    sub: consumer,
    client_id: consumer,
    jti: tokenId,
    iat: seconds,
    nbf: seconds,
    exp: seconds + 300,
    cnf: { "x5t#S256": Buffer.alloc(32, 7).toString("base64url") },
    authorization_details: [
      {
        type: "x1410_key",
        key_id: order.keyId,
        package_id: order.packageId,
        contract: order.contractAddress,
        access_id: order.accessId,
      },
    ],
  });
  expect(protectedHeader).toMatchObject({ alg: "ES256", typ: "at+jwt" });
  expect(expiresAt && timestampDate(expiresAt).getTime()).toBe((seconds + 300) * 1000);
});

test("a token never outlives the permission, and a later end does not prolong it; it names the end of the permission", async () => {
  const claims = async (accessId: string, notAfter?: number) => {
    const end = notAfter === undefined ? {} : { notAfter: timestampFromMs(notAfter) };
    const { accessToken } = await as(management).createToken({ ...order, accessId, ...end });
    const { exp, authorization_details: details } = (await verify(accessToken)).payload;
    return { exp, end: (details as { not_after?: number }[])[0]?.not_after };
  };
  const short = Math.floor((start + 60_900) / 1000);
  expect(await claims("a".repeat(32), start + 60_900)).toEqual({ exp: short, end: short });
  const seconds = Math.floor(start / 1000);
  const later = start + 86_400_000;
  expect(await claims("b".repeat(32), later)).toEqual({ exp: seconds + 300, end: Math.floor(later / 1000) });
  expect(await claims("c".repeat(32))).toEqual({ exp: seconds + 300, end: undefined });
});

test("the same order gets the same claims again: later, at once, after a restart, under a new key", async () => {
  const first = await as(management).createToken(order);
  const claims = (await verify(first.accessToken)).payload;
  time += 120_000;
  const parallel = await Promise.all(Array.from({ length: 10 }, () => as(management).createToken(order)));
  expect(new Set(parallel.map(({ tokenId }) => tokenId))).toEqual(new Set([first.tokenId]));
  await tokens.rotateWhenDue(0);
  await level.close();
  await open();
  const again = await as(management).createToken(order);
  expect((await verify(again.accessToken)).payload).toEqual(claims);
  // The key that signed the first token is still published.
  await expect(verify(first.accessToken)).resolves.toBeDefined();
});

test("the signing key is replaced when it is time, by the time of the last replacement and not of the start", async () => {
  const kid = async () => decodeProtectedHeader((await as(management).createToken(order)).accessToken).kid;
  const day = 86_400_000;
  const first = await kid();
  time += day - 1;
  await level.close();
  await open();
  await tokens.rotateWhenDue(day);
  expect(await kid()).toBe(first);
  time += 1;
  await tokens.rotateWhenDue(day);
  const second = await kid();
  expect(second).not.toBe(first);
  await level.close();
  await open();
  await tokens.rotateWhenDue(day);
  expect(await kid()).toBe(second);
});

test("an access has one token: another order under its id is refused", async () => {
  await as(management).createToken(order);
  const others = [
    { keyId: "f".repeat(32) },
    { packageId: "f".repeat(32) },
    { consumerIdentity: "urn:x1410:user:other" },
    { keyServerIdentity: "urn:x1410:entity:kss:two" },
    { consumerCertificateSha256: new Uint8Array(32).fill(8) },
    { contractAddress: `x1410://dlt.net/contracts/${"d".repeat(32)}` },
  ];
  for (const other of others) {
    const call = as(management).createToken({ ...order, ...other });
    await refused(call, Code.InvalidArgument, ErrorReason.REQUEST_INVALID);
  }
});

test("the token itself is nowhere in the store", async () => {
  const { accessToken } = await as(management).createToken(order);
  const signature = accessToken.slice(accessToken.lastIndexOf(".") + 1);
  for await (const [, value] of level.iterator()) expect(value).not.toContain(signature);
});

test("introspection answers the audience alone", async () => {
  const { tokenId } = await as(management).createToken(order);
  expect((await as(kss).introspectToken({ tokenId })).active).toBe(true);
  const stranger = as("urn:x1410:entity:kss:two").introspectToken({ tokenId });
  await refused(stranger, Code.PermissionDenied, ErrorReason.CALLER_NOT_ALLOWED);
  const unknown = as(kss).introspectToken({ tokenId: "0".repeat(32) });
  await refused(unknown, Code.NotFound, ErrorReason.TOKEN_NOT_FOUND);
  time += 300_000;
  expect((await as(kss).introspectToken({ tokenId })).active).toBe(false);
});

test.each([
  ["its consumer", consumer],
  ["an operator", operator],
])("%s revokes a token, once or twice", async (_, who) => {
  const { tokenId } = await as(management).createToken(order);
  await as(who).revokeToken({ tokenId });
  await as(who).revokeToken({ tokenId });
  expect((await as(kss).introspectToken({ tokenId })).active).toBe(false);
  await level.close();
  await open();
  expect((await as(kss).introspectToken({ tokenId })).active).toBe(false);
});

test("another consumer's token and no token give the same refusal", async () => {
  const { tokenId } = await as(management).createToken(order);
  for (const id of [tokenId, "0".repeat(32)]) {
    const call = as("urn:x1410:user:other").revokeToken({ tokenId: id });
    await refused(call, Code.NotFound, ErrorReason.TOKEN_NOT_FOUND);
  }
  expect((await as(kss).introspectToken({ tokenId })).active).toBe(true);
});
