// Authentication for communications (AAC, clause 7.2.5) of every server: who gets through the handshake, and what a certificate is worth
// afterwards. A handshake is judged on a raw TLS connection, since a dead network looks like UNAVAILABLE as well.
import { X509Certificate } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import type { Connections } from "../channels.ts";
import { HarnessAuthority, keyOf } from "../harness/harness-authority.ts";
import { expect, Inconclusive } from "../procedures/procedure.ts";
import type { Credential, EntityRole } from "../target.ts";
import type { TestCase } from "../test-case.ts";
import { type Established, probeTls, type Refused } from "../tls-probe.ts";
import { type Purpose, type PurposeId, purpose } from "./purpose.ts";

/** Any call that the entity answers to a user with a good certificate, whatever the user is. */
export type AnyCall = (connections: Connections, t: TestCase) => Promise<unknown>;

const day = 24 * 60 * 60_000;
const name = (t: TestCase) => `urn:x1410:user:${t.freshName("user")}`;

/** One handshake with the entity, under a credential or under none. */
function handshake(
  t: TestCase,
  role: EntityRole,
  credential?: Credential,
  maxVersion?: "TLSv1.2",
): Promise<Established | Refused> {
  return probeTls({
    endpoint: t.target.entities[role].endpoint,
    trustAnchorsPem: t.target.trustAnchorsPem,
    ...(credential && { credential }),
    ...(maxVersion && { maxVersion }),
  });
}

async function expectEstablished(t: TestCase, role: EntityRole, credential: Credential): Promise<Established> {
  const outcome = await handshake(t, role, credential);
  expect(outcome.outcome === "established", "a connection under a good certificate");
  return outcome;
}

async function expectRefused(t: TestCase, outcome: Promise<Established | Refused>): Promise<void> {
  const seen = await outcome;
  expect(seen.outcome === "refused", "a refusal in the handshake: an alert, or a close before any answer");
  t.seen(`refused: ${seen.alert}`);
}

interface FaultyCertificate {
  readonly number: string;
  readonly title: string;
  readonly stimulus: string;
  readonly twin: string;
  readonly likelyMistake: string;
  readonly credential: (t: TestCase) => Credential | undefined;
}

const faulty: readonly FaultyCertificate[] = [
  {
    number: "01",
    title: "lets nobody in without a certificate",
    stimulus: "no certificate",
    twin: "a handshake with a user's certificate",
    likelyMistake: "the certificate is asked for and not required",
    credential: () => undefined,
  },
  {
    number: "02",
    title: "lets nobody in whose certificate has expired",
    stimulus: "a certificate that ended yesterday",
    twin: "a handshake with the same certificate, valid today",
    likelyMistake: "the chain is verified by code of one's own that does not look at times",
    credential: (t) =>
      t.authority.forge(name(t), { notBefore: new Date(Date.now() - 2 * day), notAfter: new Date(Date.now() - day) }),
  },
  {
    number: "03",
    title: "lets nobody in whose certificate is not valid yet",
    stimulus: "a certificate that begins tomorrow",
    twin: "a handshake with the same certificate, valid today",
    likelyMistake: "only the end of the validity is compared",
    credential: (t) =>
      t.authority.forge(name(t), { notBefore: new Date(Date.now() + day), notAfter: new Date(Date.now() + 2 * day) }),
  },
  {
    number: "04",
    title: "lets nobody in under a certificate for servers",
    stimulus: "a certificate whose extended key usage is serverAuth alone",
    twin: "a handshake with the same certificate for clients",
    likelyMistake: "the purpose of the chain is not checked: whoever steals a server's key is every user of that name",
    credential: (t) => t.authority.forge(name(t), { extendedKeyUsage: ["serverAuth"] }),
  },
  {
    number: "05",
    title: "lets nobody in whose certificate another end entity has signed",
    stimulus: "a certificate signed with a user's key, the user's certificate in the chain",
    twin: "a handshake with the user's certificate itself",
    likelyMistake: "cA of the basic constraints is not checked: every user is an authority",
    credential(t) {
      const above = t.authority.forge(name(t));
      return t.authority.forge(name(t), { issuer: issuerOf(above) });
    },
  },
  {
    number: "06",
    title: "lets nobody in below an authority that the path length forbids",
    stimulus: "a certificate of an authority that the issuing authority has certified against its path length",
    twin: "a handshake with a certificate of the issuing authority",
    likelyMistake: "pathLenConstraint is not checked",
    credential(t) {
      const below = t.authority.forge(name(t), {
        subject: { commonName: "one authority too many" },
        basicConstraints: { ca: true },
        keyUsage: ["keyCertSign", "cRLSign"],
        subjectAltNames: [],
      });
      return t.authority.forge(name(t), { issuer: issuerOf(below) });
    },
  },
  {
    number: "07",
    title: "lets nobody in whose authority only has the name of the trusted one",
    stimulus: "a certificate of another authority with the same names",
    twin: "a handshake with a certificate of the trusted authority",
    likelyMistake: "authorities are compared by their name",
    credential(t) {
      // So that the twin is that of an authority the target trusts.
      void t.authority;
      const folder = mkdtempSync(join(tmpdir(), "x1410-rogue-"));
      try {
        return new HarnessAuthority(folder).issue("user", t.freshName("user"));
      } finally {
        rmSync(folder, { recursive: true, force: true });
      }
    },
  },
];

function issuerOf(credential: Credential) {
  return {
    privateKey: keyOf(credential),
    certificate: new Uint8Array(new X509Certificate(credential.certificateChainPem).raw),
    chainPem: credential.certificateChainPem,
  };
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
  /** A method that any user may call, "KeyStorageService/RegisterKey", and a call of it. */
  readonly method: string;
  readonly call: AnyCall;
  /** Passes where the call was answered, if only that there is nothing of that name. */
  readonly callIsAnswered: (call: () => Promise<unknown>) => Promise<unknown>;
}

export function handshakePurposes({ role, of, method, call, callIsAnswered }: HandshakesOf): readonly Purpose[] {
  const shared = { clause: "7.2.5", initialState: "the entity listens" } as const;
  const entity = role.toUpperCase();
  return [
    purpose({
      ...shared,
      id: `${of}/CA-01`,
      title: "authenticates itself by certificate, under a session key of its own for each connection",
      capabilities: ["AAC1", "AAC2", "AAC4"],
      stimulus: "two handshakes with a user's certificate",
      expected:
        "a certificate that chains to the trust anchors and names the entity; different session keys; TLS 1.2 or 1.3",
      likelyMistake: "the server's certificate carries a DNS name and no URI",
      async run(t) {
        const { identity } = t.target.entities[role];
        const credential = t.credential("provider");
        const [one, other] = [
          await expectEstablished(t, role, credential),
          await expectEstablished(t, role, credential),
        ];
        expect(one.trusted, "a certificate that chains to the trust anchors");
        expect(one.identity === identity, `${identity} as its one URI (got ${one.identity})`);
        expect(one.exported !== other.exported, "a session key of its own for each connection");
        t.seen(`${one.protocol}, ${one.cipher}, ${one.identity}`);
      },
    }),
    ...faulty.map(({ number, credential, title, ...rest }) =>
      purpose({
        ...shared,
        ...rest,
        id: `${of}/BI-${number}` as PurposeId,
        title,
        capabilities: ["AAC1", ...(number === "01" ? ["S2"] : [])],
        expected: "a refusal in the handshake",
        async run(t) {
          const wrong = credential(t);
          const right = number === "01" ? t.credential("provider") : t.authority.forge(name(t));
          await t.positiveTwin("a good certificate gets through", () => expectEstablished(t, role, right));
          await expectRefused(t, handshake(t, role, wrong));
        },
      }),
    ),
    purpose({
      ...shared,
      id: `${of}/BI-08`,
      title: "speaks no TLS 1.2 unless that is claimed",
      capabilities: ["AAC4"],
      stimulus: "a handshake that offers TLS 1.2 at most",
      expected: "a refusal in the handshake",
      twin: "a handshake that offers TLS 1.3",
      likelyMistake: "the library's default of the lowest version is left as it is",
      async run(t) {
        const credential = t.credential("provider");
        await t.positiveTwin("TLS 1.3 gets through", () => expectEstablished(t, role, credential));
        await expectRefused(t, handshake(t, role, credential, "TLSv1.2"));
      },
    }),
    purpose({
      ...shared,
      id: `${of}/BI-09`,
      title: "lets nobody in whose certificate has been revoked, once it knows",
      capabilities: ["AAC1", "AAC3"],
      stimulus: "a good certificate; its revocation; handshakes until the list has been refreshed twice",
      expected: "a refusal in the handshake, within two refreshes of the revocation list",
      twin: "a handshake before the revocation",
      likelyMistake: "lists are read once at start, or for the issuing authority only",
      async run(t) {
        const refresh = refreshTime(t);
        const credential = t.authority.issue("user", t.freshName("revoked"));
        await t.positiveTwin("before, it gets through", () => expectEstablished(t, role, credential));
        t.authority.revoke(credential);
        const refused = await untilSo(
          refresh,
          async () => (await handshake(t, role, credential)).outcome === "refused",
        );
        expect(refused, `a refusal within ${refresh / 1000} s`);
        await expectEstablished(t, role, t.credential("provider"));
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
          const identity = name(t);
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
        const identity = name(t);
        for (const credential of [t.authority.forge(identity), t.authority.forge(identity)])
          await callIsAnswered(() => call(t.connections(credential), t));
      },
    }),
  ];
}

/** Two refreshes of the revocation list and a little more. */
function refreshTime({ ixit: { crlRefreshSeconds }, purpose: { budgetSeconds } }: TestCase): number {
  if (crlRefreshSeconds === undefined) throw new Inconclusive("the IXIT does not say how often lists are refreshed");
  const wait = 2 * crlRefreshSeconds + 1;
  if (wait > budgetSeconds - 5)
    throw new Inconclusive(`revocation lists are refreshed every ${crlRefreshSeconds} s: set it lower for the test`);
  return wait * 1000;
}

async function untilSo(withinMs: number, probe: () => Promise<boolean>): Promise<boolean> {
  for (const end = performance.now() + withinMs; ; await new Promise((resolve) => setTimeout(resolve, 100))) {
    if (await probe()) return true;
    if (performance.now() > end) return false;
  }
}
