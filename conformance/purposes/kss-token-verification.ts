// Token verification (TV, clause 6.2.3) of a key storage server, seen at GetKey, with the kit as the management that issues the tokens:
// so that a token may be wrong in exactly one place.
import { createSecretKey, generateKeyPairSync } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import type { Introspection, TokenFaults } from "../harness/tester-management.ts";
import { expect } from "../procedures/procedure.ts";
import { same } from "../roles/user.ts";
import type { TestCase } from "../test-case.ts";
import { orderFor, redeem, storedKey } from "./kss-stored-key.ts";
import { type Purpose, purpose } from "./purpose.ts";
import { getKeyByToken, seconds, type WrongToken, wrongToken } from "./wrong-token.ts";

interface FaultyToken extends Omit<WrongToken, "wrong"> {
  readonly faults: (t: TestCase) => TokenFaults;
}

/** GetKey with a token that its issuer made with one thing wrong. */
function faultyToken({ faults, ...spec }: FaultyToken): Purpose {
  return wrongToken({ ...spec, wrong: (t, key) => t.management.issue(orderFor(t, key), faults(t)) });
}

interface Introspected extends Omit<WrongToken, "wrong"> {
  readonly answer: Introspection;
}

/** GetKey with a token about which its issuer has something to say. */
function introspected({ answer, reason, ...spec }: Introspected): Purpose {
  return purpose({
    ...getKeyByToken,
    ...spec,
    steps: ["F4.13.2", "A2.10.2"],
    requires: ["F4.13.2"],
    expected: { reason },
    twin: "GetKey with a token that the issuer says is active",
    diagram: [
      ["DC", "KSS", "GetKey(token)"],
      ["KSS", "tester's DSSM", "IntrospectToken"],
      ["tester's DSSM", "KSS", answer],
      ["KSS", "DC", "refused"],
    ],
    async run(t) {
      const key = await storedKey(t);
      const good = await t.management.issue(orderFor(t, key));
      await t.positiveTwin("an active token gets the key", () => redeem(t, good, key));
      const token = await t.management.issue(orderFor(t, key));
      t.management.answer(token, answer);
      await t.expectRefusal(() => redeem(t, token, key));
    },
  });
}

export const tokenVerificationPurposes: readonly Purpose[] = [
  purpose({
    ...getKeyByToken,
    id: "TP/KSS/TV/BV-01",
    title: "accepts a token signed with ECDSA P-256",
    requires: ["TOKEN-ES256"],
    capabilities: ["TV1", "TV2", "TV3", "KSM5", "KSM6"],
    steps: ["F4.12.2", "F4.13.1", "F4.14", "A2.9", "A2.10.1", "A2.11", "A2.12"],
    stimulus: "GetKey with a good token, ES256",
    expected: "the key, byte for byte",
    likelyMistake: "the issuer's keys are not fetched from TokenService.ListTokenKeys, or not looked up by kid",
    async run(t) {
      const key = await storedKey(t);
      const secret = await redeem(t, await t.management.issue(orderFor(t, key)), key);
      expect(same(secret, key.secret), "the key that the provider stored");
      t.seen("the provider's key");
    },
  }),
  purpose({
    ...getKeyByToken,
    id: "TP/KSS/TV/BV-02",
    title: "accepts a token signed with Ed25519",
    requires: ["TOKEN-EDDSA"],
    stimulus: "GetKey with a good token, EdDSA",
    expected: "the key, byte for byte",
    likelyMistake: "EdDSA is missing from the accepted algorithms; the profile has it mandatory",
    async run(t) {
      const key = await storedKey(t);
      const secret = await redeem(t, await t.management.issue(orderFor(t, key), {}, "EdDSA"), key);
      expect(same(secret, key.secret), "the key that the provider stored");
      t.seen("the provider's key");
    },
  }),
  faultyToken({
    id: "TP/KSS/TV/BI-01",
    title: "refuses an expired token",
    stimulus: "exp two minutes ago, beyond the clock skew of 60 s",
    reason: ErrorReason.TOKEN_EXPIRED,
    likelyMistake: "exp is not compared with the clock, or with a skew of several minutes, as some libraries have it",
    faults: () => ({ claims: { iat: seconds() - 300, nbf: seconds() - 300, exp: seconds() - 120 } }),
  }),
  faultyToken({
    id: "TP/KSS/TV/BI-02",
    title: "refuses a token that is not yet valid",
    stimulus: "nbf two minutes ahead, beyond the clock skew of 60 s; iat and exp as in a good token",
    reason: ErrorReason.TOKEN_EXPIRED,
    likelyMistake: "nbf is not looked at",
    faults: () => ({ claims: { nbf: seconds() + 120 } }),
  }),
  faultyToken({
    id: "TP/KSS/TV/BI-31",
    title: "refuses a token that says it will be issued",
    stimulus: "iat two minutes ahead, beyond the clock skew of 60 s; nbf now, exp within five minutes of iat",
    reason: ErrorReason.TOKEN_EXPIRED,
    likelyMistake: "iat is not looked at: libraries check nbf and exp, and leave iat to the application",
    faults: () => ({ claims: { iat: seconds() + 120 } }),
  }),
  faultyToken({
    id: "TP/KSS/TV/BI-03",
    title: "refuses a token for another key storage server",
    stimulus: "aud of another key storage server",
    reason: ErrorReason.TOKEN_INVALID,
    likelyMistake: "aud is not compared with the server's own identity",
    faults: () => ({ claims: { aud: "urn:x1410:entity:kss:somebody-else" } }),
  }),
  faultyToken({
    id: "TP/KSS/TV/BI-04",
    title: "refuses a token that says it is signed by a MAC",
    stimulus: "HS256 under the issuer's public key as the secret (RFC 8725, 2.1)",
    reason: ErrorReason.TOKEN_INVALID,
    likelyMistake: "the algorithm is taken from the token's header instead of from the key",
    faults: (t) => ({
      header: { alg: "HS256" },
      key: createSecretKey(t.management.publicKey().export({ type: "spki", format: "pem" }) as string, "utf8"),
    }),
  }),
  faultyToken({
    id: "TP/KSS/TV/BI-05",
    title: "refuses a token under a key id that its issuer does not publish",
    stimulus: "a key of nobody's, under an unknown kid",
    reason: ErrorReason.TOKEN_INVALID,
    likelyMistake: "any key of the issuer is tried, or the token's own jwk is believed",
    faults: () => ({
      header: { kid: "nobody-publishes-this" },
      key: generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey,
    }),
  }),
  faultyToken({
    id: "TP/KSS/TV/BI-06",
    title: "refuses a token of an issuer that is in no registry",
    stimulus: "iss of a management that nobody registered",
    reason: ErrorReason.TOKEN_INVALID,
    likelyMistake: "the issuer is believed, or its keys are fetched from wherever it says",
    faults: () => ({ claims: { iss: "urn:x1410:entity:dssm:nobody-registered" } }),
  }),
  faultyToken({
    id: "TP/KSS/TV/BI-07",
    title: "refuses another JWT of the same issuer",
    stimulus: "typ JWT instead of at+jwt (RFC 9068, 2.1)",
    reason: ErrorReason.TOKEN_INVALID,
    likelyMistake: "typ is not looked at, so that any signed JWT of the issuer opens keys",
    faults: () => ({ header: { typ: "JWT" } }),
  }),
  faultyToken({
    id: "TP/KSS/TV/BI-08",
    title: "refuses a token that is bound to another certificate",
    stimulus: "cnf.x5t#S256 of another certificate: a stolen token (RFC 8705, 3)",
    reason: ErrorReason.TOKEN_BINDING_MISMATCH,
    likelyMistake: "the token is a bearer token to this server: the certificate of the connection is not compared",
    faults: (t) => ({ claims: { cnf: { "x5t#S256": Buffer.from(t.random(32)).toString("base64url") } } }),
  }),
  faultyToken({
    id: "TP/KSS/TV/BI-09",
    title: "refuses a token that is bound to no certificate",
    stimulus: "no cnf",
    reason: ErrorReason.TOKEN_BINDING_MISMATCH,
    likelyMistake: "a missing cnf is taken for a token that needs no binding",
    faults: () => ({ claims: { cnf: undefined } }),
  }),
  faultyToken({
    id: "TP/KSS/TV/BI-10",
    title: "refuses a token that lives longer than five minutes",
    stimulus: "a lifetime of one hour",
    reason: ErrorReason.TOKEN_INVALID,
    likelyMistake: "exp is honoured however far ahead it is",
    faults: () => ({ claims: { exp: seconds() + 3600 } }),
  }),
  purpose({
    ...getKeyByToken,
    id: "TP/KSS/TV/BI-11",
    title: "refuses a token for another key, whether or not that key exists",
    stimulus: "GetKey for key B with a token for key A; for a key that does not exist",
    expected: { reason: ErrorReason.TOKEN_KEY_MISMATCH },
    twin: "GetKey for key A with the token for key A",
    likelyMistake: "authorization_details are not compared with the key asked for, or the key is looked up first",
    async run(t) {
      const [a, b] = [await storedKey(t), await storedKey(t)];
      const first = await t.management.issue(orderFor(t, a));
      await t.positiveTwin("the token gets its own key", () => redeem(t, first, a));
      const token = await t.management.issue(orderFor(t, a));
      await t.expectRefusal(() => redeem(t, token, b));
      await t.expectRefusal(() => redeem(t, token, { keyId: Buffer.from(t.random(16)).toString("hex") }));
    },
  }),
  purpose({
    ...getKeyByToken,
    id: "TP/KSS/TV/BI-12",
    title: "refuses a token of a trusted management that the key's owner did not name",
    stimulus: "a good token of the second management for a key that names the first",
    expected: { reason: ErrorReason.TOKEN_ISSUER_NOT_NAMED },
    twin: "a good token of the second management for a key that names it",
    likelyMistake: "any registered management's token opens any key; RegisterKey names one",
    async run(t) {
      const [named, other] = [await storedKey(t, t.secondManagement.identity), await storedKey(t)];
      const good = await t.secondManagement.issue(orderFor(t, named));
      await t.positiveTwin("the named management's token gets the key", () => redeem(t, good, named));
      const wrong = await t.secondManagement.issue(orderFor(t, other));
      await t.expectRefusal(() => redeem(t, wrong, other));
    },
  }),
  purpose({
    ...getKeyByToken,
    id: "TP/KSS/TV/BV-10",
    title: "asks token management about a token before the key leaves",
    steps: ["F4.13.2", "A2.10.2"],
    requires: ["F4.13.2"],
    stimulus: "GetKey with a good token",
    expected: "IntrospectToken at the issuer, then the key",
    diagram: [
      ["DC", "KSS", "GetKey(token)"],
      ["KSS", "tester's DSSM", "IntrospectToken"],
      ["tester's DSSM", "KSS", "active"],
      ["KSS", "DC", "the key"],
    ],
    likelyMistake: "introspection is configured and not performed",
    async run(t) {
      const key = await storedKey(t);
      const token = await t.management.issue(orderFor(t, key));
      await redeem(t, token, key);
      expect(t.management.asked(token) > 0, "a question about this token at its issuer");
      t.seen("the issuer was asked about the token");
    },
  }),
  introspected({
    id: "TP/KSS/TV/BI-40",
    title: "refuses a token that its issuer says is not active",
    stimulus: "a token revoked after it was issued",
    reason: ErrorReason.TOKEN_REVOKED,
    answer: "inactive",
    likelyMistake: "the answer of IntrospectToken is not looked at",
  }),
  introspected({
    id: "TP/KSS/TV/BI-41",
    title: "keeps the key where token management does not answer",
    stimulus: "IntrospectToken fails with UNAVAILABLE",
    reason: ErrorReason.INTROSPECTION_UNAVAILABLE,
    answer: "unavailable",
    likelyMistake: "introspection fails open: whoever can cut the connection gets keys with revoked tokens",
  }),
  purpose({
    ...getKeyByToken,
    id: "TP/KSS/TV/BO-01",
    title: "redeems a token once, and remembers it",
    capabilities: ["TV2", "KSM6"],
    stimulus: "GetKey again with the same token under another request id, at once and three seconds later",
    expected: { reason: ErrorReason.TOKEN_REDEEMED },
    twin: "GetKey again under the first request id",
    likelyMistake: "(iss, jti) are not kept, or only until the answer has left or a cache has made room",
    async run(t) {
      const key = await storedKey(t);
      const token = await t.management.issue(orderFor(t, key));
      const requestId = t.random(16);
      await t.positiveTwin("the same request id gets the key again", async () => {
        const first = await redeem(t, token, key, t.consumer, requestId);
        const again = await redeem(t, token, key, t.consumer, requestId);
        expect(same(first, key.secret) && same(again, key.secret), "the stored key, both times");
      });
      await t.expectRefusal(() => redeem(t, token, key));
      // Far from the token's end: what is forgotten by then was never kept for its lifetime.
      await sleep(3000, undefined, { signal: t.signal });
      await t.expectRefusal(() => redeem(t, token, key));
    },
  }),
];
