// Attacks with access tokens on the running key storage server (TV, KSM, clauses 6.2.3 and 7.3.2). The tester plays managements that are
// registered in the network, so that nothing but the token itself is wrong. Token management is asked about each token (F4.13.2).
import { createPublicKey, generateKeyPairSync, randomBytes } from "node:crypto";
import { type Client, Code, ConnectError } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { expectRefusal } from "../../conformance/refusal.ts";
import type { Credential } from "../../conformance/target.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { KeyStorageService } from "../../gen/x1410/v1/key_storage_pb.ts";
import { TokenService } from "../../gen/x1410/v1/token_pb.ts";
import { TokenVerificationService } from "../../gen/x1410/v1/token_verification_pb.ts";
import { reasonOf } from "../communications/refusal.ts";
import { authorization } from "../key-storage-server/token.fixture.ts";
import { type Door, doors, grantFor, rigForFile } from "./attack-rig.fixture.ts";
import { type IssuingManagement, startIssuingManagement, storedKey } from "./token-issuer.fixture.ts";

const rig = rigForFile({ introspection: "required" });
let named: IssuingManagement;
let stranger: IssuingManagement;
let keyId: string;
let key: Uint8Array;

beforeAll(async () => {
  named = await startIssuingManagement(rig(), "named");
  stranger = await startIssuingManagement(rig(), "stranger");
  ({ keyId, key } = await storedKey(rig(), named.issuer.identity));
});
afterAll(async () => {
  await named.close();
  await stranger.close();
});

const clients = new Map<string, Client<typeof KeyStorageService>>();

function keysAs(credential: Credential, door: Door): Client<typeof KeyStorageService> {
  const name = `${door} ${credential.certificateChainPem}`;
  const client = clients.get(name) ?? rig().client(KeyStorageService, "kss", credential, door);
  clients.set(name, client);
  return client;
}

const redeem = (door: Door, accessToken: string, requestId = randomBytes(16), credential = rig().target.consumer) =>
  keysAs(credential, door).getKey({ accessToken, keyId, requestId });
const seconds = () => Math.floor(Date.now() / 1000);
const unsigned = (token: string, header: object) => {
  const [, payload = ""] = token.split(".");
  return `${Buffer.from(JSON.stringify(header)).toString("base64url")}.${payload}.`;
};

describe.each(doors)("through the %s", (door) => {
  const good = () => named.issue(keyId, rig().target.consumer);
  const issue = (claims: object, header: object = {}) =>
    named.issue(keyId, rig().target.consumer, { ...claims }, { ...header });

  test("a good token opens the key, and none opens nothing", async () => {
    expect(Buffer.from((await redeem(door, await good())).key)).toEqual(Buffer.from(key));
    await expectRefusal(() => redeem(door, ""), ErrorReason.TOKEN_MISSING);
  });

  const { TOKEN_INVALID, TOKEN_EXPIRED, TOKEN_BINDING_MISMATCH, TOKEN_KEY_MISMATCH } = ErrorReason;
  const shapes: [string, () => Promise<string>, ErrorReason][] = [
    ["algorithm none", async () => unsigned(await good(), { alg: "none", typ: "at+jwt" }), TOKEN_INVALID],
    [
      "a MAC under the public key",
      () => named.issue(keyId, rig().target.consumer, {}, { alg: "HS256" }, publicKeyBytes()),
      TOKEN_INVALID,
    ],
    [
      "a signature by another key under the known key id",
      () =>
        named.issue(
          keyId,
          rig().target.consumer,
          {},
          {},
          generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey,
        ),
      TOKEN_INVALID,
    ],
    ["an altered payload", async () => altered(await good()), TOKEN_INVALID],
    ["an unknown key id", () => issue({}, { kid: "unknown" }), TOKEN_INVALID],
    ["a path for a key id", () => issue({}, { kid: "../../etc/passwd" }), TOKEN_INVALID],
    ["a key of its own in the header", () => issue({}, { jwk: { kty: "EC" }, kid: "own" }), TOKEN_INVALID],
    ["type JWT", () => issue({}, { typ: "JWT" }), TOKEN_INVALID],
    ["no type", () => issue({}, { typ: undefined }), TOKEN_INVALID],
    ["an issuer outside the registry", () => issue({ iss: "urn:x1410:entity:dssm:nobody" }), TOKEN_INVALID],
    ["an issuer that is no management", () => issue({ iss: "urn:x1410:entity:dss:local" }), TOKEN_INVALID],
    ["another issuer's name under the own key", () => issue({ iss: "urn:x1410:entity:dssm:local" }), TOKEN_INVALID],
    ["the audience of another server", () => issue({ aud: "urn:x1410:entity:kss:other" }), TOKEN_INVALID],
    ["two audiences", () => issue({ aud: [rig().identity("kss"), "urn:x1410:entity:kss:other"] }), TOKEN_INVALID],
    ["no token id", () => issue({ jti: undefined }), TOKEN_INVALID],
    ["a life of an hour", () => issue({ exp: seconds() + 3600 }), TOKEN_INVALID],
    ["no end", () => issue({ exp: undefined }), TOKEN_INVALID],
    ["expired", () => issue({ iat: seconds() - 500, nbf: seconds() - 500, exp: seconds() - 200 }), TOKEN_EXPIRED],
    [
      "not valid before ten minutes from now",
      () => issue({ iat: seconds() + 600, nbf: seconds() + 600, exp: seconds() + 900 }),
      TOKEN_EXPIRED,
    ],
    ["not bound to a certificate", () => issue({ cnf: undefined }), TOKEN_BINDING_MISMATCH],
    ["bound to another certificate", () => issue({ cnf: { "x5t#S256": "A".repeat(43) } }), TOKEN_BINDING_MISMATCH],
    ["bound by a JSON array", () => issue({ cnf: { "x5t#S256": ["A"] } }), TOKEN_BINDING_MISMATCH],
    ["for another key", () => issue({ authorization_details: [authorization("a".repeat(32))] }), TOKEN_KEY_MISMATCH],
    ["for no key", () => issue({ authorization_details: undefined }), TOKEN_KEY_MISMATCH],
    ["two tokens in one", async () => `${await good()}.${await good()}`, TOKEN_INVALID],
    ["no token at all", async () => "\u0000not.a.token", TOKEN_INVALID],
  ];

  test.each(shapes)("refused: %s", async (_, token, reason) => {
    await expectRefusal(async () => redeem(door, await token()), reason);
  });

  test("within the clock skew a token still opens the key", async () => {
    await redeem(door, await issue({ iat: seconds() - 310, nbf: seconds() - 310, exp: seconds() - 30 }));
    await redeem(door, await issue({ iat: seconds() + 30, nbf: seconds() + 30, exp: seconds() + 300 }));
  });

  test("a stolen token opens nothing under another certificate, and is not spent by the attempt", async () => {
    const token = await good();
    const twin = rig().issue("user", "consumer");
    for (const thief of [rig().target.provider, twin])
      await expectRefusal(() => redeem(door, token, randomBytes(16), thief), TOKEN_BINDING_MISMATCH);
    await redeem(door, token);
  });

  test("redeemed once; the same request again gets the key again", async () => {
    const token = await good();
    const requestId = randomBytes(16);
    const first = await redeem(door, token, requestId);
    expect((await redeem(door, token, requestId)).key).toEqual(first.key);
    await expectRefusal(() => redeem(door, token), ErrorReason.TOKEN_REDEEMED);
  });

  test("of 100 redemptions at once with different request ids exactly one gets the key", async () => {
    const token = await good();
    const outcomes = await Promise.allSettled(Array.from({ length: 100 }, () => redeem(door, token)));
    const failures = outcomes.flatMap((each) => (each.status === "rejected" ? [reasonOf(each.reason)] : []));
    expect(failures).toEqual(new Array(99).fill(ErrorReason.TOKEN_REDEEMED));
  });

  test("of 100 redemptions at once with the same request id every one gets the key", async () => {
    const token = await good();
    const requestId = randomBytes(16);
    const answers = await Promise.all(Array.from({ length: 100 }, () => redeem(door, token, requestId)));
    expect(answers.every((answer) => Buffer.compare(answer.key, key) === 0)).toBe(true);
  });

  test("a token for one key opens no other, whether or not there is one", async () => {
    const other = await storedKey(rig(), named.issuer.identity);
    const keys = keysAs(rig().target.consumer, door);
    const token = await good();
    for (const wanted of [other.keyId, "0".repeat(32)])
      await expectRefusal(
        () => keys.getKey({ accessToken: token, keyId: wanted, requestId: randomBytes(16) }),
        TOKEN_KEY_MISMATCH,
      );
  });

  test("a management that the owner did not name opens nothing, registered and trusted as it is", async () => {
    const theirs = await storedKey(rig(), stranger.issuer.identity);
    const keys = keysAs(rig().target.consumer, door);
    const call = async (id: string) => {
      const accessToken = await stranger.issue(id, rig().target.consumer);
      return keys.getKey({ accessToken, keyId: id, requestId: randomBytes(16) });
    };
    await call(theirs.keyId);
    await expectRefusal(() => call(keyId), ErrorReason.TOKEN_ISSUER_NOT_NAMED);
  });

  test("revoked at introspection: no key; not known there: no key", async () => {
    const jti = randomBytes(16).toString("hex");
    named.issuer.revoked.add(jti);
    await expectRefusal(async () => redeem(door, await issue({ jti })), ErrorReason.TOKEN_REVOKED);
    const unknown = randomBytes(16).toString("hex");
    named.issuer.unknown.add(unknown);
    await expectRefusal(async () => redeem(door, await issue({ jti: unknown })), ErrorReason.TOKEN_REVOKED);
  });

  test("introspection down: UNAVAILABLE and no key, and the token is not spent", async () => {
    const token = await good();
    named.issuer.reachable = false;
    try {
      await expectRefusal(() => redeem(door, token), ErrorReason.INTROSPECTION_UNAVAILABLE);
    } finally {
      named.issuer.reachable = true;
    }
    await redeem(door, token);
  });

  test("a consumer revokes its own token at the stack's management, nobody else's", async () => {
    const scene = await rig().scene(door);
    const { grant } = await grantFor(scene);
    const tokenId = tokenIdOf(grant.accessToken);
    const stranger = rig().client(TokenService, "dssm", rig().target.provider, door);
    await expectRefusal(() => stranger.revokeToken({ tokenId }), ErrorReason.TOKEN_NOT_FOUND);
    await rig().client(TokenService, "dssm", rig().target.consumer, door).revokeToken({ tokenId });
    const keys = keysAs(rig().target.consumer, door);
    await expectRefusal(
      () => keys.getKey({ accessToken: grant.accessToken, keyId: scene.shared.key.id, requestId: randomBytes(16) }),
      ErrorReason.TOKEN_REVOKED,
    );
  });

  test("token verification answers its own server alone", async () => {
    const call = (credential: Credential) =>
      rig()
        .client(TokenVerificationService, "kss", credential, door)
        .verifyToken({ accessToken: "x", consumerCertificateSha256: new Uint8Array(32), keyId });
    await expectRefusal(() => call(rig().credentialOf("kss")), TOKEN_INVALID);
    for (const credential of [rig().target.consumer, rig().credentialOf("dssm"), rig().issue("kss", "other")])
      await expectRefusal(() => call(credential), ErrorReason.CALLER_NOT_ALLOWED);
  });
});

test("every refusal of a token has the code of the list", async () => {
  const cause = await redeem("gRPC", "x").then(() => undefined, ConnectError.from);
  expect(cause?.code).toBe(Code.Unauthenticated);
});

function publicKeyBytes(): Uint8Array {
  return createPublicKey(named.issuer.publicKey.export({ type: "spki", format: "pem" })).export({
    type: "spki",
    format: "der",
  });
}

function altered(token: string): string {
  const [header, payload = "", signature] = token.split(".");
  const claims = JSON.parse(Buffer.from(payload, "base64url").toString()) as Record<string, unknown>;
  const changed = Buffer.from(JSON.stringify({ ...claims, sub: "urn:x1410:user:mallory" })).toString("base64url");
  return [header, changed, signature].join(".");
}

function tokenIdOf(token: string): string {
  const [, payload = ""] = token.split(".");
  return (JSON.parse(Buffer.from(payload, "base64url").toString()) as { jti: string }).jti;
}
