// Token verification and the release of keys (TV, KSM, clause 6.2.3): tokens that are wrong in form or claims, and one token that comes
// often.
import { generateKeyPairSync } from "node:crypto";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { withTokenAltered } from "../mutation.ts";
import { expect } from "../procedures/procedure.ts";
import { same } from "../roles/user.ts";
import type { TestCase } from "../test-case.ts";
import { atOnce } from "./at-once.ts";
import { keyStorage, orderFor, redeem, type StoredKey, storedKey } from "./kss-stored-key.ts";
import { type Purpose, purpose } from "./purpose.ts";
import { getKeyByToken, seconds, type WrongToken, wrongToken } from "./wrong-token.ts";

const issued = (claims: (t: TestCase, key: StoredKey) => Record<string, unknown>): WrongToken["wrong"] => {
  return (t, key) => t.management.issue(orderFor(t, key), { claims: claims(t, key) });
};

const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");

const wrongTokens: readonly WrongToken[] = [
  {
    id: "TP/KSS/TV/BI-15",
    title: "refuses GetKey without a token",
    stimulus: "no token at all",
    reason: ErrorReason.TOKEN_MISSING,
    // Who was handed a package by others has the ciphertext and no token.
    capabilities: ["TV1", "S3"],
    likelyMistake: "an empty token is verified like any other and refused as invalid, or not verified at all",
    wrong: () => "",
  },
  {
    id: "TP/KSS/TV/BI-16",
    title: "refuses what is no token",
    stimulus: "a word instead of a JWT",
    reason: ErrorReason.TOKEN_INVALID,
    likelyMistake: "the parser's exception comes out as INTERNAL",
    wrong: () => "not-a-token",
  },
  {
    id: "TP/KSS/TV/BI-17",
    title: "refuses a token without a signature",
    stimulus: "alg none, the claims of a good token, nothing behind the last dot (RFC 8725, 2.1)",
    reason: ErrorReason.TOKEN_INVALID,
    likelyMistake: "the library verifies by the header's alg, and none is among its algorithms",
    wrong: (_t, _key, good) => `${part({ alg: "none", typ: "at+jwt" })}.${good.split(".")[1]}.`,
  },
  {
    id: "TP/KSS/TV/BI-18",
    title: "refuses a token whose signature was altered",
    stimulus: "one character of the signature changed",
    reason: ErrorReason.TOKEN_INVALID,
    likelyMistake: "the token is decoded and not verified",
    wrong: (_t, _key, good) => withTokenAltered(good),
  },
  {
    id: "TP/KSS/TV/BI-19",
    title: "refuses a token whose claims were altered",
    stimulus: "the claims of another good token under this one's signature",
    reason: ErrorReason.TOKEN_INVALID,
    likelyMistake: "the token is decoded and not verified",
    wrong: async (t, key, good) => {
      const [header, , signature] = good.split(".");
      const [, claims] = (await t.management.issue(orderFor(t, key))).split(".");
      return `${header}.${claims}.${signature}`;
    },
  },
  {
    id: "TP/KSS/TV/BI-20",
    title: "refuses a token without an id",
    stimulus: "no jti",
    reason: ErrorReason.TOKEN_INVALID,
    likelyMistake: "a token that cannot be told from others can be redeemed without end",
    wrong: issued(() => ({ jti: undefined })),
  },
  {
    id: "TP/KSS/TV/BI-21",
    title: "refuses a token that never expires",
    stimulus: "no exp",
    reason: ErrorReason.TOKEN_INVALID,
    likelyMistake: "a library checks exp where there is one, and does not ask for it",
    wrong: issued(() => ({ exp: undefined })),
  },
  {
    id: "TP/KSS/TV/BI-22",
    title: "refuses a token for several audiences",
    stimulus: "aud a list of this server and another",
    reason: ErrorReason.TOKEN_INVALID,
    likelyMistake: "aud is searched for the own identity: the other server could redeem the token here",
    wrong: issued((t) => ({ aud: [t.target.entities.kss.identity, "urn:x1410:entity:kss:somebody-else"] })),
  },
  {
    id: "TP/KSS/TV/BI-23",
    title: "refuses a token without an audience",
    stimulus: "no aud",
    reason: ErrorReason.TOKEN_INVALID,
    likelyMistake: "aud is compared where there is one",
    wrong: issued(() => ({ aud: undefined })),
  },
  {
    id: "TP/KSS/TV/BI-24",
    title: "refuses a token that opens nothing",
    stimulus: "no authorization_details",
    reason: ErrorReason.TOKEN_KEY_MISMATCH,
    likelyMistake: "a token that names no key is taken for one that opens any",
    wrong: issued(() => ({ authorization_details: undefined })),
  },
  {
    id: "TP/KSS/TV/BI-25",
    title: "refuses a token whose authorization is of another type",
    stimulus: "authorization_details of another type with the right key id (RFC 9396, 2)",
    reason: ErrorReason.TOKEN_KEY_MISMATCH,
    likelyMistake: "key_id is looked for in whatever the token says, though its type decides what it means",
    wrong: issued((t, { keyId }) => ({
      authorization_details: [{ ...t.management.authorization(keyId), type: "somebody_elses_type" }],
    })),
  },
  {
    id: "TP/KSS/TV/BI-26",
    title: "refuses a token whose subject is not who shows it",
    stimulus: "sub another user, cnf the certificate of the connection",
    reason: ErrorReason.TOKEN_BINDING_MISMATCH,
    likelyMistake: "the certificate is compared and the subject is not: one user redeems what another was granted",
    wrong: issued((t) => ({ sub: t.secondConsumer.identity })),
  },
  {
    id: "TP/KSS/TV/BI-27",
    title: "refuses a token that ends before it begins",
    stimulus: "exp ten seconds before nbf",
    reason: ErrorReason.TOKEN_INVALID,
    likelyMistake: "each time is compared with the clock, within the skew, and never with the other",
    wrong: issued(() => ({ iat: seconds() - 10, nbf: seconds() + 5, exp: seconds() - 5 })),
  },
  {
    id: "TP/KSS/TV/BI-28",
    title: "refuses a good token from another certificate of another user",
    stimulus: "GetKey by the second consumer with the first one's token",
    reason: ErrorReason.TOKEN_BINDING_MISMATCH,
    likelyMistake: "the token is a bearer token to this server",
    wrong: (t, key) => t.management.issue(orderFor(t, key, t.secondConsumer)),
  },
];

export const tokenRedemptionPurposes: readonly Purpose[] = [
  ...wrongTokens.map(wrongToken),
  purpose({
    ...getKeyByToken,
    id: "TP/KSS/TV/BI-29",
    title: "refuses a token from a renewed certificate of the same user",
    stimulus: "GetKey over another certificate that names the same user",
    expected: { reason: ErrorReason.TOKEN_BINDING_MISMATCH },
    twin: "GetKey over the certificate to which the token is bound",
    likelyMistake: "the token is bound to the name instead of to the certificate (RFC 8705, 3.1)",
    async run(t) {
      const renewed = t.holding(t.authority.forge(t.consumer.identity));
      const key = await storedKey(t);
      const token = await t.management.issue(orderFor(t, key));
      const other = await t.management.issue(orderFor(t, key));
      await t.positiveTwin("over its own certificate", () => redeem(t, token, key));
      await t.expectRefusal(() => redeem(t, other, key, renewed));
    },
  }),
  purpose({
    ...getKeyByToken,
    id: "TP/KSS/TV/BV-03",
    title: "allows for a clock that is half a minute apart",
    stimulus: "GetKey with a token that expired 30 s ago, and one that begins in 30 s",
    expected: "the key, both times: the profile has a skew of 60 s",
    likelyMistake: "times are compared to the second, so that servers with good clocks refuse one another's tokens",
    async run(t) {
      const key = await storedKey(t);
      const at = seconds();
      const over = await t.management.issue(orderFor(t, key), {
        claims: { iat: at - 200, nbf: at - 200, exp: at - 30 },
      });
      const early = await t.management.issue(orderFor(t, key), {
        claims: { iat: at + 30, nbf: at + 30, exp: at + 200 },
      });
      for (const token of [over, early]) expect(same(await redeem(t, token, key), key.secret), "the key");
    },
  }),
  purpose({
    ...getKeyByToken,
    id: "TP/KSS/TV/BV-04",
    title: "takes the token's type in its long form as well",
    stimulus: "GetKey with typ application/at+jwt (RFC 9068, 4)",
    expected: "the key",
    likelyMistake: "typ is compared with one of the two forms that RFC 7515 allows",
    async run(t) {
      const key = await storedKey(t);
      const token = await t.management.issue(orderFor(t, key), { header: { typ: "application/at+jwt" } });
      expect(same(await redeem(t, token, key), key.secret), "the key");
    },
  }),
  purpose({
    ...getKeyByToken,
    id: "TP/KSS/TV/BV-05",
    title: "accepts tokens of two managements for the keys that name them",
    capabilities: ["TV2", "KSM6"],
    stimulus: "GetKey for two keys of one provider, each with a token of the management that it names",
    expected: "both keys",
    likelyMistake: "one management's keys are configured instead of fetched for each issuer",
    async run(t) {
      for (const management of [t.management, t.secondManagement]) {
        const key = await storedKey(t, management.identity);
        const secret = await redeem(t, await management.issue(orderFor(t, key)), key);
        expect(same(secret, key.secret), `the key for a token of ${management.identity}`);
      }
    },
  }),
  purpose({
    ...getKeyByToken,
    id: "TP/KSS/TV/BV-06",
    title: "gives the key to one of many redemptions of one token that come at once",
    capabilities: ["TV2", "KSM6"],
    stimulus: "GetKey forty times at once with one token, each under a request id of its own",
    expected: "exactly one gets the key, the others are refused with TOKEN_REDEEMED",
    likelyMistake:
      "whether the token was redeemed is read before it is written, with nothing to keep two requests apart",
    async run(t) {
      const key = await storedKey(t);
      const token = await t.management.issue(orderFor(t, key));
      const { accepted, refused } = await atOnce(Array.from({ length: 40 }, () => () => redeem(t, token, key)));
      expect(accepted.length === 1, `one release (got ${accepted.length})`);
      expect(
        refused.every((reason) => reason === ErrorReason.TOKEN_REDEEMED),
        "the others refused with TOKEN_REDEEMED",
      );
      t.seen("1 release, 39 times TOKEN_REDEEMED");
    },
  }),
  purpose({
    ...getKeyByToken,
    id: "TP/KSS/TV/BV-07",
    title: "gives the key to all of many redemptions under one request id that come at once",
    capabilities: ["KSM6"],
    stimulus: "GetKey twenty times at once with one token under one request id",
    expected: "the key, twenty times",
    likelyMistake: "the repetition of a request that is still under way is taken for a second redemption",
    async run(t) {
      const key = await storedKey(t);
      const token = await t.management.issue(orderFor(t, key));
      const requestId = t.random(16);
      const answers = await Promise.all(Array.from({ length: 20 }, () => redeem(t, token, key, t.consumer, requestId)));
      expect(
        answers.every((secret) => same(secret, key.secret)),
        "the key, each time",
      );
    },
  }),
  purpose({
    ...getKeyByToken,
    id: "TP/KSS/TV/BO-02",
    title: "gives the key of a redeemed token to nobody else who knows the request id",
    capabilities: ["TV2", "KSM6"],
    stimulus: "GetKey with the redeemed token and its request id, by another user",
    expected: { reason: ErrorReason.TOKEN_BINDING_MISMATCH },
    twin: "GetKey again by the consumer itself",
    likelyMistake: "the repetition is answered from what was kept, before the token is verified again",
    async run(t) {
      const key = await storedKey(t);
      const token = await t.management.issue(orderFor(t, key));
      const requestId = t.random(16);
      await t.positiveTwin("the consumer gets the key, twice", async () => {
        await redeem(t, token, key, t.consumer, requestId);
        await redeem(t, token, key, t.consumer, requestId);
      });
      await t.expectRefusal(() => redeem(t, token, key, t.secondConsumer, requestId));
    },
  }),
  purpose({
    ...getKeyByToken,
    id: "TP/KSS/TV/BO-03",
    title: "redeems a token once though another key of it is asked for",
    capabilities: ["TV2", "KSM6"],
    initialState: "two keys stored",
    stimulus: "a token that names both keys: GetKey for the one, then for the other under another request id",
    expected: { reason: ErrorReason.TOKEN_REDEEMED },
    twin: "GetKey for the first key",
    likelyMistake: "redemptions are kept by key instead of by (iss, jti)",
    async run(t) {
      const [a, b] = [await storedKey(t), await storedKey(t)];
      const token = await t.management.issue(orderFor(t, a), {
        claims: { authorization_details: [a, b].map(({ keyId }) => t.management.authorization(keyId)) },
      });
      await t.positiveTwin("the first key", () => redeem(t, token, a));
      await t.expectRefusal(() => redeem(t, token, b));
    },
  }),
  purpose({
    ...getKeyByToken,
    id: "TP/KSS/TV/BI-30",
    title: "asks the issuer for its keys, and trusts nothing that a token brings along",
    stimulus: "a token that carries its own public key in jwk, signed by it, under a kid that the issuer publishes",
    expected: { reason: ErrorReason.TOKEN_INVALID },
    twin: "GetKey with a good token",
    likelyMistake: "the library prefers the jwk of the header (RFC 8725, 2.9)",
    async run(t) {
      const key = await storedKey(t);
      const good = await t.management.issue(orderFor(t, key));
      await t.positiveTwin("a good token gets the key", () => redeem(t, good, key));
      const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
      const { kid } = JSON.parse(Buffer.from(good.split(".")[0] ?? "", "base64url").toString()) as { kid: string };
      const forged = await t.management.issue(orderFor(t, key), {
        header: { kid, jwk: publicKey.export({ format: "jwk" }) },
        key: privateKey,
      });
      await t.expectRefusal(() =>
        keyStorage(t.consumer).getKey({ accessToken: forged, keyId: key.keyId, requestId: t.random(16) }),
      );
    },
  }),
];
