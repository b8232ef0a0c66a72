// What token management (TM, clauses 6.2.2 and 7.3.2) says of its tokens to the key storage server that they are for, and what becomes of
// them by RevokeToken. The kit is that server: the data's key lies at its own.
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { decodeJwt } from "jose";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { TokenService } from "../../gen/x1410/v1/token_pb.ts";
import { expect } from "../procedures/procedure.ts";
import type { User } from "../roles/user.ts";
import type { TestCase } from "../test-case.ts";
import { anotherSubmission, draft, submit } from "./dssm-policy-draft.ts";
import { freshId } from "./malformed-field.ts";
import { type Purpose, purpose } from "./purpose.ts";
import { leavingUnchanged } from "./unchanged-state.ts";

const tokens = (user: User) => user.client(TokenService, "dssm");
const introspect = (t: TestCase, tokenId: string) => tokens(t.as("kss")).introspectToken({ tokenId });
const silent = () => {};

interface Issued {
  readonly tokenId: string;
  readonly expMs: number;
}

/** A token of an access to data whose key lies at the tester's key storage server. */
async function issuedToken(t: TestCase): Promise<Issued> {
  const { provider, consumer } = t;
  await t.inSession(provider);
  await t.inSession(consumer);
  const made = await draft(t);
  const key = t.keyServer.hold(provider.identity, provider.management);
  const encrypted = provider.encrypt(t.seeded(300), t.random(32), key);
  const wrapped = provider.package(provider.metadata(key, made.stored, encrypted.encryptedData), encrypted);
  await provider.storePackage(made.stored, wrapped, silent);
  const { contractAddress } = await submit({ ...made, key, submission: anotherSubmission(t, { ...made, key }) });
  const found = consumer.checkPublication(await consumer.lookUp(contractAddress));
  const { accessToken } = await consumer.requestAccess(consumer.signRequest(consumer.accessRequest(found)));
  const { jti = "", aud, exp = 0 } = decodeJwt(accessToken);
  expect(aud === t.keyServer.identity, `a token for ${t.keyServer.identity}`, String(aud));
  return { tokenId: jti, expMs: exp * 1000 };
}

const introspection = {
  clause: "7.3.2",
  steps: ["F4.13.2", "A2.10.2"],
  capabilities: ["TM2", "TV2"],
  tester: ["kss"],
  initialState: "an access granted to data whose key lies at the tester's key storage server",
} as const;

const both = ["TokenService/IntrospectToken", "TokenService/RevokeToken"] as const;

export const tokenIntrospectionPurposes: readonly Purpose[] = [
  purpose({
    ...introspection,
    id: "TP/DSSM/TM/BV-02",
    title: "says of a live token that it is active, and until when, to the server that it is for",
    methods: ["TokenService/IntrospectToken"],
    stimulus: "IntrospectToken by that key storage server, twice",
    expected: "active, both times, until the time in the token's exp",
    likelyMistake: "tokens are kept under another id than their jti, or asking spends them",
    async run(t) {
      const { tokenId, expMs } = await issuedToken(t);
      for (const _ of [1, 2]) {
        const { active, expiresAt } = await introspect(t, tokenId);
        expect(active, "an active token");
        expect(expiresAt !== undefined && timestampMs(expiresAt) === expMs, "the time in the token's exp");
      }
    },
  }),
  purpose({
    ...introspection,
    id: "TP/DSSM/TM/BV-03",
    title: "confirms a revocation to the token's consumer and to an operator, as often as it is told",
    clause: "6.2.2",
    steps: [],
    capabilities: ["TM2"],
    methods: ["TokenService/RevokeToken"],
    stimulus: "RevokeToken twice by the consumer, once by an operator",
    expected: "confirmed, each time",
    likelyMistake: "a token that is revoked is no longer found, so that a lost answer cannot be asked for again",
    async run(t) {
      const { tokenId } = await issuedToken(t);
      for (const user of [t.consumer, t.consumer, t.as("operator")]) await tokens(user).revokeToken({ tokenId });
    },
  }),
  purpose({
    ...introspection,
    id: "TP/DSSM/TM/BO-02",
    title: "says of a token that was revoked that it is not active any more",
    methods: both,
    stimulus: "IntrospectToken; RevokeToken by the consumer; IntrospectToken",
    expected: "active; then not active, and no error",
    twin: "IntrospectToken before the revocation",
    likelyMistake: "the revocation is noted and not looked at, or the token is gone and the question fails",
    async run(t) {
      const { tokenId } = await issuedToken(t);
      await t.positiveTwin("before, it is active", async () => {
        expect((await introspect(t, tokenId)).active, "an active token");
      });
      await tokens(t.consumer).revokeToken({ tokenId });
      expect(!(await introspect(t, tokenId)).active, "a token that is not active");
    },
  }),
  purpose({
    ...introspection,
    id: "TP/DSSM/TM/BI-05",
    title: "knows no token that it never issued",
    methods: ["TokenService/IntrospectToken"],
    stimulus: "IntrospectToken of an id that no token has",
    expected: { reason: ErrorReason.TOKEN_NOT_FOUND },
    twin: "IntrospectToken of a live token",
    likelyMistake: "what is not on the list of the revoked is called active",
    async run(t) {
      const { tokenId } = await issuedToken(t);
      await t.positiveTwin("a live token", () => introspect(t, tokenId));
      await t.expectRefusal(() => introspect(t, freshId(t)));
    },
  }),
  purpose({
    ...introspection,
    id: "TP/DSSM/TM/BI-06",
    title: "leaves a token active that somebody else would revoke",
    clause: "6.2.2",
    steps: [],
    methods: both,
    stimulus: "RevokeToken by another consumer; IntrospectToken",
    expected: { reason: ErrorReason.TOKEN_NOT_FOUND },
    twin: "RevokeToken by the consumer itself, of another token",
    likelyMistake: "the stranger is told that there is no such token after it has been revoked",
    async run(t) {
      const [own, foreign] = [await issuedToken(t), await issuedToken(t)];
      await t.positiveTwin("its own token", () => tokens(t.consumer).revokeToken({ tokenId: own.tokenId }));
      await leavingUnchanged(
        "what IntrospectToken says of the token",
        () => introspect(t, foreign.tokenId),
        () => t.expectRefusal(() => tokens(t.secondConsumer).revokeToken({ tokenId: foreign.tokenId })),
      );
    },
  }),
];
