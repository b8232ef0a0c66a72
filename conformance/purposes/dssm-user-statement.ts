// The statement with which a user answers a challenge (AAU, clause 6.2.2; ISO/IEC 9798-3), right or wrong in one field.
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import type { SignedEnvelope } from "../../gen/x1410/v1/envelope_pb.ts";
import {
  type BeginAuthenticationResponse,
  UserAuthenticationService,
  UserAuthenticationStatementSchema,
} from "../../gen/x1410/v1/user_authentication_pb.ts";
import { signMessage } from "../../reference/envelope/sign.ts";
import type { DataConsumer } from "../roles/data-consumer.ts";
import type { User } from "../roles/user.ts";
import type { TestCase } from "../test-case.ts";

export type StatementFields = MessageInitShape<typeof UserAuthenticationStatementSchema>;

export const aau = (user: User) => user.client(UserAuthenticationService, "dssm");

export function fields(t: TestCase, user: User, challenge: BeginAuthenticationResponse): StatementFields {
  return {
    userNonce: t.random(32),
    managementNonce: challenge.managementNonce,
    userIdentity: user.identity,
    managementIdentity: user.management,
    userCertificateSha256: user.certificateSha256,
  };
}

export function statement(
  t: TestCase,
  user: User,
  challenge: BeginAuthenticationResponse,
  changed: StatementFields = {},
  signer: User = user,
): SignedEnvelope {
  const message = create(UserAuthenticationStatementSchema, {
    ...fields(t, user, challenge),
    ...(changed as Record<string, never>),
  });
  return signMessage(signer.signer, UserAuthenticationStatementSchema, message);
}

/** A user of the kit whose account exists, without touching the session that purposes share. */
export async function userWithAccount(t: TestCase): Promise<DataConsumer> {
  return t.inSession(t.consumer);
}

export function complete(user: User, { challengeId }: BeginAuthenticationResponse, envelope: SignedEnvelope) {
  return aau(user).completeAuthentication({ challengeId, statement: envelope });
}

export async function passes(t: TestCase, user: User) {
  const challenge = await aau(user).beginAuthentication({});
  return complete(user, challenge, statement(t, user, challenge));
}
