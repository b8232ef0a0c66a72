// Attacks with certification requests, at the enrolment door and at the door for certificate holders (U1, clause 6.2.1).
import { generateKeyPairSync } from "node:crypto";
import { type Client, Code, ConnectError } from "@connectrpc/connect";
import { beforeAll, expect, test } from "vitest";
import { parseCertificate } from "../../certs/certificate.ts";
import { buildCertificationRequest, type CertificationRequestSpec } from "../../certs/certification-request.ts";
import { identityOf } from "../../certs/identity.ts";
import { generateKeyPair } from "../../certs/key-pair.ts";
import { expectRefusal } from "../../conformance/refusal.ts";
import { CertificationAuthorityService } from "../../gen/x1410/v1/certification_authority_pb.ts";
import { ErrorReason } from "../../gen/x1410/v1/error_pb.ts";
import { rigForFile } from "./attack-rig.fixture.ts";

const rig = rigForFile();
const identity = "urn:x1410:user:enrollee";
const own = { type: "uri", value: identity } as const;
const { privateKey } = generateKeyPair();

let operator: Client<typeof CertificationAuthorityService>;
let anonymous: Client<typeof CertificationAuthorityService>;
beforeAll(() => {
  operator = rig().client(CertificationAuthorityService, "ca", rig().credentialOf("operator"));
  const nobody = { certificateChainPem: "", privateKeyPem: "" };
  anonymous = rig().client(CertificationAuthorityService, "ca", nobody, "gRPC", rig().endpoint("ca", "exposure API"));
});

function request(spec: Partial<CertificationRequestSpec> = {}): Uint8Array<ArrayBuffer> {
  const subject = { commonName: "enrollee" };
  return new Uint8Array(buildCertificationRequest({ subject, privateKey, subjectAltNames: [own], ...spec }));
}

const weak = generateKeyPairSync("rsa", { modulusLength: 1024 }).privateKey;
const attacks: [string, () => Uint8Array<ArrayBuffer>, ErrorReason][] = [
  [
    "another's key: no proof of possession",
    () => request({ publicKey: generateKeyPair().publicKey }),
    ErrorReason.CSR_INVALID,
  ],
  ["an altered signature", () => flipped(request(), -1), ErrorReason.CSR_INVALID],
  ["asks to be an authority", () => request({ basicConstraints: { ca: true } }), ErrorReason.CSR_INVALID],
  ["asks for a server's usage", () => request({ extendedKeyUsage: ["serverAuth"] }), ErrorReason.CSR_INVALID],
  [
    "another's identity",
    () => request({ subjectAltNames: [{ type: "uri", value: "urn:x1410:user:provider" }] }),
    ErrorReason.CSR_IDENTITY_MISMATCH,
  ],
  [
    "its own identity and another's",
    () => request({ subjectAltNames: [own, { type: "uri", value: "urn:x1410:user:provider" }] }),
    ErrorReason.CSR_IDENTITY_MISMATCH,
  ],
  [
    "an entity's identity",
    () => request({ subjectAltNames: [{ type: "uri", value: "urn:x1410:entity:dssm:local" }] }),
    ErrorReason.CSR_IDENTITY_MISMATCH,
  ],
  [
    "a host that was not enrolled",
    () => request({ subjectAltNames: [own, { type: "dns", value: "kss.example" }] }),
    ErrorReason.CSR_IDENTITY_MISMATCH,
  ],
  [
    "a wildcard",
    () => request({ subjectAltNames: [own, { type: "dns", value: "*.example" }] }),
    ErrorReason.CSR_IDENTITY_MISMATCH,
  ],
  ["a key of RSA-1024", () => request({ privateKey: weak }), ErrorReason.CSR_WEAK_KEY],
  ["no request at all", () => new Uint8Array(64).fill(0x30), ErrorReason.CSR_INVALID],
];

test.each(attacks)("refused: %s; the secret still serves the right request", async (_, csr, reason) => {
  const { secret } = await operator.createEnrolment({ identity });
  await expectRefusal(() => anonymous.issueCertificate({ csr: csr(), secret }), reason);
  const { certificate } = await anonymous.issueCertificate({ csr: request(), secret });
  const [leaf = new Uint8Array()] = certificate?.certificates ?? [];
  expect(identityOf(parseCertificate(leaf).x509)).toBe(identity);
});

test("refused: a secret made up, and one that was used for another request", async () => {
  const { secret } = await operator.createEnrolment({ identity });
  await anonymous.issueCertificate({ csr: request(), secret });
  const other = request({ privateKey: generateKeyPair().privateKey });
  await expectRefusal(() => anonymous.issueCertificate({ csr: other, secret }), ErrorReason.ENROLMENT_INVALID);
  await expectRefusal(
    () => anonymous.issueCertificate({ csr: other, secret: "x".repeat(43) }),
    ErrorReason.ENROLMENT_INVALID,
  );
});

test("refused: a renewal under another's identity", async () => {
  const holder = rig().issue("user", "holder");
  const client = rig().client(CertificationAuthorityService, "ca", holder);
  const key = generateKeyPair().privateKey;
  const renewal = (value: string) => request({ privateKey: key, subjectAltNames: [{ type: "uri", value }] });
  await expectRefusal(
    () => client.issueCertificate({ csr: renewal("urn:x1410:user:provider") }),
    ErrorReason.CSR_IDENTITY_MISMATCH,
  );
  await client.issueCertificate({ csr: renewal(holder.identity) });
});

test("refused: another's revocation, as if there were no such certificate", async () => {
  const holder = rig().issue("user", "victim");
  const certificateSha256 = Buffer.from(holder.fingerprint, "hex");
  const mallory = rig().client(CertificationAuthorityService, "ca", rig().target.consumer);
  await expectRefusal(() => mallory.revokeCertificate({ certificateSha256 }), ErrorReason.CERTIFICATE_NOT_FOUND);
  await expectRefusal(
    () => mallory.revokeCertificate({ certificateSha256: new Uint8Array(32) }),
    ErrorReason.CERTIFICATE_NOT_FOUND,
  );
  await rig().client(CertificationAuthorityService, "ca", holder).revokeCertificate({ certificateSha256 });
});

test("the codes are those of the list", async () => {
  const codes = await Promise.all(
    attacks.map(async ([name, csr]) => {
      const { secret } = await operator.createEnrolment({ identity });
      const cause = await anonymous.issueCertificate({ csr: csr(), secret }).then(() => undefined, ConnectError.from);
      return [name, cause?.code];
    }),
  );
  for (const [name, code] of codes)
    expect([name, code]).toEqual([
      name,
      /identity|host|wildcard/.test(String(name)) ? Code.PermissionDenied : Code.InvalidArgument,
    ]);
});

function flipped(bytes: Uint8Array<ArrayBuffer>, at: number): Uint8Array<ArrayBuffer> {
  const copy = bytes.slice();
  const index = copy.length + at;
  copy[index] = (copy[index] ?? 0) ^ 1;
  return copy;
}
