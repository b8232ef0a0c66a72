import { generateKeyPairSync, type KeyObject, X509Certificate } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { timestampDate } from "@bufbuild/protobuf/wkt";
import type { Level } from "level";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { buildCertificationRequest } from "../../certs/certification-request.ts";
import { ChainVerifier } from "../../certs/chain-verifier.ts";
import type { SubjectAltName } from "../../certs/extensions.ts";
import { fingerprintOf, identityOf, subjectAltNamesOf } from "../../certs/identity.ts";
import { generateKeyPair } from "../../certs/key-pair.ts";
import { createPki, type Pki } from "../../certs/pki.ts";
import { PkiError } from "../../certs/pki-error.ts";
import { RevocationList } from "../../certs/revocation-list.ts";
import {
  CertificationAuthorityService,
  type IssueCertificateResponse,
  RevocationReason,
} from "../../gen/x1410/v1/certification_authority_pb.ts";
import { bindDirect } from "../communications/direct-binding.ts";
import type { Peer } from "../communications/peer.ts";
import { standardGuards } from "../communications/server.ts";
import { implement, type Registration } from "../communications/service.ts";
import { Clock, openDatabase, refusalOf, temporaryDirectory } from "../store/entity.fixture.ts";
import { type CertificationAuthorityServer, createCertificationAuthorityServer } from "./server.ts";

const HOUR = 60 * 60_000;
const DAY = 24 * HOUR;
const ALICE = "urn:x1410:user:alice";
const KSS = "urn:x1410:entity:kss:one";

const enrollee: Peer = {
  identity: "",
  fingerprint: "",
  certificate: undefined,
  transport: "anonymous",
  connectionId: "1",
};

let directory: Awaited<ReturnType<typeof temporaryDirectory>>;
let clock: Clock;
let db: Level<string, string>;
let pki: Pki;
let server: CertificationAuthorityServer;
let operator: Peer;

beforeEach(async () => {
  directory = await temporaryDirectory();
  clock = new Clock();
  await startServer();
  const role = "operator";
  operator = peerWith(der(pki.issueIdentity({ role, identity: "urn:x1410:entity:operator:one" }).certificatePem));
});
afterEach(async () => {
  await stopServer();
  await directory.remove();
});

async function startServer(): Promise<void> {
  db = await openDatabase(directory.path);
  pki = createPki(join(directory.path, "pki"), { now: clock.now });
  server = createCertificationAuthorityServer({ db, pki, now: clock.now });
  await server.start();
}

async function stopServer(): Promise<void> {
  await server.close();
  await db.close();
}

async function restart(): Promise<void> {
  await stopServer();
  await startServer();
}

const guards = standardGuards({ registrations: [implement(CertificationAuthorityService, {})] });

function as(peer: Peer) {
  const [registration] = server.registrations;
  return bindDirect(registration as Registration<typeof CertificationAuthorityService>, { peer, guards });
}

function der(pem: string): Uint8Array {
  return new Uint8Array(new X509Certificate(pem).raw);
}

function peerWith(certificate: Uint8Array): Peer {
  const identity = identityOf(new X509Certificate(certificate)) ?? "";
  return { identity, fingerprint: fingerprintOf(certificate), certificate, transport: "mtls", connectionId: "2" };
}

type Asking = {
  keys?: { privateKey: KeyObject; publicKey: KeyObject };
  names?: readonly SubjectAltName[];
  extra?: Partial<Parameters<typeof buildCertificationRequest>[0]>;
};

function request({ keys = generateKeyPair(), names, extra = {} }: Asking = {}): Uint8Array {
  const subjectAltNames = names === undefined ? {} : { subjectAltNames: names };
  const { privateKey } = keys;
  return new Uint8Array(
    buildCertificationRequest({ subject: { commonName: "x" }, privateKey, ...subjectAltNames, ...extra }),
  );
}

const enrol = (identity = ALICE, hosts: string[] = []) => as(operator).createEnrolment({ identity, hosts });

async function enrolled(identity = ALICE, hosts: string[] = []): Promise<Peer> {
  const { secret } = await enrol(identity, hosts);
  return peerWith(leaf(await as(enrollee).issueCertificate({ csr: request(), secret })));
}

function leaf({ certificate }: IssueCertificateResponse): Uint8Array {
  const [first] = certificate?.certificates ?? [];
  if (first === undefined) throw new Error("no certificate");
  return first;
}

describe("enrolment (U1)", () => {
  test("a secret yields a certificate for the identity enrolled, which chains to the anchor that came out of band", async () => {
    const { secret, expiresAt, trustAnchorSha256 } = await enrol(KSS, ["kss.example", "192.0.2.7"]);
    expect(expiresAt && timestampDate(expiresAt).getTime()).toBe(clock.now().getTime() + DAY);
    const keys = generateKeyPair();
    const issued = await as(enrollee).issueCertificate({ csr: request({ keys }), secret });
    const path = await as(enrollee).getCertificationPath({});
    expect(fingerprintOf(path.trustAnchor)).toBe(Buffer.from(trustAnchorSha256).toString("hex"));
    expect(issued.certificate?.certificates.slice(1)).toEqual(path.intermediates);
    const certificate = new X509Certificate(leaf(issued));
    expect(identityOf(certificate)).toBe(KSS);
    const names = subjectAltNamesOf(certificate).map(({ value }) => value);
    expect(names).toEqual(expect.arrayContaining(["kss.example", "192.0.2.7", "localhost"]));
    expect(certificate.checkPrivateKey(keys.privateKey)).toBe(true);
    const { revocationLists } = await as(enrollee).getRevocationLists({});
    const verifier = new ChainVerifier({
      trustAnchors: [path.trustAnchor],
      intermediates: path.intermediates,
      crls: revocationLists,
      now: clock.now,
    });
    expect(() => verifier.verify(leaf(issued))).not.toThrow();
  });

  test("the same request gets the same certificate again, also after a restart; another one gets none", async () => {
    const { secret } = await enrol();
    const csr = request();
    const first = await as(enrollee).issueCertificate({ csr, secret });
    const again = await Promise.all([1, 2].map(() => as(enrollee).issueCertificate({ csr, secret })));
    expect(again).toEqual([first, first]);
    await restart();
    expect(await as(enrollee).issueCertificate({ csr, secret })).toEqual(first);
    const other = as(enrollee).issueCertificate({ csr: request(), secret });
    expect(await refusalOf(other)).toBe("UNAUTHENTICATED ENROLMENT_INVALID");
  });

  test("of two requests at once with one secret exactly one is granted", async () => {
    const { secret } = await enrol();
    const outcomes = await Promise.allSettled(
      [1, 2].map(() => as(enrollee).issueCertificate({ csr: request(), secret })),
    );
    expect(outcomes.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
    expect(pki.intermediate.list().filter(({ identity }) => identity === ALICE)).toHaveLength(1);
  });

  test("an unknown, expired or missing secret is refused", async () => {
    const { secret } = await enrol();
    const issue = (given: string) => refusalOf(as(enrollee).issueCertificate({ csr: request(), secret: given }));
    expect(await issue("unknown")).toBe("UNAUTHENTICATED ENROLMENT_INVALID");
    expect(await issue("")).toBe("UNAUTHENTICATED ENROLMENT_INVALID");
    clock.advance(DAY);
    expect(await issue(secret)).toBe("UNAUTHENTICATED ENROLMENT_INVALID");
    await restart();
    expect(await db.sublevel("enrolment", {}).sublevel("enrolments", {}).keys().all()).toHaveLength(0);
  });

  test("a crash after the claim leaves the secret to the same request only", async () => {
    const { secret } = await enrol();
    const csr = request();
    const { batch } = db;
    Object.assign(db, {
      batch: async (...operations: unknown[]) => {
        await Reflect.apply(batch, db, operations);
        throw new Error("killed");
      },
    });
    expect(await refusalOf(as(enrollee).issueCertificate({ csr, secret }))).toBe("INTERNAL INTERNAL_FAULT");
    await restart();
    const other = as(enrollee).issueCertificate({ csr: request(), secret });
    expect(await refusalOf(other)).toBe("UNAUTHENTICATED ENROLMENT_INVALID");
    expect(peerWith(leaf(await as(enrollee).issueCertificate({ csr, secret }))).identity).toBe(ALICE);
  });

  test("only an operator enrols, and only what can be granted", async () => {
    const alice = await enrolled();
    const request = { identity: ALICE, hosts: [] };
    expect(await refusalOf(as(alice).createEnrolment(request))).toBe("PERMISSION_DENIED CALLER_NOT_ALLOWED");
    expect(await refusalOf(as(enrollee).createEnrolment(request))).toBe("UNAUTHENTICATED CERTIFICATE_REQUIRED");
    for (const [identity, host] of [
      [KSS, "*.example"],
      [KSS, "no host"],
      [ALICE, "alice.example"],
    ] as const) {
      expect(await refusalOf(enrol(identity, [host]))).toBe("INVALID_ARGUMENT REQUEST_INVALID");
    }
    expect(await refusalOf(enrol("urn:x1410:user:../x"))).toBe("INVALID_ARGUMENT REQUEST_INVALID");
  });

  test("no file holds a secret", async () => {
    const { secret } = await enrol();
    await stopServer();
    const files = await readdir(directory.path, { recursive: true, withFileTypes: true });
    for (const file of files.filter((entry) => entry.isFile())) {
      expect((await readFile(join(file.parentPath, file.name))).includes(secret)).toBe(false);
    }
    await startServer();
  });
});

describe("certification requests", () => {
  const weak = () => generateKeyPairSync("rsa", { modulusLength: 1024 });
  test.each<[string, () => Uint8Array, string]>([
    ["no request", () => new Uint8Array([1, 2, 3]), "INVALID_ARGUMENT CSR_INVALID"],
    [
      "a request signed by another key",
      () => request({ extra: { publicKey: generateKeyPair().publicKey } }),
      "INVALID_ARGUMENT CSR_INVALID",
    ],
    [
      "a request to become an authority",
      () => request({ extra: { basicConstraints: { ca: true } } }),
      "INVALID_ARGUMENT CSR_INVALID",
    ],
    [
      "a request for a server's usage",
      () => request({ extra: { extendedKeyUsage: ["serverAuth"] } }),
      "INVALID_ARGUMENT CSR_INVALID",
    ],
    ["RSA of 1024 bits", () => request({ keys: weak() }), "INVALID_ARGUMENT CSR_WEAK_KEY"],
    [
      "another's name",
      () => request({ names: [{ type: "uri", value: "urn:x1410:user:bob" }] }),
      "PERMISSION_DENIED CSR_IDENTITY_MISMATCH",
    ],
    [
      "a wildcard",
      () => request({ names: [{ type: "dns", value: "*.example" }] }),
      "PERMISSION_DENIED CSR_IDENTITY_MISMATCH",
    ],
  ])("%s is refused, and the secret still works", async (_what, csr, refused) => {
    const { secret } = await enrol();
    expect(await refusalOf(as(enrollee).issueCertificate({ csr: csr(), secret }))).toBe(refused);
    const names: SubjectAltName[] = [{ type: "uri", value: ALICE }];
    await as(enrollee).issueCertificate({ csr: request({ names }), secret });
  });
});

describe("renewal", () => {
  test("the holder gets a successor with the same names, the same one for the same request", async () => {
    const holder = await enrolled(KSS, ["kss.example"]);
    const csr = request();
    clock.advance(30 * DAY);
    const renewed = await as(holder).issueCertificate({ csr, secret: "" });
    const successor = peerWith(leaf(renewed));
    expect(successor.identity).toBe(KSS);
    expect(successor.fingerprint).not.toBe(holder.fingerprint);
    expect(new X509Certificate(leaf(renewed)).subjectAltName).toContain("kss.example");
    await restart();
    expect(await as(holder).issueCertificate({ csr, secret: "" })).toEqual(renewed);
  });

  test("not with another identity, nor with a revoked, expired or foreign certificate", async () => {
    const holder = await enrolled();
    const renew = (peer: Peer, csr = request()) => refusalOf(as(peer).issueCertificate({ csr, secret: "" }));
    const bob = request({ names: [{ type: "uri", value: "urn:x1410:user:bob" }] });
    expect(await renew(holder, bob)).toBe("PERMISSION_DENIED CSR_IDENTITY_MISMATCH");
    const foreign = createPki(join(directory.path, "foreign"), { now: clock.now });
    const forged = peerWith(der(foreign.issueIdentity({ role: "user", identity: ALICE }).certificatePem));
    expect(await renew(forged)).toBe("UNAUTHENTICATED ENROLMENT_INVALID");
    const revoked = await enrolled();
    await as(operator).revokeCertificate({ certificateSha256: sha256Of(revoked), reason: RevocationReason.SUPERSEDED });
    expect(await renew(revoked)).toBe("UNAUTHENTICATED CERTIFICATE_REVOKED");
    await as(holder).issueCertificate({ csr: request(), secret: "" });
    clock.advance(91 * DAY);
    expect(await renew(holder)).toBe("UNAUTHENTICATED CERTIFICATE_EXPIRED");
  });
});

const sha256Of = ({ fingerprint }: Peer) => new Uint8Array(Buffer.from(fingerprint, "hex"));

describe("revocation (7.2.5)", () => {
  test("an operator revokes any, a holder its own; again is confirmed", async () => {
    const [alice, other] = [await enrolled(), await enrolled("urn:x1410:user:bob")];
    const revoke = (peer: Peer, target: Peer) =>
      as(peer).revokeCertificate({ certificateSha256: sha256Of(target), reason: RevocationReason.KEY_COMPROMISE });
    expect(await refusalOf(revoke(alice, other))).toBe("NOT_FOUND CERTIFICATE_NOT_FOUND");
    expect(await refusalOf(revoke(enrollee, alice))).toBe("UNAUTHENTICATED CERTIFICATE_REQUIRED");
    const verifier = pki.verifier();
    expect(() => verifier.verify(alice.certificate ?? new Uint8Array())).not.toThrow();
    const { revocationLists } = await revoke(alice, alice);
    verifier.update({ crls: revocationLists });
    expect(refusedBy(verifier, alice)).toBe("revoked");
    expect(refusedBy(verifier, other)).toBeUndefined();
    expect((await revoke(alice, alice)).revocationLists).toEqual(revocationLists);
    const later = await revoke(operator, other);
    await restart();
    expect((await as(other).getRevocationLists({})).revocationLists).toEqual(later.revocationLists);
    expect(later.revocationLists.map((list) => new RevocationList(list).size)).toEqual([0, 2]);
  });

  describe("of an identity", () => {
    const revokeAlice = (peer = operator) =>
      as(peer).revokeIdentity({ identity: ALICE, reason: RevocationReason.KEY_COMPROMISE });
    const serialOf = ({ certificate = new Uint8Array() }: Peer) =>
      new X509Certificate(certificate).serialNumber.toLowerCase();
    const renewed = async (holder: Peer) =>
      peerWith(leaf(await as(holder).issueCertificate({ csr: request(), secret: "" })));

    test("reaches what was renewed with a stolen key, and no other identity", async () => {
      const stolen = await enrolled();
      const thief = await renewed(stolen);
      const again = await renewed(thief);
      const bob = await enrolled("urn:x1410:user:bob");
      const verifier = pki.verifier();
      // One by one, the original alone is revoked, and the thief goes on.
      await as(operator).revokeCertificate({ certificateSha256: sha256Of(stolen) });
      verifier.update({ crls: pki.crlPem });
      expect([stolen, thief].map((peer) => refusedBy(verifier, peer))).toEqual(["revoked", undefined]);

      const { serialNumbers, revocationLists } = await revokeAlice();
      expect(serialNumbers).toEqual([stolen, thief, again].map(serialOf));
      verifier.update({ crls: revocationLists });
      expect([thief, again, bob].map((peer) => refusedBy(verifier, peer))).toEqual(["revoked", "revoked", undefined]);
      expect(await refusalOf(renewed(thief))).toBe("UNAUTHENTICATED CERTIFICATE_REVOKED");
      expect(await revokeAlice()).toEqual({ ...(await revokeAlice()), serialNumbers, revocationLists });
    });

    test("ends its open enrolments, also one that is used at the same time", async () => {
      const { secret } = await enrol();
      const bobs = await enrol("urn:x1410:user:bob");
      await revokeAlice();
      const late = as(enrollee).issueCertificate({ csr: request(), secret });
      expect(await refusalOf(late)).toBe("UNAUTHENTICATED ENROLMENT_INVALID");
      await as(enrollee).issueCertificate({ csr: request(), secret: bobs.secret });
      const next = await enrol();
      await Promise.allSettled([as(enrollee).issueCertificate({ csr: request(), secret: next.secret }), revokeAlice()]);
      expect(pki.intermediate.list().filter((one) => one.identity === ALICE && one.revocation === undefined)).toEqual(
        [],
      );
    });

    test("leaves alone what has expired, and is the operator's alone", async () => {
      const old = await enrolled();
      clock.advance(91 * DAY);
      const present = await enrolled();
      expect(await refusalOf(revokeAlice(present))).toBe("PERMISSION_DENIED CALLER_NOT_ALLOWED");
      expect((await revokeAlice()).serialNumbers).toEqual([serialOf(present)]);
      expect(pki.intermediate.find(old.fingerprint)?.revocation).toBeUndefined();
    });

    test("that nobody has is not found", async () => {
      expect(await refusalOf(revokeAlice())).toBe("NOT_FOUND CERTIFICATE_NOT_FOUND");
    });
  });

  test("a certificate that was never issued is not found", async () => {
    const certificateSha256 = new Uint8Array(32);
    const revocation = as(operator).revokeCertificate({ certificateSha256 });
    expect(await refusalOf(revocation)).toBe("NOT_FOUND CERTIFICATE_NOT_FOUND");
  });

  test("lists are made anew before they run out", async () => {
    const [before] = (await as(enrollee).getRevocationLists({})).revocationLists;
    clock.advance(6 * DAY);
    const [after] = (await as(enrollee).getRevocationLists({})).revocationLists;
    if (before === undefined || after === undefined) throw new Error("no list");
    expect(new RevocationList(after).number).toBeGreaterThan(new RevocationList(before).number);
    expect(new RevocationList(after).nextUpdate?.getTime()).toBeGreaterThan(clock.now().getTime() + 6 * DAY);
  });
});

function refusedBy(verifier: ChainVerifier, { certificate = new Uint8Array() }: Peer): string | undefined {
  try {
    verifier.verify(certificate);
    return undefined;
  } catch (cause) {
    if (cause instanceof PkiError) return cause.code;
    throw cause;
  }
}
