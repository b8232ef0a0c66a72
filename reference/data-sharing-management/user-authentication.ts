// Authentication and authorization for users (AAU, clause 6.2.2; F3.4.2, F4.2.2, A1.4, A2.2): three passes after ISO/IEC 9798-3. Both
// parties sign both nonces, both identities and the fingerprint of the client certificate; the challenge is tied to its connection.
import { randomBytes } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import {
  BeginAuthenticationResponseSchema,
  CompleteAuthenticationResponseSchema,
  EndSessionResponseSchema,
  ManagementAuthenticationStatementSchema,
  UserAuthenticationService,
  type UserAuthenticationStatement,
  UserAuthenticationStatementSchema,
  ValidateSessionResponseSchema,
} from "../../gen/x1410/v1/user_authentication_pb.ts";
import { type Peer, peerKey } from "../communications/peer.ts";
import { refusal } from "../communications/refusal.ts";
import { implement, type Registration } from "../communications/service.ts";
import { signMessage } from "../envelope/sign.ts";
import type { Signer } from "../envelope/signer.ts";
import { type Trust, type VerifiedSigner, verifyEnvelope } from "../envelope/verify.ts";
import { SESSION_METADATA } from "./session-gate.ts";
import { bindingOf, type Sessions } from "./sessions.ts";
import type { Accounts } from "./user-account.ts";

/** Until a challenge ends by itself. */
const CHALLENGE_LIFETIME_MS = 60_000;

/** Challenges open at one time for one user; a further one ends the oldest. */
const CHALLENGES_PER_USER = 16;

export interface UserAuthenticationDependencies {
  readonly accounts: Accounts;
  readonly sessions: Sessions;
  /** The management, who signs its own statement. */
  readonly signer: Signer;
  readonly trust: Trust;
  readonly now: () => Date;
}

interface Challenge {
  readonly connectionId: string;
  readonly fingerprint: string;
  readonly managementNonce: Uint8Array;
  /** Milliseconds since 1970. */
  readonly expiresAt: number;
}

export function createUserAuthentication(
  dependencies: UserAuthenticationDependencies,
): Registration<typeof UserAuthenticationService> {
  const { accounts, sessions, signer, trust, now } = dependencies;
  // In memory: a challenge belongs to a connection, and no connection outlives the process.
  const challenges = new Map<string, Map<string, Challenge>>();

  const begin = (peer: Peer): { id: string; challenge: Challenge } => {
    const ofUser = challenges.get(peer.identity) ?? new Map<string, Challenge>();
    const at = now().getTime();
    for (const [id, { expiresAt }] of ofUser) {
      if (expiresAt <= at || ofUser.size >= CHALLENGES_PER_USER) ofUser.delete(id);
    }
    const { connectionId, fingerprint } = peer;
    const managementNonce = new Uint8Array(randomBytes(32));
    const challenge = { connectionId, fingerprint, managementNonce, expiresAt: at + CHALLENGE_LIFETIME_MS };
    const id = randomBytes(16).toString("hex");
    ofUser.set(id, challenge);
    challenges.set(peer.identity, ofUser);
    return { id, challenge };
  };

  /** One attempt each: whatever comes of it, the challenge is used. */
  const take = (peer: Peer, id: string): Challenge => {
    const ofUser = challenges.get(peer.identity);
    const challenge = ofUser?.get(id);
    ofUser?.delete(id);
    if (ofUser?.size === 0) challenges.delete(peer.identity);
    if (
      challenge === undefined ||
      challenge.expiresAt <= now().getTime() ||
      challenge.connectionId !== peer.connectionId ||
      challenge.fingerprint !== peer.fingerprint
    ) {
      throw refusal(ErrorReason.CHALLENGE_INVALID);
    }
    return challenge;
  };

  return implement(UserAuthenticationService, {
    async beginAuthentication(_, context) {
      const peer = context.values.get(peerKey);
      if ((await accounts.get(peer.identity)) === undefined) throw refusal(ErrorReason.ACCOUNT_NOT_FOUND);
      const { id, challenge } = begin(peer);
      return create(BeginAuthenticationResponseSchema, {
        challengeId: id,
        managementNonce: challenge.managementNonce,
        managementIdentity: signer.identity,
        expiresAt: timestampFromDate(new Date(challenge.expiresAt)),
      });
    },

    async completeAuthentication({ challengeId, statement }, context) {
      const peer = context.values.get(peerKey);
      const challenge = take(peer, challengeId);
      if (statement === undefined) throw refusal(ErrorReason.SIGNATURE_MISSING, "statement");
      const { message, signer: user } = verifyEnvelope(statement, UserAuthenticationStatementSchema, trust);
      if (user.identity !== peer.identity) throw refusal(ErrorReason.SIGNER_NOT_CALLER);
      checkAnswer(message, { challenge, peer, user, managementIdentity: signer.identity });
      const account = await accounts.get(peer.identity);
      if (account === undefined) throw refusal(ErrorReason.ACCOUNT_NOT_FOUND);
      const { secret, expiresAt } = await sessions.open(peer.identity, bindingOf(peer));
      const { userNonce, managementNonce, userIdentity, managementIdentity, userCertificateSha256 } = message;
      const own = create(ManagementAuthenticationStatementSchema, {
        managementNonce,
        userNonce,
        managementIdentity,
        userIdentity,
        userCertificateSha256,
      });
      return create(CompleteAuthenticationResponseSchema, {
        statement: signMessage(signer, ManagementAuthenticationStatementSchema, own),
        session: secret,
        expiresAt: timestampFromDate(expiresAt),
        ...(account.rights === undefined ? {} : { rights: account.rights }),
      });
    },

    async validateSession({ session: secret, userCertificateSha256 }) {
      const session = await sessions.find(secret, hex(userCertificateSha256));
      if (session === undefined) throw refusal(ErrorReason.SESSION_INVALID);
      const { account, expiresAt } = session;
      return create(ValidateSessionResponseSchema, { account, expiresAt: timestampFromDate(expiresAt) });
    },

    async endSession(_, context) {
      const secret = context.requestHeader.get(SESSION_METADATA) ?? "";
      if (secret === "") throw refusal(ErrorReason.SESSION_REQUIRED);
      const ended = await sessions.end(secret, bindingOf(context.values.get(peerKey)));
      if (!ended) throw refusal(ErrorReason.SESSION_INVALID);
      return create(EndSessionResponseSchema);
    },
  });
}

/** The signed statement must answer this very challenge, to this management, over this connection. */
function checkAnswer(
  statement: UserAuthenticationStatement,
  expected: { challenge: Challenge; peer: Peer; user: VerifiedSigner; managementIdentity: string },
): void {
  const { challenge, peer, user, managementIdentity } = expected;
  // On a connection by pre-shared key there is no client certificate; the one that signs stands in for it.
  const fingerprint = peer.fingerprint === "" ? user.fingerprint : peer.fingerprint;
  const field =
    hex(statement.managementNonce) !== hex(challenge.managementNonce)
      ? "management_nonce"
      : statement.userIdentity !== peer.identity
        ? "user_identity"
        : statement.managementIdentity !== managementIdentity
          ? "management_identity"
          : hex(statement.userCertificateSha256) !== fingerprint
            ? "user_certificate_sha256"
            : undefined;
  if (field !== undefined) throw refusal(ErrorReason.RESPONSE_INVALID, field);
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}
