// Authentication for communications (AAC, clause 7.2.5) of every server: who gets through the handshake, and what a certificate is worth
// afterwards. A handshake is judged on a raw TLS connection, since a dead network looks like UNAVAILABLE as well.
import { setTimeout } from "node:timers/promises";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { anyRequest } from "../any-request.ts";
import type { Connections } from "../channels.ts";
import { expectEstablished, expectRefused } from "../handshake-verdict.ts";
import { expect } from "../procedures/procedure.ts";
import type { Credential, EntityRole } from "../target.ts";
import type { TestCase } from "../test-case.ts";
import { byCertificate, type CertificateHandshake, factsText, type Handshake } from "../tls-probe.ts";
import { faultyCertificates, newIdentity } from "./faulty-certificates.ts";
import { type Purpose, type PurposeId, purpose } from "./purpose.ts";
import { refreshTime, refusedWithin, untilSo } from "./revocation-refresh.ts";

/** Any call that the entity answers to a user with a good certificate, whatever the user is. */
export type AnyCall = (connections: Connections, t: TestCase) => Promise<unknown>;

/** A handshake with the entity, under a credential or under none. */
function handshake(
  t: TestCase,
  role: EntityRole,
  credential?: Credential,
  further: Pick<CertificateHandshake, "maxVersion" | "session"> = {},
): Handshake {
  return byCertificate({
    endpoint: t.target.entities[role].endpoint,
    timeoutMs: t.ixit.callTimeoutSeconds * 1000,
    trustAnchorsPem: t.target.trustAnchorsPem,
    credential,
    ...further,
  });
}

async function expectRefusedBy(role: EntityRole, t: TestCase, wrong: Handshake, good: Handshake): Promise<void> {
  const expectation = "a refusal in the handshake: an alert, or a close before any answer";
  t.seen(`refused: ${await expectRefused(wrong, good, anyRequest(role), expectation)}`);
}

interface Nameless {
  readonly number: string;
  readonly title: string;
  readonly stimulus: string;
  readonly likelyMistake: string;
  readonly names: (identity: string) => readonly { readonly type: "uri" | "dns"; readonly value: string }[];
}

const nameless: readonly Nameless[] = [
  {
    number: "11",
    title: "takes nobody's identity from the common name",
    stimulus: "the identity as common name, no URI",
    likelyMistake: "the common name stands in where the certificate has no URI",
    names: () => [],
  },
  {
    number: "12",
    title: "serves nobody whose certificate names two identities",
    stimulus: "two URIs, the first of them the user's",
    likelyMistake: "the first URI is taken: whoever gets a second one into a certificate chooses who to be",
    names: (identity) => [
      { type: "uri", value: identity },
      { type: "uri", value: `${identity}-too` },
    ],
  },
  {
    number: "13",
    title: "serves nobody whose URI is no identity of X.1410",
    stimulus: "https://example.org/ as the one URI",
    likelyMistake: "any URI is taken for a user's identity",
    names: () => [{ type: "uri", value: "https://example.org/user" }],
  },
];

export interface HandshakesOf {
  readonly role: EntityRole;
  readonly of: "TP/DSSM/AAC" | "TP/KSS/AAC" | "TP/DSS/AAC";
  /** The steps in which users connect: mutual authentication, then a session key. */
  readonly connecting: readonly string[];
  /** A method that any user may call, "KeyStorageService/RegisterKey", and a call of it. */
  readonly method: string;
  readonly call: AnyCall;
  /** Passes where the call was answered, if only that there is nothing of that name. */
  readonly callIsAnswered: (call: () => Promise<unknown>) => Promise<unknown>;
}

export function handshakePurposes({
  role,
  of,
  connecting,
  method,
  call,
  callIsAnswered,
}: HandshakesOf): readonly Purpose[] {
  const shared = { clause: "7.2.5", initialState: "the entity listens" } as const;
  const entity = role.toUpperCase();
  return [
    purpose({
      ...shared,
      id: `${of}/CA-01`,
      title: "authenticates itself by certificate, under a session key of its own for each connection",
      steps: connecting,
      capabilities: ["AAC1", "AAC2", "AAC4"],
      stimulus: "two handshakes with a user's certificate",
      expected:
        "a certificate that chains to the trust anchors and names the entity; different session keys; TLS 1.2 or 1.3",
      likelyMistake: "the server's certificate carries a DNS name and no URI",
      async run(t) {
        const { identity } = t.target.entities[role];
        const credential = t.credential("provider");
        const [one, other] = [
          await expectEstablished(handshake(t, role, credential)),
          await expectEstablished(handshake(t, role, credential)),
        ];
        const shown = factsText(one);
        expect(one.trusted, "a certificate that chains to the trust anchors", shown);
        expect(one.identity === identity, `${identity} as its one URI (got ${one.identity})`, shown);
        expect(
          one.exported !== other.exported,
          "a session key of its own for each connection",
          `${shown}, twice one key`,
        );
        t.seen(`${one.protocol}, ${one.cipher}, ${one.identity}`);
      },
    }),
    ...faultyCertificates.map(({ number, credential, title, ...rest }) =>
      purpose({
        ...shared,
        ...rest,
        id: `${of}/BI-${number}` as PurposeId,
        title,
        capabilities: ["AAC1", ...(number === "01" ? ["S2"] : [])],
        expected: "a refusal in the handshake",
        async run(t) {
          const wrong = credential(t);
          const right = number === "01" ? t.credential("provider") : t.authority.forge(newIdentity(t));
          const good = handshake(t, role, right);
          await t.positiveTwin("a good certificate gets through", () => expectEstablished(good));
          await expectRefusedBy(role, t, handshake(t, role, wrong), good);
        },
      }),
    ),
    purpose({
      ...shared,
      id: `${of}/BI-08`,
      title: "speaks no TLS 1.2 where that is not claimed",
      capabilities: ["AAC4"],
      forbids: ["TLS-1.2"],
      stimulus: "a handshake that offers TLS 1.2 at most",
      expected: "a refusal in the handshake",
      twin: "a handshake that offers TLS 1.3",
      likelyMistake: "the library's default of the lowest version is left as it is",
      async run(t) {
        const credential = t.credential("provider");
        const good = handshake(t, role, credential);
        await t.positiveTwin("TLS 1.3 gets through", () => expectEstablished(good));
        await expectRefusedBy(role, t, handshake(t, role, credential, { maxVersion: "TLSv1.2" }), good);
      },
    }),
    purpose({
      ...shared,
      id: `${of}/BV-02`,
      title: "speaks TLS 1.2 where that is claimed, with a key exchange that is forgotten afterwards",
      capabilities: ["AAC1", "AAC2", "AAC4"],
      requires: ["TLS-1.2"],
      stimulus: "a handshake that offers TLS 1.2 at most; the same without a certificate",
      expected:
        "TLS 1.2 under an ephemeral key exchange and an AEAD cipher (RFC 9325), and a refusal of whoever shows no certificate",
      likelyMistake: "with TLS 1.2 come its old suites: RSA key exchange, CBC",
      async run(t) {
        const good = handshake(t, role, t.credential("provider"), { maxVersion: "TLSv1.2" });
        const made = await expectEstablished(good, "a connection by TLS 1.2");
        expect(made.protocol === "TLSv1.2", "a connection by TLS 1.2", factsText(made));
        expect(made.trusted, "a certificate that chains to the trust anchors", factsText(made));
        expect(
          /^TLS_ECDHE_.*_(GCM_SHA\d+|POLY1305_SHA256)$/.test(made.cipher),
          `ECDHE and an AEAD (got ${made.cipher})`,
        );
        await expectRefusedBy(role, t, handshake(t, role, undefined, { maxVersion: "TLSv1.2" }), good);
      },
    }),
    purpose({
      ...shared,
      id: `${of}/BI-09`,
      title: "lets nobody in whose certificate has been revoked, once it knows",
      capabilities: ["AAC1", "AAC3"],
      stimulus:
        "a good certificate; its revocation; handshakes until the list has been refreshed twice; one that resumes the first",
      expected:
        "a refusal in the handshake, within two refreshes of the revocation list, and of the resumption as well",
      twin: "a handshake before the revocation",
      likelyMistake: "lists are read once at start, or for the issuing authority only; a resumed session skips them",
      async run(t) {
        const refresh = refreshTime(t);
        const credential = t.authority.issue("user", t.freshName("revoked"));
        const { resumable } = await t.positiveTwin("before, it gets through", () =>
          expectEstablished(handshake(t, role, credential)),
        );
        t.authority.revoke(credential);
        const good = handshake(t, role, t.credential("provider"));
        const revoked = handshake(t, role, credential);
        const refused = await refusedWithin(refresh, revoked, anyRequest(role));
        expect(refused, `a refusal within ${refresh / 1000} s`, "each handshake until then got through");
        if (resumable !== undefined)
          await expectRefusedBy(role, t, handshake(t, role, credential, { session: resumable }), good);
        await expectEstablished(good);
      },
    }),
    purpose({
      ...shared,
      id: `${of}/BI-10`,
      title: "serves nobody on an open connection whose certificate has been revoked since",
      capabilities: ["AAC1", "AAC3"],
      methods: [method],
      stimulus: "a connection under a good certificate; its revocation; calls until the list has been refreshed twice",
      expected: { reason: ErrorReason.CERTIFICATE_REVOKED },
      twin: "the call before the revocation, on the same connection",
      likelyMistake: "certificates are judged at the handshake only, and connections are never ended",
      async run(t) {
        const refresh = refreshTime(t);
        const credential = t.authority.issue("user", t.freshName("revoked"));
        const connections = t.connections(credential);
        await t.positiveTwin("before, the call is answered", () => callIsAnswered(() => call(connections, t)));
        t.authority.revoke(credential);
        let last: unknown;
        const refused = await untilSo(refresh, async () => {
          try {
            await t.expectRefusal(() => call(connections, t));
            return true;
          } catch (cause) {
            last = cause;
            return false;
          }
        });
        if (!refused) throw last;
      },
    }),
    purpose({
      ...shared,
      id: `${of}/BI-14`,
      title: "serves nobody on an open connection whose certificate has expired since",
      capabilities: ["AAC1"],
      methods: [method],
      stimulus: "a connection under a certificate for four seconds more; a call when they are over",
      expected: { reason: ErrorReason.CERTIFICATE_EXPIRED },
      twin: "the call before, on the same connection",
      likelyMistake: "certificates are judged at the handshake only",
      async run(t) {
        // Whole seconds, as certificates have them.
        const notAfter = new Date(Math.ceil(Date.now() / 1000) * 1000 + 3_000);
        const connections = t.connections(t.authority.forge(newIdentity(t), { notAfter }));
        await t.positiveTwin("before, the call is answered", () => callIsAnswered(() => call(connections, t)));
        // A certificate is good to the end of its last second.
        await setTimeout(notAfter.getTime() + 1_100 - Date.now(), undefined, { signal: t.signal });
        await t.expectRefusal(() => call(connections, t));
      },
    }),
    ...nameless.map(({ number, names, ...rest }) =>
      purpose({
        ...shared,
        ...rest,
        id: `${of}/BI-${number}` as PurposeId,
        capabilities: ["AAC1", "AAC3"],
        methods: [method],
        expected: { reason: ErrorReason.IDENTITY_INVALID },
        twin: "the same call with the identity as the one URI",
        async run(t) {
          const identity = newIdentity(t);
          const right = t.authority.forge(identity);
          await t.positiveTwin("one URI is served", () => callIsAnswered(() => call(t.connections(right), t)));
          const wrong = t.authority.forge(identity, {
            subject: { commonName: identity },
            subjectAltNames: names(identity),
          });
          await t.expectRefusal(() => call(t.connections(wrong), t));
        },
      }),
    ),
    purpose({
      ...shared,
      id: `${of}/BV-01`,
      title: `serves a user under each of two certificates that name it (${entity})`,
      capabilities: ["AAC1"],
      methods: [method],
      stimulus: "the same call under two certificates of one identity, both good",
      expected: "answers to both",
      likelyMistake: "certificates are pinned at first sight: nobody can renew one without a gap",
      async run(t) {
        const identity = newIdentity(t);
        for (const credential of [t.authority.forge(identity), t.authority.forge(identity)])
          await callIsAnswered(() => call(t.connections(credential), t));
      },
    }),
  ];
}
