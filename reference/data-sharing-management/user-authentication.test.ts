// Three passes after ISO/IEC 9798-3, the session they open, and the gate that asks for it (AAU1, AAU2; F3.4.2, F4.2.2).
import { randomBytes } from "node:crypto";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { createContextValues, type HandlerContext } from "@connectrpc/connect";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { SignedEnvelope } from "../../gen/x1410/v1/envelope_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import {
  ManagementAuthenticationStatementSchema,
  UserAuthenticationStatementSchema,
} from "../../gen/x1410/v1/user_authentication_pb.ts";
import { directPeer } from "../communications/direct-binding.ts";
import { type Peer, peerKey } from "../communications/peer.ts";
import { signMessage } from "../envelope/sign.ts";
import type { Signer } from "../envelope/signer.ts";
import { verifyEnvelope } from "../envelope/verify.ts";
import { PolicyRig, refused, type User } from "./policy-management.fixture.ts";
import { MANAGEMENT } from "./policy-peers.fixture.ts";
import { localSessionGate, remoteSessionGate } from "./session-gate.ts";
import { createUserAuthentication } from "./user-authentication.ts";

let rig: PolicyRig;
let alice: User;
let bob: User;
let authentication: ReturnType<typeof createUserAuthentication>;

beforeAll(async () => {
  rig = await PolicyRig.open();
  alice = await rig.user("alice");
  bob = await rig.user("bob", { access: true });
});
afterAll(() => rig.close());
beforeEach(() => {
  const { accountReader: accounts, sessions } = rig.components;
  const { signer, now } = rig;
  authentication = createUserAuthentication({ accounts, sessions, signer, trust: rig.pki.verifier(), now });
});

const call = (peer: Peer) => rig.as({ peer }, authentication);
type Statement = MessageInitShape<typeof UserAuthenticationStatementSchema>;

/** A proper answer to a fresh challenge, but for what the test changes. */
async function answer(user: User, change: Partial<Statement> = {}, signer: Signer = user.signer) {
  const { challengeId, managementNonce, managementIdentity } = await call(user.peer).beginAuthentication({});
  const statement = create(UserAuthenticationStatementSchema, {
    userNonce: randomBytes(32),
    managementNonce,
    userIdentity: user.identity,
    managementIdentity,
    userCertificateSha256: Buffer.from(user.peer.fingerprint, "hex"),
    ...change,
  } as Statement);
  return {
    challengeId,
    message: statement,
    statement: signMessage(signer, UserAuthenticationStatementSchema, statement),
  };
}

function contextOf(peer: Peer, session: string): HandlerContext {
  const requestHeader = new Headers(session === "" ? {} : { "x1410-session": session });
  return { values: createContextValues().set(peerKey, peer), requestHeader } as HandlerContext;
}

describe("the three passes", () => {
  test("prove both parties to each other and open a session with the user's rights", async () => {
    const { challengeId, message, statement } = await answer(alice);
    const done = await call(alice.peer).completeAuthentication({ challengeId, statement });
    expect(done.rights).toMatchObject({ publish: true, access: true });
    expect(Buffer.from(done.session, "base64url")).toHaveLength(32);
    expect(done.expiresAt && timestampMs(done.expiresAt)).toBe(rig.nowMs + 15 * 60_000);
    const proof = done.statement as SignedEnvelope;
    const { message: own, signer } = verifyEnvelope(proof, ManagementAuthenticationStatementSchema, rig.pki.verifier());
    expect(signer.identity).toBe(MANAGEMENT);
    expect(Buffer.compare(own.userNonce, message.userNonce)).toBe(0);
    expect(Buffer.compare(own.managementNonce, message.managementNonce)).toBe(0);
    expect(own).toMatchObject({ userIdentity: alice.identity, managementIdentity: MANAGEMENT });
    const options = { headers: { "x1410-session": done.session } };
    expect((await rig.policy(alice).listPolicies({}, options)).policies).toEqual([]);
  });

  test("take a challenge once, within a minute, over its own connection and certificate", async () => {
    const once = await answer(alice);
    await call(alice.peer).completeAuthentication(once);
    await refused(ErrorReason.CHALLENGE_INVALID, call(alice.peer).completeAuthentication(once));
    const late = await answer(alice);
    rig.nowMs += 60_000;
    await refused(ErrorReason.CHALLENGE_INVALID, call(alice.peer).completeAuthentication(late));
    const moved = await answer(alice);
    const elsewhere = { ...alice.peer, connectionId: "another" };
    await refused(ErrorReason.CHALLENGE_INVALID, call(elsewhere).completeAuthentication(moved));
    const renewed = await answer(alice);
    const otherCertificate = { ...alice.peer, fingerprint: bob.peer.fingerprint };
    await refused(ErrorReason.CHALLENGE_INVALID, call(otherCertificate).completeAuthentication(renewed));
    const stolen = await answer(alice);
    await refused(ErrorReason.CHALLENGE_INVALID, call(bob.peer).completeAuthentication(stolen));
    expect((await call(alice.peer).completeAuthentication(stolen)).session).not.toBe("");
    const unknown = { ...(await answer(alice)), challengeId: "0".repeat(32) };
    await refused(ErrorReason.CHALLENGE_INVALID, call(alice.peer).completeAuthentication(unknown));
  });

  test("use up a challenge by a failed attempt", async () => {
    const { challengeId, statement } = await answer(alice);
    const broken = { ...statement, signatures: [] };
    await refused(
      ErrorReason.SIGNATURE_MISSING,
      call(alice.peer).completeAuthentication({ challengeId, statement: broken }),
    );
    await refused(ErrorReason.CHALLENGE_INVALID, call(alice.peer).completeAuthentication({ challengeId, statement }));
  });

  test.each([
    ["management_nonce", { managementNonce: new Uint8Array(32) }],
    ["user_identity", { userIdentity: "urn:x1410:user:bob" }],
    ["management_identity", { managementIdentity: "urn:x1410:entity:dssm:other" }],
    ["user_certificate_sha256", { userCertificateSha256: new Uint8Array(32) }],
  ])("refuse a statement with another %s", async (_field, change) => {
    const attempt = await answer(alice, change);
    await refused(ErrorReason.RESPONSE_INVALID, call(alice.peer).completeAuthentication(attempt));
  });

  test("refuse a statement signed by another user, altered, of another type, or by nobody trusted", async () => {
    await refused(
      ErrorReason.SIGNER_NOT_CALLER,
      call(alice.peer).completeAuthentication(await answer(alice, {}, bob.signer)),
    );
    const { challengeId, statement } = await answer(alice);
    const payload = Uint8Array.from(statement.payload, (byte, index) => (index === 10 ? byte ^ 1 : byte));
    await refused(
      ErrorReason.SIGNATURE_INVALID,
      call(alice.peer).completeAuthentication({ challengeId, statement: { ...statement, payload } }),
    );
    // The management's own statement cannot be reflected: its payload type is another.
    const { challengeId: second, statement: proper } = await answer(alice);
    const { statement: reflected } = await call(alice.peer).completeAuthentication({
      challengeId: second,
      statement: proper,
    });
    const third = await answer(alice);
    await refused(
      ErrorReason.PAYLOAD_TYPE_MISMATCH,
      call(alice.peer).completeAuthentication({
        challengeId: third.challengeId,
        ...(reflected && { statement: reflected }),
      }),
    );
    const stranger = await PolicyRig.open();
    const mallory = await stranger.user("alice");
    await stranger.close();
    await refused(
      ErrorReason.SIGNER_UNTRUSTED,
      call(alice.peer).completeAuthentication(await answer(alice, {}, mallory.signer)),
    );
  });

  test("need an account, at the beginning and at the end", async () => {
    const nobody = { ...directPeer("urn:x1410:user:nobody"), fingerprint: "0".repeat(64) };
    await refused(ErrorReason.ACCOUNT_NOT_FOUND, call(nobody).beginAuthentication({}));
    const carol = await rig.user("carol");
    const attempt = await answer(carol);
    await rig.as(carol, rig.components.accounts).deleteAccount({ identity: carol.identity });
    await refused(ErrorReason.ACCOUNT_NOT_FOUND, call(carol.peer).completeAuthentication(attempt));
  });

  test("keep a bounded number of challenges for a user", async () => {
    const first = await answer(alice);
    for (let count = 0; count < 16; count++) await call(alice.peer).beginAuthentication({});
    await refused(ErrorReason.CHALLENGE_INVALID, call(alice.peer).completeAuthentication(first));
    expect((await call(alice.peer).completeAuthentication(await answer(alice))).session).not.toBe("");
  });

  test("work by pre-shared key, where the certificate that signs stands in for that of the connection", async () => {
    const psk: Peer = { ...alice.peer, fingerprint: "", transport: "psk" };
    const { session } = await call(psk).completeAuthentication(
      await answer(
        { ...alice, peer: psk },
        {
          userCertificateSha256: Buffer.from(alice.peer.fingerprint, "hex"),
        },
      ),
    );
    const gate = localSessionGate(rig.components.sessions);
    expect((await gate.require(contextOf(psk, session))).identity).toBe(alice.identity);
    await refused(ErrorReason.SESSION_INVALID, gate.require(contextOf(alice.peer, session)));
  });
});

describe.each(["local", "remote"] as const)("the %s gate", (kind) => {
  const gate = () =>
    kind === "local"
      ? localSessionGate(rig.components.sessions)
      : remoteSessionGate(rig.as({ peer: directPeer(MANAGEMENT) }, authentication));
  const opened = async (user: User) =>
    (await rig.components.sessions.open(user.identity, user.peer.fingerprint)).secret;

  test("answers the user and its account as of now, and asks for the right", async () => {
    const user = await gate().require(contextOf(bob.peer, await opened(bob)), "access");
    expect(user).toMatchObject({ identity: bob.identity, fingerprint: bob.peer.fingerprint });
    expect(user.account.rights?.access).toBe(true);
    await refused(ErrorReason.RIGHT_MISSING, gate().require(contextOf(bob.peer, await opened(bob)), "publish"));
  });

  test("refuses no session, an unknown one, another certificate's and an expired one", async () => {
    await refused(ErrorReason.SESSION_REQUIRED, gate().require(contextOf(bob.peer, "")));
    await refused(ErrorReason.SESSION_INVALID, gate().require(contextOf(bob.peer, "made-up")));
    const session = await opened(bob);
    await refused(ErrorReason.SESSION_INVALID, gate().require(contextOf(alice.peer, session)));
    const thief = { ...bob.peer, fingerprint: alice.peer.fingerprint };
    await refused(ErrorReason.SESSION_INVALID, gate().require(contextOf(thief, session)));
    const impostor = { ...bob.peer, identity: alice.identity };
    await refused(ErrorReason.SESSION_INVALID, gate().require(contextOf(impostor, session)));
    rig.nowMs += 15 * 60_000;
    await refused(ErrorReason.SESSION_INVALID, gate().require(contextOf(bob.peer, session)));
  });
});

test("a remote gate says that user authentication cannot be reached", async () => {
  const unreachable = rig.as({ peer: directPeer(MANAGEMENT) }, { ...authentication, implementation: {} });
  const gate = remoteSessionGate(unreachable);
  await refused(ErrorReason.PEER_UNAVAILABLE, gate.require(contextOf(bob.peer, "session")));
});

describe("EndSession", () => {
  test("ends this session for good, is idempotent, and leaves the others", async () => {
    const { sessions } = rig.components;
    const [{ secret }, { secret: kept }] = [
      await sessions.open(bob.identity, bob.peer.fingerprint),
      await sessions.open(bob.identity, bob.peer.fingerprint),
    ];
    const options = { headers: { "x1410-session": secret } };
    await call(bob.peer).endSession({}, options);
    await call(bob.peer).endSession({}, options);
    const gate = localSessionGate(sessions);
    await refused(ErrorReason.SESSION_INVALID, gate.require(contextOf(bob.peer, secret)));
    expect((await gate.require(contextOf(bob.peer, kept))).identity).toBe(bob.identity);
  });

  test("needs a session of this certificate", async () => {
    const { secret } = await rig.components.sessions.open(bob.identity, bob.peer.fingerprint);
    const options = { headers: { "x1410-session": secret } };
    await refused(ErrorReason.SESSION_REQUIRED, call(bob.peer).endSession({}));
    await refused(ErrorReason.SESSION_INVALID, call(alice.peer).endSession({}, options));
    await refused(
      ErrorReason.SESSION_INVALID,
      call(bob.peer).endSession({}, { headers: { "x1410-session": "made-up" } }),
    );
  });
});

test("a user's sessions are bounded: the oldest gives way", async () => {
  const dan = await rig.user("dan");
  const { sessions } = rig.components;
  for (let count = 0; count < 64; count++) {
    rig.nowMs += 1;
    await sessions.open(dan.identity, dan.peer.fingerprint);
  }
  const gate = localSessionGate(sessions);
  const first = dan.inSession.headers["x1410-session"] ?? "";
  await refused(ErrorReason.SESSION_INVALID, gate.require(contextOf(dan.peer, first)));
});
