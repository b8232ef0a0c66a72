import { createPrivateKey, createSecretKey, generateKeyPairSync } from "node:crypto";
import { beforeEach, describe, expect, test } from "vitest";
import { bindDirect, directPeer } from "../communications/direct-binding.ts";
import { Clock, peerOf, refusalOf } from "../store/entity.fixture.ts";
import { authorization, KSS, TokenIssuer } from "./token.fixture.ts";
import { createTokenVerification } from "./token-verification.ts";

const DSSM = "urn:x1410:entity:dssm:one";
const keyId = "a".repeat(32);
const consumer = peerOf("urn:x1410:user:carol");
const order = { keyId, consumer };
const MINUTE = 60_000;

let clock: Clock;
let issuer: TokenIssuer;
let registered: Set<string>;

beforeEach(() => {
  clock = new Clock();
  issuer = new TokenIssuer(DSSM, clock.now);
  registered = new Set([DSSM]);
});

function verification(introspection: "off" | "required" = "off") {
  const registration = createTokenVerification({
    identity: KSS,
    registry: registered,
    tokenServices: () => issuer.client,
    now: clock.now,
    introspection,
  });
  return bindDirect(registration, { peer: directPeer(KSS) });
}

const ask = (accessToken: string, client = verification(), certificate = consumer) =>
  client.verifyToken({
    accessToken,
    consumerCertificateSha256: new Uint8Array(Buffer.from(certificate.fingerprint, "hex")),
    keyId,
  });

const seconds = () => Math.floor(clock.now().getTime() / 1000);

test("a good token is answered with what it says", async () => {
  const result = await ask(await issuer.issue(order, { jti: "e".repeat(32) }));
  expect(result).toMatchObject({
    issuer: DSSM,
    tokenId: "e".repeat(32),
    consumerIdentity: consumer.identity,
    accessId: "d".repeat(32),
    contractAddress: `x1410://dlt.test/contracts/${"c".repeat(32)}`,
    expiresAt: { seconds: BigInt(seconds() + 300) },
  });
});

test("tokens signed with Ed25519 are taken, under both names of the algorithm", async () => {
  issuer = new TokenIssuer(DSSM, clock.now, "EdDSA");
  await ask(await issuer.issue(order));
  await ask(await issuer.issue(order, {}, { alg: "Ed25519" }));
});

test("another key storage server is not answered", async () => {
  const registration = createTokenVerification({
    identity: KSS,
    registry: registered,
    tokenServices: () => issuer.client,
    now: clock.now,
    introspection: "off",
  });
  const stranger = bindDirect(registration, { peer: directPeer("urn:x1410:entity:kss:two") });
  expect(await refusalOf(ask(await issuer.issue(order), stranger))).toBe("PERMISSION_DENIED CALLER_NOT_ALLOWED");
});

describe("what is no valid token", () => {
  const refused = async (token: string) => expect(await refusalOf(ask(token)));

  test("none", async () => {
    (await refused("")).toBe("UNAUTHENTICATED TOKEN_MISSING");
  });

  test.each(["x", "a.b.c", "e30.e30.", "..", "e30.e30.e30.e30.e30", "\u0000"])("no JWT: %j", async (token) => {
    (await refused(token)).toBe("UNAUTHENTICATED TOKEN_INVALID");
  });

  test.each<[string, Record<string, unknown>]>([
    ["type JWT", { typ: "JWT" }],
    ["no type", { typ: undefined }],
    ["an unknown key id", { kid: "unknown" }],
    ["no key id", { kid: undefined }],
  ])("%s", async (_what, header) => {
    (await refused(await issuer.issue(order, {}, header))).toBe("UNAUTHENTICATED TOKEN_INVALID");
  });

  test("algorithm none", async () => {
    const [header = "", payload = ""] = (await issuer.issue(order)).split(".");
    const decoded = JSON.parse(Buffer.from(header, "base64url").toString()) as object;
    const none = Buffer.from(JSON.stringify({ ...decoded, alg: "none" })).toString("base64url");
    (await refused(`${none}.${payload}.`)).toBe("UNAUTHENTICATED TOKEN_INVALID");
  });

  test("a MAC under the public key", async () => {
    const secret = createSecretKey(issuer.publicKey.export({ type: "spki", format: "der" }));
    const token = await issuer.issue(order, {}, { alg: "HS256" }, secret);
    (await refused(token)).toBe("UNAUTHENTICATED TOKEN_INVALID");
  });

  test("a signature by another key under a known key id", async () => {
    const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const token = await issuer.issue(
      order,
      {},
      {},
      createPrivateKey(privateKey.export({ type: "pkcs8", format: "pem" })),
    );
    (await refused(token)).toBe("UNAUTHENTICATED TOKEN_INVALID");
  });

  test("a changed payload", async () => {
    const [header, payload = "", signature] = (await issuer.issue(order)).split(".");
    const claims = JSON.parse(Buffer.from(payload, "base64url").toString()) as { exp: number };
    const changed = Buffer.from(JSON.stringify({ ...claims, sub: "urn:x1410:user:mallory" })).toString("base64url");
    (await refused(`${header}.${changed}.${signature}`)).toBe("UNAUTHENTICATED TOKEN_INVALID");
  });

  test.each<[string, () => Record<string, unknown>]>([
    ["of an unregistered management", () => ({ iss: "urn:x1410:entity:dssm:two" })],
    ["of an issuer that is no management", () => ({ iss: KSS })],
    ["without issuer", () => ({ iss: undefined })],
    ["for another key storage server", () => ({ aud: "urn:x1410:entity:kss:two" })],
    ["for two audiences", () => ({ aud: [KSS, "urn:x1410:entity:kss:two"] })],
    ["for nobody", () => ({ aud: undefined })],
    ["without subject", () => ({ sub: undefined })],
    ["without token id", () => ({ jti: undefined })],
    ["with a token id of another form", () => ({ jti: "../x" })],
    ["without end", () => ({ exp: undefined })],
    ["without time of issue", () => ({ iat: undefined })],
    ["that lives longer than 5 minutes", () => ({ exp: seconds() + 301 })],
    ["that lives longer counted from its issue", () => ({ nbf: seconds() + 30, exp: seconds() + 310 })],
    ["that ends before it begins", () => ({ exp: seconds() - 1 })],
    [
      "whose authorization lacks the access",
      () => ({
        authorization_details: [{ ...authorization(keyId), access_id: undefined }],
      }),
    ],
    [
      "whose permission ends at no time",
      () => ({
        authorization_details: [{ ...authorization(keyId), not_after: "never" }],
      }),
    ],
  ])("a token %s", async (_what, claims) => {
    registered.add(KSS);
    (await refused(await issuer.issue(order, claims()))).toBe("UNAUTHENTICATED TOKEN_INVALID");
  });

  test("one of the audience in a list of one is good", async () => {
    await ask(await issuer.issue(order, { aud: [KSS] }));
  });
});

describe("time", () => {
  test("a token is good until its end and the skew, and no longer", async () => {
    const token = await issuer.issue(order);
    clock.advance(6 * MINUTE - 1);
    await ask(token);
    clock.advance(1);
    expect(await refusalOf(ask(token))).toBe("UNAUTHENTICATED TOKEN_EXPIRED");
  });

  test("where the permission ends, the token does at once, without any skew", async () => {
    const ends = seconds() + 120;
    const claims = { exp: ends, authorization_details: [{ ...authorization(keyId), not_after: ends }] };
    const token = await issuer.issue(order, claims);
    clock.advance(ends * 1000 - clock.now().getTime() - 1);
    await ask(token);
    clock.advance(1);
    expect(await refusalOf(ask(token))).toBe("UNAUTHENTICATED TOKEN_EXPIRED");
  });

  test("a permission that ends within the skew after the token ends with itself", async () => {
    const ends = seconds() + 310;
    const authorizations = [{ ...authorization(keyId), not_after: ends }];
    const token = await issuer.issue(order, { authorization_details: authorizations });
    clock.advance(ends * 1000 - clock.now().getTime() - 1);
    await ask(token);
    clock.advance(1);
    expect(await refusalOf(ask(token))).toBe("UNAUTHENTICATED TOKEN_EXPIRED");
  });

  test("a token that begins later is good within the skew, and not before", async () => {
    const begins = seconds() + 61;
    const token = await issuer.issue(order, { iat: begins, nbf: begins, exp: begins + 300 });
    expect(await refusalOf(ask(token))).toBe("UNAUTHENTICATED TOKEN_EXPIRED");
    clock.advance(1_000);
    await ask(token);
  });
});

describe("binding and key", () => {
  test("a stolen token is worth nothing with another certificate", async () => {
    const token = await issuer.issue(order);
    const thief = peerOf("urn:x1410:user:mallory");
    expect(await refusalOf(ask(token, verification(), thief))).toBe("UNAUTHENTICATED TOKEN_BINDING_MISMATCH");
  });

  test.each([{ cnf: undefined }, { cnf: {} }, { cnf: "x" }, { cnf: { "x5t#S256": "" } }])(
    "a token without binding is worth nothing: %j",
    async (claims) => {
      const token = await issuer.issue(order, claims);
      expect(await refusalOf(ask(token))).toBe("UNAUTHENTICATED TOKEN_BINDING_MISMATCH");
    },
  );

  test.each<[string, unknown]>([
    ["another key", [authorization("f".repeat(32))]],
    ["none", []],
    ["nothing at all", undefined],
    ["the key under another type", [{ ...authorization(keyId), type: "other" }]],
    ["what is no list", authorization(keyId)],
    ["null", [null]],
  ])("a token that names %s opens no key", async (_what, authorizationDetails) => {
    const token = await issuer.issue(order, { authorization_details: authorizationDetails });
    expect(await refusalOf(ask(token))).toBe("PERMISSION_DENIED TOKEN_KEY_MISMATCH");
  });

  test("the key is found among several authorizations", async () => {
    const details = [authorization("f".repeat(32)), authorization(keyId)];
    await ask(await issuer.issue(order, { authorization_details: details }));
  });
});

describe("the issuer's keys", () => {
  test("are fetched once for many tokens, and tokens are verified while the issuer is away", async () => {
    const client = verification();
    await Promise.all(Array.from({ length: 20 }, async () => ask(await issuer.issue(order), client)));
    expect(issuer.fetches).toBe(1);
    issuer.reachable = false;
    clock.advance(59 * MINUTE);
    await ask(await issuer.issue(order), client);
    clock.advance(2 * MINUTE);
    expect(await refusalOf(ask(await issuer.issue(order), client))).toBe("UNAVAILABLE INTROSPECTION_UNAVAILABLE");
    issuer.reachable = true;
    await ask(await issuer.issue(order), client);
  });

  test("a new key is fetched when its first token comes", async () => {
    const client = verification();
    await ask(await issuer.issue(order), client);
    issuer.rotate();
    await ask(await issuer.issue(order), client);
    expect(issuer.fetches).toBe(2);
  });

  test("a withdrawn key stops verifying", async () => {
    const client = verification();
    const former = await issuer.issue(order);
    await ask(former, client);
    issuer.rotate();
    issuer.withdrawFormerKeys();
    clock.advance(5 * MINUTE + 1);
    expect(await refusalOf(ask(former, client))).toBe("UNAUTHENTICATED TOKEN_INVALID");
    await ask(await issuer.issue(order), client);
  });

  test("forged key ids are no load on the issuer, and known keys go on", async () => {
    const client = verification();
    for (let index = 0; index < 40; index++) {
      const token = await issuer.issue(order, {}, { kid: `forged ${index}` });
      expect(await refusalOf(ask(token, client))).toBe("UNAUTHENTICATED TOKEN_INVALID");
    }
    expect(issuer.fetches).toBe(12);
    await ask(await issuer.issue(order), client);
    issuer.rotate();
    clock.advance(MINUTE);
    await ask(await issuer.issue(order), client);
    expect(issuer.fetches).toBe(13);
  });

  test("an issuer that was never reached is no reason to take its token", async () => {
    issuer.reachable = false;
    expect(await refusalOf(ask(await issuer.issue(order)))).toBe("UNAVAILABLE INTROSPECTION_UNAVAILABLE");
  });

  test("a management answers for its own keys only", async () => {
    const other = new TokenIssuer("urn:x1410:entity:dssm:two", clock.now);
    const token = await issuer.issue(order);
    const client = bindDirect(
      createTokenVerification({
        identity: KSS,
        registry: registered,
        tokenServices: () => other.client,
        now: clock.now,
        introspection: "off",
      }),
      { peer: directPeer(KSS) },
    );
    expect(await refusalOf(ask(token, client))).toBe("UNAVAILABLE INTROSPECTION_UNAVAILABLE");
  });
});

describe("introspection", () => {
  test("is asked where it is required only", async () => {
    const token = await issuer.issue(order, { jti: "1".repeat(32) });
    await ask(token, verification("required"));
    issuer.revoked.add("1".repeat(32));
    await ask(token, verification("off"));
    expect(await refusalOf(ask(token, verification("required")))).toBe("UNAUTHENTICATED TOKEN_REVOKED");
  });

  test("a token that token management does not know is not active", async () => {
    issuer.unknown.add("2".repeat(32));
    const token = await issuer.issue(order, { jti: "2".repeat(32) });
    expect(await refusalOf(ask(token, verification("required")))).toBe("UNAUTHENTICATED TOKEN_REVOKED");
  });

  test("fails closed", async () => {
    const client = verification("required");
    const token = await issuer.issue(order);
    await ask(token, client);
    issuer.reachable = false;
    expect(await refusalOf(ask(token, client))).toBe("UNAVAILABLE INTROSPECTION_UNAVAILABLE");
  });
});
