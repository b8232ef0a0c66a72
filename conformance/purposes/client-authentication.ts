// Users' sides under test: that they authenticate servers by certificate before they tell them anything (AAC2, clause 7.2.5), and the
// management by its statement before they use its session (F3.4.2, F4.2.2).

import type { CompleteAuthenticationRequest } from "../../gen/x1410/v1/user_authentication_pb.ts";
import {
  ManagementAuthenticationStatementSchema,
  UserAuthenticationService,
  UserAuthenticationStatementSchema,
} from "../../gen/x1410/v1/user_authentication_pb.ts";
import { signMessage } from "../../reference/envelope/sign.ts";
import { verifyEnvelope } from "../../reference/envelope/verify.ts";
import {
  type ClientUnderTest,
  expectAccepted,
  expectRefused,
  expectServerRefused,
  type Outcome,
} from "../clients/client-under-test.ts";
import type { ClientCommand, Values } from "../clients/command-template.ts";
import { consumerScene, consumerTwin } from "../clients/consumer-scene.ts";
import { providerTwin, publicationOf } from "../clients/provider-scene.ts";
import { impostorOf } from "../clients/wrong-answers.ts";
import { certificateSha256 } from "../credential.ts";
import type { HarnessAuthority } from "../harness/harness-authority.ts";
import { unary } from "../mutants/mutant.ts";
import { withBitFlipped } from "../mutation.ts";
import { expect, expectFirst } from "../procedures/procedure.ts";
import { same } from "../roles/user.ts";
import type { ClientRole, Credential, EntityRole } from "../target.ts";
import type { TestCase } from "../test-case.ts";
import { type Purpose, type PurposeId, purpose } from "./purpose.ts";

const { beginAuthentication, completeAuthentication } = UserAuthenticationService.method;

/** What a role is asked to do, and its positive twin. */
interface Scene {
  readonly client: ClientUnderTest;
  readonly command: ClientCommand;
  readonly given: Values;
}

async function sceneOf(t: TestCase, role: ClientRole): Promise<Scene> {
  if (role === "dc") {
    const { client, shared } = await consumerScene(t);
    return { client, command: "access", given: { contract: shared.contractAddress } };
  }
  const { client, values } = await publicationOf(t);
  return { client, command: "publish", given: values };
}

function twinOf(t: TestCase, role: ClientRole): Promise<void> {
  return role === "dc" ? consumerTwin(t) : providerTwin(t);
}

interface WrongCertificate {
  readonly number: string;
  readonly server: EntityRole;
  readonly what: string;
  readonly likelyMistake: string;
  readonly credential: (t: TestCase, identity: string, client: ClientUnderTest) => Promise<Credential> | Credential;
}

const serverUse = { extendedKeyUsage: ["serverAuth", "clientAuth"] } as const;

/** Of the network's authority, with the name that gRPC libraries compare, and something wrong. */
function forged(t: TestCase, identity: string, faults: Parameters<HarnessAuthority["forge"]>[1] = {}): Credential {
  return t.bench.counterparts.authority.forge(identity, {
    extendedKeyUsage: [...serverUse.extendedKeyUsage],
    subjectAltNames: names(identity),
    ...faults,
  });
}

function names(identity: string) {
  return [
    { type: "uri" as const, value: identity },
    { type: "dns" as const, value: "localhost" },
    { type: "ip" as const, value: "127.0.0.1" },
  ];
}

async function revoked(t: TestCase, identity: string, client: ClientUnderTest): Promise<Credential> {
  const { authority } = t.bench.counterparts;
  const [, , , role, name] = identity.split(":") as [string, string, string, EntityRole, string];
  const credential = authority.issue(role, name);
  authority.revoke(credential);
  await client.renewRevocationLists();
  return credential;
}

const hour = 60 * 60_000;

type Wrong = Pick<WrongCertificate, "what" | "credential">;

const untrusted: Wrong = {
  what: "a certificate of an authority that nobody trusts",
  credential(t, identity) {
    // It calls itself the same, and was made by somebody else.
    return t.bench.counterparts
      .strangers()
      .forge(identity, { extendedKeyUsage: [...serverUse.extendedKeyUsage], subjectAltNames: names(identity) });
  },
};
const expired: Wrong = {
  what: "a certificate that expired an hour ago",
  credential: (t, identity) =>
    forged(t, identity, { notBefore: new Date(Date.now() - 48 * hour), notAfter: new Date(Date.now() - hour) }),
};
const withdrawn: Wrong = { what: "a certificate that the authority has revoked", credential: revoked };
const forClients: Wrong = {
  what: "a certificate that is one for clients only",
  credential: (t, identity) => forged(t, identity, { extendedKeyUsage: ["clientAuth"] }),
};
const ofAnother = (what: string, identity: string): Wrong => ({ what, credential: (t) => forged(t, identity) });

// biome-ignore format: a table
const certificates: readonly WrongCertificate[] = (
  [
    ["01", "dssm", ofAnother("a certificate of another management", "urn:x1410:entity:dssm:other"), "the chain is verified, and the identity in the certificate is not compared"],
    ["02", "dssm", untrusted, "verification is switched off, as examples for self-signed servers do"],
    ["03", "dssm", expired, "the validity is not looked at"],
    ["04", "dssm", withdrawn, "revocation lists are configured and never consulted"],
    ["05", "dssm", forClients, "any certificate of the authority will do, so that every user can pose as the management"],
    ["06", "kss", ofAnother("a certificate of another key storage server", "urn:x1410:entity:kss:other"), "only the management's identity is compared"],
    ["07", "kss", withdrawn, "revocation is checked for the management alone"],
    ["08", "dss", ofAnother("a certificate of a key storage server", "urn:x1410:entity:kss:local"), "an entity's kind in its identity is not compared"],
    ["09", "kss", untrusted, "the connection to the key storage server is made elsewhere, and verified less"],
    ["10", "kss", expired, "the validity is looked at for the management alone"],
    ["11", "kss", forClients, "every user can pose as the key storage server, and is told access tokens"],
    ["12", "dss", untrusted, "what is encrypted is thought to need no authentic server: whoever answers learns who fetches what"],
    ["13", "dss", expired, "the validity is looked at for the management alone"],
    ["14", "dss", withdrawn, "revocation is checked for management and keys alone"],
    ["15", "dss", forClients, "every user can pose as the data storage server"],
  ] as const
).map(([number, server, wrong, likelyMistake]) => ({ number: `BI-${number}`, server, likelyMistake, ...wrong }));

const facts: Readonly<
  Record<ClientRole, { readonly name: string; readonly steps: Readonly<Record<EntityRole, readonly string[]>> }>
> = {
  dp: { name: "DP", steps: { dssm: ["F3.4.1", "A1.4"], kss: ["F3.2.1", "F3.7.1"], dss: ["F3.2.3", "F3.7.3"] } },
  dc: { name: "DC", steps: { dssm: ["F4.2.1", "A2.2"], kss: ["F4.12.1"], dss: ["F4.15.1"] } },
};

function wrongCertificate(role: ClientRole, row: WrongCertificate): Purpose {
  const { number, server, what, likelyMistake, credential } = row;
  const { name, steps } = facts[role];
  return purpose({
    id: `TP/${name}/AAC/${number}` as PurposeId,
    title: `tells a ${server.toUpperCase()} nothing that shows ${what}`,
    clause: "7.2.5",
    steps: steps[server],
    capabilities: ["AAC2", "S2", ...(server === "dssm" ? [role === "dp" ? "P5" : "C2"] : [])],
    commands: [role === "dp" ? "publish" : "access"],
    initialState: "the kit's servers around the client",
    stimulus: `at the ${server.toUpperCase()}'s address a server shows ${what}`,
    expected: "not one call reaches that server",
    twin: "the same with the right certificate",
    diagram: [
      [name, server.toUpperCase(), "TLS handshake"],
      [server.toUpperCase(), name, what],
      [name, "tester", "no call; the connection is broken off"],
    ],
    likelyMistake,
    budgetSeconds: 90,
    async run(t) {
      await rightCertificateTwin(t, role, server);
      const { client, command, given } = await sceneOf(t, role);
      const { identity } = t.bench.counterparts.entity(server);
      const impostor = await impostorOf(t, client, server, await credential(t, identity, client));
      const outcome = await client.performBefore(impostor, command, given);
      const told = client.watch.calls.filter((call) => call.impostor).map(({ method }) => method.name);
      expect(told.length === 0, `no call to a ${server} that shows ${what} (it called ${told.join(", ")})`);
      expectServerRefused(outcome, impostor, `the ${server} shows ${what}`);
      t.seen(`no call; ${impostor.refused} handshakes broken off`);
    },
  });
}

/** The client does call a server at that address under a certificate that is right: else it would prove nothing that it calls no other. */
function rightCertificateTwin(t: TestCase, role: ClientRole, server: EntityRole): Promise<void> {
  return t.positiveTwin(`a ${server} at another address, with the right certificate`, () =>
    t.bench.twin(`right ${server}`, async () => {
      const { client, command, given } = await sceneOf(t, role);
      const { identity } = t.bench.counterparts.entity(server);
      const right = t.bench.counterparts.authority.issue(server, identity.split(":").at(-1) ?? "");
      await impostorOf(t, client, server, right);
      expectAccepted(await client.perform(command, given));
      expect(
        client.watch.calls.some((call) => call.impostor),
        `calls to the ${server} where the network has it`,
      );
    }),
  );
}

interface WrongStatement {
  readonly number: string;
  readonly what: string;
  readonly likelyMistake: string;
  /** Who signs, and what is changed; undefined where the signed bytes are changed. */
  readonly signer: EntityRole | undefined;
  readonly change: (statement: {
    managementIdentity: string;
    userNonce: Uint8Array;
    userCertificateSha256: Uint8Array;
  }) => void;
}

const statements: readonly WrongStatement[] = [
  {
    number: "BI-01",
    what: "a statement whose signature does not fit",
    likelyMistake: "the third pass is not verified at all",
    signer: undefined,
    change: () => {},
  },
  {
    number: "BI-02",
    what: "a statement that the key storage server has signed",
    likelyMistake: "any certificate of the authority may sign it",
    signer: "kss",
    change: () => {},
  },
  {
    number: "BI-03",
    what: "a statement over another nonce of the user, as a replayed one has",
    likelyMistake: "the nonces in the statement are not compared: an old statement passes",
    signer: "dssm",
    change: (statement) => {
      statement.userNonce = statement.userNonce.map((byte) => byte ^ 0xff);
    },
  },
  {
    number: "BI-04",
    what: "a statement for another certificate of the user",
    likelyMistake: "the statement is not compared with the connection that it came through",
    signer: "dssm",
    change: (statement) => {
      statement.userCertificateSha256 = statement.userCertificateSha256.map((byte) => byte ^ 0xff);
    },
  },
];

function wrongStatement(role: ClientRole, { number, what, likelyMistake, signer, change }: WrongStatement): Purpose {
  const { name } = facts[role];
  return purpose({
    id: `TP/${name}/AAU/${number}` as PurposeId,
    title: `uses no session of a management that shows ${what}`,
    clause: "6.2.2",
    steps: role === "dp" ? ["F3.4.2", "A1.4"] : ["F4.2.2", "A2.2"],
    capabilities: [role === "dp" ? "P5" : "C2"],
    commands: [role === "dp" ? "publish" : "access"],
    initialState: "the kit's servers around the client",
    stimulus: `CompleteAuthentication answers with ${what}, and with a session that is good`,
    expected: "no call in that session; another exit code than 0",
    twin: "the same with the management's own statement",
    diagram: [
      [name, "DSSM", "BeginAuthentication"],
      ["DSSM", name, "a challenge"],
      [name, "DSSM", "CompleteAuthentication, signed"],
      ["DSSM", name, `a session, and ${what}`],
      [name, "tester", "no call in the session"],
    ],
    likelyMistake,
    budgetSeconds: 90,
    async run(t) {
      await twinOf(t, role);
      const { client, command, given } = await sceneOf(t, role);
      const signing = signer && (await t.bench.counterparts.signer(signer));
      client.alter(
        unary(completeAuthentication, (original) => async (request, context) => {
          const answer = await original(request, context);
          if (answer.statement === undefined) return answer;
          if (signing === undefined) return { ...answer, statement: withBitFlipped(answer.statement) };
          const { message } = verifyEnvelope(answer.statement, ManagementAuthenticationStatementSchema, t.trust);
          change(message);
          return { ...answer, statement: signMessage(signing, ManagementAuthenticationStatementSchema, message) };
        }),
      );
      const outcome = await client.perform(command, given);
      const used = outcome.calls.filter(({ session }) => session !== "").map(({ method }) => method.name);
      expect(used.length === 0, `no call in a session of that management (it called ${used.join(", ")})`);
      expectRefused(outcome, `the management shows ${what}`);
      t.seen(`no call in the session: ${what}`);
    },
  });
}

/** The user's own statement (F3.4.2, F4.2.2), in two runs of the same user. */
function ownStatement(role: ClientRole): Purpose {
  const { name } = facts[role];
  return purpose({
    id: `TP/${name}/AAU/BV-01` as PurposeId,
    title: "authenticates itself by a signed statement with a nonce of its own, fresh each time",
    clause: "6.2.2",
    steps: role === "dp" ? ["F3.4.2", "A1.4"] : ["F4.2.2", "A2.2"],
    capabilities: [role === "dp" ? "P5" : "C2", "U3", "U4"],
    commands: [role === "dp" ? "publish" : "access"],
    initialState: "the kit's servers around the client",
    stimulus: "the same command twice",
    expected:
      "two statements, signed by the user, over the challenge, both identities, its certificate and two different nonces",
    likelyMistake:
      "a nonce that is constant or left at zero, with which an old statement of the management can be replayed",
    budgetSeconds: 90,
    async run(t) {
      const { client, command, given } = await sceneOf(t, role);
      const nonces: string[] = [];
      for (const _ of [1, 2]) nonces.push(await provenNonce(t, client, await client.perform(command, given)));
      expect(nonces[0] !== nonces[1], "another nonce of the user in each statement");
      expect(!nonces.includes("00".repeat(32)), "a random nonce");
      t.seen(`two statements of ${client.identity}, two nonces`);
    },
  });
}

async function provenNonce(t: TestCase, { identity, credential }: ClientUnderTest, outcome: Outcome): Promise<string> {
  expectAccepted(outcome);
  const [begun] = outcome.calls.filter(({ method }) => method === beginAuthentication);
  const [completed] = outcome.calls.filter(({ method }) => method === completeAuthentication);
  expectFirst(begun !== undefined && completed !== undefined, "three passes of authentication");
  const [request] = completed.requests as CompleteAuthenticationRequest[];
  expectFirst(request?.statement !== undefined, "a signed statement");
  const { message, signer } = verifyEnvelope(request.statement, UserAuthenticationStatementSchema, t.trust);
  const { managementNonce } = begun.responses[0] as unknown as { managementNonce: Uint8Array };
  expect(signer.identity === identity && message.userIdentity === identity, "a statement signed by the user it names");
  expect(same(message.managementNonce, managementNonce), "a statement over the management's challenge");
  expect(
    message.managementIdentity === t.bench.counterparts.entity("dssm").identity,
    "a statement for this management",
  );
  expect(same(message.userCertificateSha256, certificateSha256(credential)), "a statement with the user's certificate");
  return Buffer.from(message.userNonce).toString("hex");
}

export const clientAuthenticationPurposes: readonly Purpose[] = (["dp", "dc"] as const).flatMap((role) => [
  ownStatement(role),
  ...statements.map((row) => wrongStatement(role, row)),
  ...certificates.map((row) => wrongCertificate(role, row)),
]);
