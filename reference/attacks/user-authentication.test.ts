// Attacks on the authentication of users (AAU, clause 6.2.2): challenges, responses, sessions.
import { randomBytes } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import type { CallOptions } from "@connectrpc/connect";
import { describe, test } from "vitest";
import { expectRefusal } from "../../conformance/refusal.ts";
import type { DataConsumer } from "../../conformance/roles/data-consumer.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { InformationPublicationService } from "../../gen/x1410/v1/information_publication_pb.ts";
import {
  type BeginAuthenticationResponse,
  ManagementAuthenticationStatementSchema,
  UserAuthenticationService,
  type UserAuthenticationStatement,
  UserAuthenticationStatementSchema,
} from "../../gen/x1410/v1/user_authentication_pb.ts";
import { signMessage } from "../envelope/sign.ts";
import { createSigner, type Signer } from "../envelope/signer.ts";
import { doors, rigForFile } from "./attack-rig.fixture.ts";

const rig = rigForFile();
const silent = () => {};

const aau = (user: DataConsumer) => user.client(UserAuthenticationService, "dssm");

function statement(
  user: DataConsumer,
  challenge: BeginAuthenticationResponse,
  changed: Partial<UserAuthenticationStatement> = {},
): UserAuthenticationStatement {
  return create(UserAuthenticationStatementSchema, {
    userNonce: randomBytes(32),
    managementNonce: challenge.managementNonce,
    userIdentity: user.identity,
    managementIdentity: user.management,
    userCertificateSha256: user.certificateSha256,
    ...(changed as object),
  });
}

function signed(signer: Signer, message: UserAuthenticationStatement) {
  return signMessage(signer, UserAuthenticationStatementSchema, message);
}

describe.each(doors)("through the %s", (door) => {
  test("a replayed challenge is refused", async () => {
    const user = rig().consumer(door);
    const challenge = await aau(user).beginAuthentication({});
    const answer = { challengeId: challenge.challengeId, statement: signed(user.signer, statement(user, challenge)) };
    await aau(user).completeAuthentication(answer);
    await expectRefusal(() => aau(user).completeAuthentication(answer), ErrorReason.CHALLENGE_INVALID);
    const next = await aau(user).beginAuthentication({});
    await expectRefusal(
      () => aau(user).completeAuthentication({ ...answer, challengeId: next.challengeId }),
      ErrorReason.RESPONSE_INVALID,
    );
  });

  test("a response signed by another is refused", async () => {
    const user = rig().consumer(door);
    const challenge = await aau(user).beginAuthentication({});
    const other = createSigner(rig().target.provider);
    await expectRefusal(
      () =>
        aau(user).completeAuthentication({
          challengeId: challenge.challengeId,
          statement: signed(other, statement(user, challenge)),
        }),
      ErrorReason.SIGNER_NOT_CALLER,
    );
  });

  test("a response under a key that the certificate does not have is refused", async () => {
    const user = rig().consumer(door);
    const challenge = await aau(user).beginAuthentication({});
    const right = signed(user.signer, statement(user, challenge));
    const wrong = signed(createSigner(rig().target.provider), statement(user, challenge));
    const [theirs] = right.signatures;
    const [mine] = wrong.signatures;
    const mixed = { ...right, signatures: [{ ...theirs, value: mine?.value ?? new Uint8Array() }] };
    await expectRefusal(
      () => aau(user).completeAuthentication({ challengeId: challenge.challengeId, statement: mixed as typeof right }),
      ErrorReason.SIGNATURE_INVALID,
    );
  });

  test.each([
    ["another certificate", { userCertificateSha256: new Uint8Array(32) }],
    ["another nonce", { managementNonce: new Uint8Array(32) }],
    ["another user", { userIdentity: "urn:x1410:user:provider" }],
    ["another management", { managementIdentity: "urn:x1410:entity:dssm:other" }],
  ] as [string, Partial<UserAuthenticationStatement>][])("a response that names %s is refused", async (_, changed) => {
    const user = rig().consumer(door);
    await user.authenticate(silent);
    const challenge = await aau(user).beginAuthentication({});
    const wrong = signed(user.signer, statement(user, challenge, changed));
    await expectRefusal(
      () => aau(user).completeAuthentication({ challengeId: challenge.challengeId, statement: wrong }),
      ErrorReason.RESPONSE_INVALID,
    );
  });

  test("the answer to a challenge of another connection is refused", async () => {
    const [one, other] = [rig().consumer(door), rig().consumer(door)];
    const challenge = await aau(one).beginAuthentication({});
    const answer = { challengeId: challenge.challengeId, statement: signed(one.signer, statement(one, challenge)) };
    await expectRefusal(() => aau(other).completeAuthentication(answer), ErrorReason.CHALLENGE_INVALID);
  });

  test("the management's own statement is not reflected", async () => {
    const user = rig().consumer(door);
    const challenge = await aau(user).beginAuthentication({});
    const { statement: managements } = await aau(user).completeAuthentication({
      challengeId: challenge.challengeId,
      statement: signed(user.signer, statement(user, challenge)),
    });
    const next = await aau(user).beginAuthentication({});
    await expectRefusal(
      () =>
        aau(user).completeAuthentication({
          challengeId: next.challengeId,
          ...(managements && { statement: managements }),
        }),
      ErrorReason.PAYLOAD_TYPE_MISMATCH,
    );
    const foreign = signMessage(
      user.signer,
      ManagementAuthenticationStatementSchema,
      create(ManagementAuthenticationStatementSchema, { ...statement(user, next), $typeName: undefined } as object),
    );
    const third = await aau(user).beginAuthentication({});
    await expectRefusal(
      () => aau(user).completeAuthentication({ challengeId: third.challengeId, statement: foreign }),
      ErrorReason.PAYLOAD_TYPE_MISMATCH,
    );
  });

  const search = (user: DataConsumer, options: CallOptions) =>
    user.client(InformationPublicationService, "dssm").searchInformation({ filter: {} }, options);

  test("a session works from no other certificate, be it of the same identity", async () => {
    const owner = rig().consumer(door);
    await owner.authenticate(silent);
    await search(owner, owner.inSession);
    const twin = rig().consumer(door, rig().issue("user", "consumer"));
    const stranger = rig().consumer(door, rig().target.provider);
    for (const thief of [twin, stranger])
      await expectRefusal(() => search(thief, owner.inSession), ErrorReason.SESSION_INVALID);
    await expectRefusal(() => search(twin, {}), ErrorReason.SESSION_REQUIRED);
    await expectRefusal(
      () => search(owner, { headers: { "x1410-session": "x".repeat(43) } }),
      ErrorReason.SESSION_INVALID,
    );
  });

  test("a session ends with its account, and a new account does not bring it back", async () => {
    const credential = await rig().newcomer();
    const user = rig().consumer(door, credential);
    await user.authenticate(silent);
    await search(user, user.inSession);
    const account = { identity: credential.identity };
    await rig().operatorAccounts.deleteAccount(account);
    await expectRefusal(() => search(user, user.inSession), ErrorReason.SESSION_INVALID);
    await expectRefusal(() => user.authenticate(silent), ErrorReason.ACCOUNT_NOT_FOUND);
    const rights = { publish: true, access: true };
    await rig().operatorAccounts.createAccount({
      account: { ...account, displayName: "Again", rights, attributes: { country: "CH" } },
    });
    await expectRefusal(() => search(user, user.inSession), ErrorReason.SESSION_INVALID);
  });

  test("an ended session is over", async () => {
    const user = rig().consumer(door);
    await user.authenticate(silent);
    await search(user, user.inSession);
    await aau(user).endSession({}, user.inSession);
    await expectRefusal(() => search(user, user.inSession), ErrorReason.SESSION_INVALID);
  });

  test("a right taken away is gone at once", async () => {
    const credential = await rig().newcomer();
    const user = rig().provider(door, credential);
    await user.authenticate(silent);
    const key = await user.registerKey(silent);
    const stored = await user.registerPackage(silent);
    const submission = () =>
      user.sign(
        user.submission(
          user.information(key, stored),
          user.permission(key, stored, { accessTimes: 1, readOnly: true }),
        ),
      );
    await user.submit(submission());
    const { account } = await rig().operatorAccounts.getAccount({ identity: credential.identity });
    if (account?.rights !== undefined) account.rights.publish = false;
    await rig().operatorAccounts.updateAccount({ ...(account && { account }) });
    await expectRefusal(() => user.submit(submission()), ErrorReason.RIGHT_MISSING);
  });
});
