// Authentication and authorization for users (AAU, clause 6.2.2): challenges, statements, sessions.
import { create } from "@bufbuild/protobuf";
import type { SignedEnvelope } from "../../gen/x1410/v1/envelope_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { InformationPublicationService } from "../../gen/x1410/v1/information_publication_pb.ts";
import { UserAccountService } from "../../gen/x1410/v1/user_account_pb.ts";
import {
  type BeginAuthenticationResponse,
  ManagementAuthenticationStatementSchema,
} from "../../gen/x1410/v1/user_authentication_pb.ts";
import { signMessage } from "../../reference/envelope/sign.ts";
import { withBitFlipped } from "../mutation.ts";
import { expect } from "../procedures/procedure.ts";
import { DataConsumer } from "../roles/data-consumer.ts";
import type { User } from "../roles/user.ts";
import type { TestCase } from "../test-case.ts";
import { aau, complete, fields, passes, statement, userWithAccount } from "./dssm-user-statement.ts";
import { type MalformedField, malformedField, notIds } from "./malformed-field.ts";
import { type Purpose, type PurposeId, purpose } from "./purpose.ts";
import { wrongCaller } from "./wrong-caller.ts";

const steps = ["F3.4.2", "F4.2.2", "A1.4", "A2.2"];
const common = {
  clause: "6.2.2",
  steps,
  capabilities: ["AAU1"],
  methods: ["UserAuthenticationService/BeginAuthentication", "UserAuthenticationService/CompleteAuthentication"],
  initialState: "a user with a certificate and an account",
} as const;

interface WrongStatement {
  readonly id: PurposeId;
  readonly title: string;
  readonly stimulus: string;
  readonly reason: ErrorReason;
  readonly likelyMistake: string;
  readonly answer: (t: TestCase, user: User, challenge: BeginAuthenticationResponse) => SignedEnvelope;
}

const wrongStatements: readonly WrongStatement[] = [
  {
    id: "TP/DSSM/AAU/BI-01",
    title: "refuses a statement over another nonce than its own",
    stimulus: "management_nonce not the one of the challenge",
    reason: ErrorReason.RESPONSE_INVALID,
    likelyMistake: "the signature is verified and the nonce inside never compared: a statement can be replayed",
    answer: (t, user, challenge) => statement(t, user, challenge, { managementNonce: t.random(32) }),
  },
  {
    id: "TP/DSSM/AAU/BI-02",
    title: "refuses a statement that names another user",
    stimulus: "user_identity another user",
    reason: ErrorReason.RESPONSE_INVALID,
    likelyMistake: "the name inside the statement is believed because the signature is good",
    answer: (t, user, challenge) => statement(t, user, challenge, { userIdentity: t.secondConsumer.identity }),
  },
  {
    id: "TP/DSSM/AAU/BI-03",
    title: "refuses a statement that is meant for another management",
    stimulus: "management_identity another management",
    reason: ErrorReason.RESPONSE_INVALID,
    likelyMistake:
      "the identity is not compared: whoever is authenticated to can authenticate onwards in the user's name",
    answer: (t, user, challenge) =>
      statement(t, user, challenge, { managementIdentity: "urn:x1410:entity:dssm:somebody-else" }),
  },
  {
    id: "TP/DSSM/AAU/BI-04",
    title: "refuses a statement that is bound to another certificate",
    stimulus: "user_certificate_sha256 not that of the connection",
    reason: ErrorReason.RESPONSE_INVALID,
    likelyMistake: "the fingerprint is not compared with the connection: the session is bound to nothing",
    answer: (t, user, challenge) => statement(t, user, challenge, { userCertificateSha256: t.random(32) }),
  },
  {
    id: "TP/DSSM/AAU/BI-05",
    title: "refuses a statement that another user has signed",
    stimulus: "the right statement, signed with another user's key",
    reason: ErrorReason.SIGNER_NOT_CALLER,
    likelyMistake: "any good signature is taken for the caller's",
    answer: (t, user, challenge) => statement(t, user, challenge, {}, t.secondConsumer),
  },
  {
    id: "TP/DSSM/AAU/BI-06",
    title: "refuses a statement that was altered",
    stimulus: "one bit of the signed statement flipped",
    reason: ErrorReason.SIGNATURE_INVALID,
    likelyMistake: "the statement is parsed and not verified",
    answer: (t, user, challenge) => withBitFlipped(statement(t, user, challenge)),
  },
  {
    id: "TP/DSSM/AAU/BI-07",
    title: "refuses a statement of the kind that managements sign",
    stimulus: "the same fields as a ManagementAuthenticationStatement (ISO/IEC 9798-3: reflection)",
    reason: ErrorReason.PAYLOAD_TYPE_MISMATCH,
    likelyMistake: "the two directions are not told apart, so that a management's own statement can be sent back to it",
    answer(t, user, challenge) {
      const message = create(ManagementAuthenticationStatementSchema, fields(t, user, challenge) as object);
      return signMessage(user.signer, ManagementAuthenticationStatementSchema, message);
    },
  },
  {
    id: "TP/DSSM/AAU/BI-08",
    title: "refuses a statement without a signature",
    stimulus: "the right statement, its signature taken away",
    reason: ErrorReason.SIGNATURE_MISSING,
    likelyMistake: "all signatures that there are get verified, and none is all right",
    answer: (t, user, challenge) => ({ ...statement(t, user, challenge), signatures: [] }),
  },
];

const malformed: MalformedField = {
  id: "TP/DSSM/AAU/BI-09",
  method: "UserAuthenticationService/CompleteAuthentication",
  field: "challenge_id",
  holds: "a path that leads elsewhere",
  likelyMistake: "the id is used as given, as a key of the store",
  async requests(t) {
    const user = await userWithAccount(t);
    return {
      right: () => passes(t, user),
      wrong: async () => {
        const challenge = await aau(user).beginAuthentication({});
        const answer = statement(t, user, challenge);
        return aau(user).completeAuthentication({ challengeId: notIds.traversal, statement: answer });
      },
    };
  },
};

const search = (user: User, session: string) =>
  user
    .client(InformationPublicationService, "dssm")
    .searchInformation({ pageSize: 1 }, { headers: { "x1410-session": session } });

export const userAuthenticationPurposes: readonly Purpose[] = [
  purpose({
    ...common,
    id: "TP/DSSM/AAU/BV-01",
    title: "authenticates a user and itself, and says what the user may do",
    capabilities: ["AAU1", "AAU2", "P5", "C2"],
    stimulus: "the three passes of ISO/IEC 9798-3",
    expected:
      "a statement by the management over both nonces, both identities and the certificate; a session; the rights",
    likelyMistake: "the management's statement is the user's, signed again",
    async run(t) {
      const user = await t.freshUser(DataConsumer, { rights: { publish: false } });
      const rights = await user.authenticate((text) => t.seen(text));
      expect(rights.access && !rights.publish, "the rights of the account");
    },
  }),
  purpose({
    ...common,
    id: "TP/DSSM/AAU/BV-02",
    title: "gives each authentication a challenge and a session of its own",
    stimulus: "BeginAuthentication ten times at once; the three passes twice",
    expected: "ten different nonces and ids of challenges; two different sessions, both good",
    likelyMistake: "one challenge per user: a second device drives out the first",
    async run(t) {
      const user = await userWithAccount(t);
      const challenges = await Promise.all(Array.from({ length: 10 }, () => aau(user).beginAuthentication({})));
      const nonces = challenges.map(({ managementNonce }) => Buffer.from(managementNonce).toString("hex"));
      expect(new Set(nonces).size === 10, "ten different nonces");
      expect(
        nonces.every((nonce) => nonce.length === 64),
        "nonces of 32 bytes",
      );
      expect(new Set(challenges.map(({ challengeId }) => challengeId)).size === 10, "ten different ids");
      const [one, other] = [await passes(t, user), await passes(t, user)];
      expect(one.session !== other.session, "two different sessions");
      for (const { session } of [one, other]) await search(user, session);
    },
  }),
  purpose({
    ...common,
    id: "TP/DSSM/AAU/BV-03",
    title: "ends a session and no other",
    methods: ["UserAuthenticationService/EndSession"],
    steps: [],
    initialState: "a user with two sessions",
    stimulus: "EndSession of one; a call in each",
    expected: "SESSION_INVALID in the one, an answer in the other",
    likelyMistake: "ending a session ends all of the user's, or only the answer says that it has ended",
    async run(t) {
      const user = await userWithAccount(t);
      const [one, other] = [await passes(t, user), await passes(t, user)];
      await t.positiveTwin("before, the session is good", () => search(user, one.session));
      await aau(user).endSession({}, { headers: { "x1410-session": one.session } });
      await t.expectRefusal(() => search(user, one.session), ErrorReason.SESSION_INVALID);
      await search(user, other.session);
    },
  }),
  ...wrongStatements.map(({ answer, reason, ...spec }) =>
    purpose({
      ...common,
      ...spec,
      methods: ["UserAuthenticationService/CompleteAuthentication"],
      expected: { reason },
      twin: "the right statement for another challenge",
      async run(t) {
        const user = await userWithAccount(t);
        await t.positiveTwin("the right statement is accepted", () => passes(t, user));
        const challenge = await aau(user).beginAuthentication({});
        await t.expectRefusal(() => complete(user, challenge, answer(t, user, challenge)));
      },
    }),
  ),
  malformedField(malformed, { clause: "6.2.2", capabilities: ["AAU1"] }),
  purpose({
    ...common,
    id: "TP/DSSM/AAU/BI-10",
    title: "begins no authentication of somebody without an account",
    methods: ["UserAuthenticationService/BeginAuthentication"],
    initialState: "a user with a certificate and no account",
    stimulus: "BeginAuthentication",
    expected: { reason: ErrorReason.ACCOUNT_NOT_FOUND },
    twin: "BeginAuthentication by a user with an account",
    likelyMistake: "a certificate of the authority is all that it takes to be a user",
    async run(t) {
      const user = await userWithAccount(t);
      await t.positiveTwin("a user with an account", () => aau(user).beginAuthentication({}));
      const nobody = t.holding(t.authority.issue("user", t.freshName("nobody")));
      await t.expectRefusal(() => aau(nobody).beginAuthentication({}));
    },
  }),
  wrongCaller({
    id: "TP/DSSM/AAU/BI-11",
    clause: "7.2.5",
    method: "UserAuthenticationService/BeginAuthentication",
    caller: "an operator",
    answers: "BeginAuthentication by a user",
    likelyMistake: "operators are let through everywhere; they have no session to begin",
    calls: async (t) => {
      const user = await userWithAccount(t);
      return {
        right: () => aau(user).beginAuthentication({}),
        wrong: () => aau(t.as("operator")).beginAuthentication({}),
      };
    },
  }),
  wrongCaller({
    id: "TP/DSSM/AAU/BI-12",
    clause: "7.2.5",
    method: "UserAuthenticationService/ValidateSession",
    requires: ["UserAuthenticationService/ValidateSession"],
    capabilities: ["AAU2"],
    caller: "the user whose session it is",
    answers: "a call in that session",
    likelyMistake: "the component's interface is open to the network, where it says which sessions are good",
    calls: async (t) => {
      const user = await userWithAccount(t);
      const { session } = await passes(t, user);
      const userCertificateSha256 = user.certificateSha256;
      return {
        right: () => search(user, session),
        wrong: () => aau(user).validateSession({ session, userCertificateSha256 }),
      };
    },
  }),
  purpose({
    ...common,
    id: "TP/DSSM/AAU/BI-13",
    title: "binds a session to the certificate and not to the name in it",
    capabilities: ["AAU1", "AAU2"],
    methods: ["InformationPublicationService/SearchInformation"],
    stimulus: "a call in a good session over another certificate that names the same user",
    expected: { reason: ErrorReason.SESSION_INVALID },
    twin: "the same call over the certificate under which the session was made",
    likelyMistake: "the session is looked up by the identity: a stolen secret works with any certificate of the user",
    async run(t) {
      const user = await userWithAccount(t);
      const { session } = await passes(t, user);
      const renewed = t.holding(t.authority.forge(user.identity));
      await t.positiveTwin("over its own certificate", () => search(user, session));
      await t.expectRefusal(() => search(renewed, session));
    },
  }),
  purpose({
    ...common,
    id: "TP/DSSM/AAU/BO-01",
    title: "takes an answer to a challenge once",
    stimulus: "CompleteAuthentication again with the same challenge and the same statement",
    expected: { reason: ErrorReason.CHALLENGE_INVALID },
    twin: "CompleteAuthentication the first time",
    likelyMistake: "challenges are kept until they expire: whoever records a statement can replay it",
    async run(t) {
      const user = await userWithAccount(t);
      const challenge = await aau(user).beginAuthentication({});
      const answer = statement(t, user, challenge);
      await t.positiveTwin("the first time", () => complete(user, challenge, answer));
      await t.expectRefusal(() => complete(user, challenge, answer));
    },
  }),
  purpose({
    ...common,
    id: "TP/DSSM/AAU/BO-02",
    title: "takes no second answer to a challenge after a wrong one",
    stimulus: "CompleteAuthentication with a wrong statement, then with the right one",
    expected: { reason: ErrorReason.CHALLENGE_INVALID },
    twin: "the right statement at the first attempt",
    likelyMistake: "a challenge is spent by success alone, so that statements can be tried out",
    async run(t) {
      const user = await userWithAccount(t);
      await t.positiveTwin("at the first attempt", () => passes(t, user));
      const challenge = await aau(user).beginAuthentication({});
      const wrong = statement(t, user, challenge, { managementNonce: t.random(32) });
      await t.expectRefusal(() => complete(user, challenge, wrong), ErrorReason.RESPONSE_INVALID);
      await t.expectRefusal(() => complete(user, challenge, statement(t, user, challenge)));
    },
  }),
  purpose({
    ...common,
    id: "TP/DSSM/AAU/BO-03",
    title: "takes no answer to another user's challenge, nor to one that it never gave",
    stimulus: "CompleteAuthentication with the challenge of another user; with an id that nobody has",
    expected: { reason: ErrorReason.CHALLENGE_INVALID },
    twin: "CompleteAuthentication with a challenge of one's own",
    likelyMistake: "challenges are kept by their id alone",
    async run(t) {
      const user = await userWithAccount(t);
      const other = await t.inSession(t.secondConsumer);
      await t.positiveTwin("a challenge of one's own", () => passes(t, user));
      const challenge = await aau(other).beginAuthentication({});
      await t.expectRefusal(() => complete(user, challenge, statement(t, user, challenge)));
      const nobodys = { ...challenge, challengeId: Buffer.from(t.random(16)).toString("hex") };
      await t.expectRefusal(() => complete(user, nobodys, statement(t, user, nobodys)));
    },
  }),
  purpose({
    ...common,
    id: "TP/DSSM/AAU/BO-04",
    title: "ends every session of an account with the account, for good",
    capabilities: ["AAU1", "UAM1"],
    methods: ["UserAccountService/DeleteAccount", "InformationPublicationService/SearchInformation"],
    steps: [],
    initialState: "a user in session",
    stimulus: "DeleteAccount by an operator; a call in the session; CreateAccount of the same name; the call again",
    expected: { reason: ErrorReason.SESSION_INVALID },
    twin: "the call before the account was deleted",
    likelyMistake: "sessions are judged without their account, or come back to life with a new one of the same name",
    async run(t) {
      const user = await t.freshUser(DataConsumer);
      await user.logIn();
      const accounts = t.as("operator").client(UserAccountService, "dssm");
      const { identity } = user;
      await t.positiveTwin("before", () => search(user, user.session));
      await accounts.deleteAccount({ identity });
      await t.expectRefusal(() => search(user, user.session));
      await accounts.createAccount({ account: { identity, displayName: "again", rights: { access: true } } });
      await t.expectRefusal(() => search(user, user.session));
    },
  }),
  purpose({
    ...common,
    id: "TP/DSSM/AAU/BO-05",
    title: "says of an ended session that it is over, and of none that one is needed",
    methods: ["UserAuthenticationService/EndSession"],
    steps: [],
    initialState: "a user in session",
    stimulus: "EndSession without a session",
    expected: { reason: ErrorReason.SESSION_REQUIRED },
    twin: "EndSession in session",
    likelyMistake: "a missing session is taken for one that has ended",
    async run(t) {
      const user = await userWithAccount(t);
      const { session } = await passes(t, user);
      await t.positiveTwin("in session", () => aau(user).endSession({}, { headers: { "x1410-session": session } }));
      await t.expectRefusal(() => aau(user).endSession({}));
    },
  }),
];
