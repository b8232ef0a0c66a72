// Users by pre-shared key (AAC1, clause 7.2.5, RFC 4279), where a server has a port for them: who gets in, how the server proves itself
// (AAC2), and what is not to be had there.
import type { ConnectionOptions } from "node:tls";
import { createClient } from "@connectrpc/connect";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { KeyStorageService } from "../../gen/x1410/v1/key_storage_pb.ts";
import type { PreSharedKey } from "../../reference/communications/pre-shared-keys.ts";
import { pskClientOptions } from "../../reference/communications/psk-handshake.ts";
import { pskTransport } from "../../reference/communications/psk-transport.ts";
import { anyRequest } from "../any-request.ts";
import type { Connections } from "../channels.ts";
import { expectEstablished, expectRefused } from "../handshake-verdict.ts";
import { recorded } from "../message-log.ts";
import { expect, Inconclusive } from "../procedures/procedure.ts";
import { type Credential, type EntityRole, entityRoles } from "../target.ts";
import type { TestCase } from "../test-case.ts";
import { byCertificate, type Handshake } from "../tls-probe.ts";
import { communications } from "./handshakes.ts";
import { keyStorage, orderFor, storedKey } from "./kss-stored-key.ts";
import { type Purpose, type PurposeId, purpose } from "./purpose.ts";

interface Port {
  readonly endpoint: string;
  /** Of the kit's consumer at this entity. */
  readonly own: PreSharedKey;
}

function portOf(t: TestCase, role: EntityRole): Port {
  const { psk } = t.target.entities[role];
  if (psk === undefined) throw new Inconclusive(`the target file does not say where: entities.${role}.psk`);
  const own = psk.keys.find(({ identity }) => identity === t.consumer.identity);
  if (own === undefined) throw new Inconclusive(`entities.${role}.psk.keys has no key of ${t.consumer.identity}`);
  return { endpoint: psk.endpoint, own };
}

/** Connections by the key, which send nothing before the server has proven itself by certificate. */
function byKey(t: TestCase, role: EntityRole): Connections {
  const { endpoint, own } = portOf(t, role);
  const serverIdentity = t.target.entities[role].identity;
  const transport = pskTransport({ address: endpoint, serverIdentity, preSharedKey: own, trust: t.trust });
  const close = () => transport.close();
  t.cleanUp(async () => close());
  const timeoutMs = t.ixit.callTimeoutSeconds * 1000;
  const recording = { log: t.log, from: own.identity, to: role, signal: () => t.signal, timeoutMs };
  return { client: (service) => createClient(service, recorded(transport, recording)), close };
}

/** A handshake by a key, below gRPC. */
function handshake(
  t: TestCase,
  { endpoint }: Port,
  { identity, key }: PreSharedKey,
  options: ConnectionOptions = {},
): Handshake {
  const timeoutMs = t.ixit.callTimeoutSeconds * 1000;
  return { endpoint, timeoutMs, tls: { ALPNProtocols: ["h2"], ...pskClientOptions(identity, key), ...options } };
}

/** What a client of TLS 1.2 would use a key with: RFC 5489, RFC 8442, RFC 7905, and the plain key exchange of RFC 5487 that has no forward secrecy. */
const byKeyInTls12: ConnectionOptions = {
  minVersion: "TLSv1.2",
  maxVersion: "TLSv1.2",
  // What the server shows or does not show is not the question.
  rejectUnauthorized: false,
  checkServerIdentity: () => undefined,
  ciphers:
    "ECDHE-PSK-CHACHA20-POLY1305:ECDHE-PSK-AES128-CBC-SHA256:DHE-PSK-AES256-GCM-SHA384:PSK-AES256-GCM-SHA384:PSK-AES128-GCM-SHA256",
};

/** The twin of every refusal: the port is there, and the key is good. Answers the handshake, to be repeated. */
async function ownKeyGetsThrough(t: TestCase, port: Port): Promise<Handshake> {
  const good = handshake(t, port, port.own);
  await t.positiveTwin("the consumer's key gets through", () =>
    expectEstablished(good, "a connection by the consumer's key"),
  );
  return good;
}

function preSharedKeyPurposesOf(role: EntityRole): readonly Purpose[] {
  const of = `TP/${role.toUpperCase() as Uppercase<EntityRole>}/AAC` as const;
  const { method, call, callIsAnswered } = communications[role];
  const shared = {
    clause: "7.2.5",
    requires: ["PSK"],
    initialState: "the port for pre-shared keys listens; the consumer has a key there",
  } as const;
  return [
    purpose({
      ...shared,
      id: `${of}/BV-21` as PurposeId,
      title: "serves a user by pre-shared key, and proves itself by certificate first",
      capabilities: ["AAC1", "AAC2", "AAC4"],
      methods: [method],
      stimulus: "ServerAuthenticationService/ProveIdentity with a nonce of the kit's own, then a call",
      expected: "a proof over nonce and identities under the entity's certificate, then an answer",
      likelyMistake: "the key alone is taken for the server's proof, so that every holder of a key can be the server",
      async run(t) {
        await callIsAnswered(() => call(byKey(t, role), t));
      },
    }),
    purpose({
      ...shared,
      id: `${of}/BI-21` as PurposeId,
      title: "refuses an unknown pre-shared key and a wrong one, and nothing tells which it was",
      capabilities: ["AAC1"],
      stimulus: "a handshake under an identity without a key; one under the consumer's identity with another key",
      expected: "refusals in the handshake with the same alert",
      twin: "a handshake with the consumer's key",
      likelyMistake: "unknown identities get unknown_psk_identity: whoever asks learns who has an account",
      async run(t) {
        const port = portOf(t, role);
        const good = await ownKeyGetsThrough(t, port);
        const refused = (key: PreSharedKey) =>
          expectRefused(handshake(t, port, key), good, undefined, "refusals in the handshake");
        const unknown = await refused({ identity: `urn:x1410:user:${t.freshName("user")}`, key: port.own.key });
        const wrong = await refused({ identity: port.own.identity, key: t.random(32) });
        expect(unknown === wrong, `one alert for both (got ${unknown} and ${wrong})`);
        t.seen(`refused: ${wrong}`);
      },
    }),
    purpose({
      ...shared,
      id: `${of}/BI-23` as PurposeId,
      title: "serves nobody without a pre-shared key at the port for keys",
      capabilities: ["AAC1"],
      stimulus:
        "handshakes at the port for pre-shared keys without a key: with the consumer's certificate, and with nothing",
      expected: "refusals in the handshake",
      twin: "a handshake with the consumer's key",
      likelyMistake: "the key is offered beside certificates, and whoever offers none is let in as anonymous",
      async run(t) {
        const port = portOf(t, role);
        const good = await ownKeyGetsThrough(t, port);
        const { endpoint, timeoutMs } = good;
        const refused = (credential: Credential | undefined, expectation: string) => {
          const keyless = byCertificate({ endpoint, timeoutMs, trustAnchorsPem: t.target.trustAnchorsPem, credential });
          return expectRefused(keyless, good, anyRequest(role), expectation);
        };
        const certificate = await refused(
          t.target.consumer,
          "a refusal of the consumer's certificate at the port for keys",
        );
        const nothing = await refused(undefined, "a refusal of a handshake with neither key nor certificate");
        t.seen(`refused: ${certificate}, ${nothing}`);
      },
    }),
    purpose({
      ...shared,
      id: `${of}/BI-24` as PurposeId,
      title: "takes no pre-shared key in TLS 1.2 where that is not claimed",
      capabilities: ["AAC1"],
      forbids: ["TLS-1.2"],
      stimulus: "a handshake with the consumer's key that offers TLS 1.2 at most",
      expected: "a refusal in the handshake",
      twin: "a handshake with the consumer's key in TLS 1.3",
      likelyMistake:
        "the lowest version is set for certificates and left to the library for keys, whose suites of TLS 1.2 may lack forward secrecy",
      async run(t) {
        const port = portOf(t, role);
        const good = await ownKeyGetsThrough(t, port);
        const old = handshake(t, port, port.own, byKeyInTls12);
        t.seen(`refused: ${await expectRefused(old, good, undefined, "a refusal of TLS 1.2")}`);
      },
    }),
  ];
}

const tokens: Purpose = purpose({
  id: "TP/KSS/AAC/BI-22",
  title: "redeems no token by pre-shared key: tokens are bound to a certificate",
  clause: "7.2.5",
  capabilities: ["AAC1", "TV2"],
  methods: ["KeyStorageService/GetKey"],
  requires: ["PSK"],
  tester: ["dssm"],
  initialState: "a key stored; the consumer has a pre-shared key and a good token",
  stimulus: "GetKey at the port for pre-shared keys",
  expected: { reason: ErrorReason.TOKEN_BINDING_MISMATCH },
  twin: "GetKey with the same token at the port for certificates",
  likelyMistake: "without a certificate there is nothing to compare cnf with, and so it is not compared",
  async run(t) {
    const key = await storedKey(t);
    const request = async () => ({
      accessToken: await t.management.issue(orderFor(t, key)),
      keyId: key.keyId,
      requestId: t.random(16),
    });
    const [good, wrong] = [await request(), await request()];
    await t.positiveTwin("by certificate", () => keyStorage(t.consumer).getKey(good));
    await t.expectRefusal(() => byKey(t, "kss").client(KeyStorageService, "kss").getKey(wrong));
  },
});

export const preSharedKeyPurposes: readonly Purpose[] = [...entityRoles.flatMap(preSharedKeyPurposesOf), tokens];
